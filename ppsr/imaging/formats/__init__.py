"""One module per format of image files: its pixels and its metadata, read and written."""
