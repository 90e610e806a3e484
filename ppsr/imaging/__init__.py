"""Host-side pictures: reading, writing, resizing, colour conversion."""
