"""Which files are images, by their names: the one list of endings.

What a file really holds is `kdwsd.data.images`'s business; here nothing is
opened.
"""

import os

# In lower case; every comparison ignores case. HEIC and AVIF are read where the
# installed Pillow, or a plugin of it, can.
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif",
    ".tiff", ".pgm", ".ppm", ".avif", ".heic", ".heif")


def is_image(name):
  """Whether a file name, or path, ends like one of an image."""
  return os.path.splitext(name)[1].lower() in EXTENSIONS
