"""Recognises image files by name: the one list of extensions.

No file is opened; `kdwsd.data.images` checks what a file holds.
"""

import os

# In lower case; every comparison ignores case. HEIC and AVIF are read where the
# installed Pillow, or a plugin of it, can.
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif",
    ".tiff", ".pgm", ".ppm", ".avif", ".heic", ".heif")


def is_image(name):
  """Whether a file name or path has an image's extension."""
  return os.path.splitext(name)[1].lower() in EXTENSIONS
