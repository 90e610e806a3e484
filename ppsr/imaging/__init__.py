"""Host-side images: reading, writing, resizing, colour conversion."""

from ppsr.imaging.io import list_images, read_image, to_uint8, write_image
from ppsr.imaging.resize import matlab_resize

__all__ = ["list_images", "matlab_resize", "read_image", "to_uint8", "write_image"]
