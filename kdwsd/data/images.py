"""Decodes image files of many formats, and records them as upright JPEG.

In training, TensorFlow decodes the JPEG of a record without regard to EXIF,
CMYK conventions, palettes or transparency. Baseline JPEG files that are RGB or
grey, and upright, are recorded unchanged. All others are decoded by Pillow and
encoded again. Samples of more than 8 bits are scaled by `sample_ranges`. Large
metadata does not prevent reading.
"""

import contextlib
import dataclasses
import io
import os
import threading
import warnings

import numpy as np
from PIL import Image

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_formats
from kdwsd.data import image_modes
from kdwsd.data import png_chunks

DEFAULT_MAX_PIXELS = 100_000_000
JPEG_QUALITY = 95

# An image is dark if its brightest sample, of 255, is below this. Probably the
# range of its samples was misinterpreted.
DARK = 20

_ORIENTATION = 0x0112
_MOST_SIDE = 65500  # The limit of libjpeg, and so of every record.
_END_OF_IMAGE = b"\xff\xd9"


@dataclasses.dataclass(frozen=True)
class DecodedImage:
  """A decoded, upright image.

  Attributes:
    pixels: [H, W, 3] uint8 RGB, upright.
    encoded: JPEG of the same pixels, upright, RGB or grey.
    orientation: EXIF orientation the file had, 1 to 8.
    taken_for: assumed range of samples of more than 8 bits, such as `12 bits`;
      "" where the file states it.
  """
  pixels: np.ndarray
  encoded: bytes
  orientation: int
  taken_for: str = ""

  @property
  def height(self):
    """Pixels."""
    return self.pixels.shape[0]

  @property
  def width(self):
    """Pixels."""
    return self.pixels.shape[1]

  @property
  def is_dark(self):
    """Whether all samples are below `DARK`."""
    return int(self.pixels.max(initial=0)) < DARK


def read(path, *, max_pixels=DEFAULT_MAX_PIXELS, where="", span=None):
  """Reads and decodes an image file.

  Args:
    path: path of the file.
    max_pixels: larger images are refused before they are decoded.
    where: what lists the image, for messages.
    span: (offset, length) of the image in the file, bytes; None for all of it.

  Returns:
    A `DecodedImage`.

  Raises:
    errors.InputError: the file is missing, empty, truncated, too large, or not
      an image.
  """
  name = f"{where}: {path}" if where else str(path)
  return decode(read_bytes(path, name, span), max_pixels=max_pixels, name=name)


def read_bytes(path, name, span=None):
  """Reads an image file, or a span of one, without decoding it.

  Raises:
    errors.InputError: missing or unreadable; the message starts with `name`.
  """
  try:
    offset, length = span or (0, -1)
    with places.open_bytes(path) as file:
      file.seek(offset)
      return file.read(length)
  except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
    raise errors.InputError(
        f"{name}: expected an image file. Received: "
        f"{getattr(error, 'strerror', None) or error}.") from error


def decode(content, *, max_pixels=DEFAULT_MAX_PIXELS, name="image"):
  """Decodes the bytes of an image file; see `read`.

  Grey images become RGB. As in other users of libjpeg, CMYK files with Adobe's
  marker have inverted inks, and others do not. Transparent pixels are composed
  over white. The first frame of an animation or multi-picture file is used.
  """
  if not content:
    raise errors.InputError(
        f"{name}: expected an image file. Received: zero bytes.")
  readable = content
  if content.startswith(png_chunks.SIGNATURE):
    readable = png_chunks.without_metadata(content)
  formats = image_formats.readable()
  try:
    with _pixel_limit(max_pixels), Image.open(
        io.BytesIO(readable), formats=formats) as image:
      if image.width * image.height > max_pixels:
        raise errors.InputError(
            f"{name}: expected at most {max_pixels} pixels (--max_pixels). "
            f"Received: {image.width} x {image.height}.")
      if max(image.size) > _MOST_SIDE:
        raise errors.InputError(
            f"{name}: expected sides of at most {_MOST_SIDE} pixels. "
            f"Received: {image.width} x {image.height}.")
      image.load()
      if image.format in ("JPEG", "MPO") and _lacks_end(content):
        raise OSError("image file is truncated (no end-of-image marker)")
      orientation = _orientation(image)
      rgb, taken_for = image_modes.to_rgb(image, readable, name)
      rgb = _upright(rgb, orientation)
      pixels = np.array(rgb, np.uint8)                          # [H, W, 3]
      keep = (_plain_jpeg(image) and orientation == 1
              and _has_own_tables(content))
  except errors.InputError:
    raise
  except Image.DecompressionBombError as error:
    raise errors.InputError(
        f"{name}: expected at most {max_pixels} pixels (--max_pixels). "
        f"Received: {error}") from error
  except MemoryError:
    raise
  except Exception as error:  # Pillow's decoders raise almost any type.
    received = str(error).splitlines()[0] if str(error) else repr(error)
    received = received.split(" <_io")[0]
    raise errors.InputError(
        f"{name}: expected a whole image file ({', '.join(formats)}). "
        f"Received: {received}, {len(content)} bytes."
        f"{image_formats.advice(content)}") from error
  return DecodedImage(pixels=pixels,
                      encoded=content if keep else encode(rgb),
                      orientation=orientation, taken_for=taken_for)


def encode(image):
  """Encodes an RGB Pillow image or [H, W, 3] uint8 array as baseline JPEG."""
  if not isinstance(image, Image.Image):
    image = Image.fromarray(np.asarray(image, np.uint8))
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=JPEG_QUALITY)
  return buffer.getvalue()


def missing(path):
  """Says why a path is not a file with content, or None if it is one."""
  try:
    size = places.getsize(path)
  except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
    return getattr(error, "strerror", None) or str(error)
  if not places.is_remote(path) and not os.path.isfile(path):
    return "no regular file"
  return None if size else "zero bytes"


def turn_boxes(boxes, orientation):
  """Rotates [M, 4] boxes of the stored image like EXIF does the image.

  Args:
    boxes: (ymin, xmin, ymax, xmax), fractions of the image as stored.
    orientation: 1 to 8.

  Returns:
    [M, 4] fractions of the upright image.
  """
  ymin, xmin, ymax, xmax = np.asarray(boxes).reshape(-1, 4).T
  if orientation in (5, 6, 7, 8):
    ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
  if orientation in (2, 3, 6, 7):
    xmin, xmax = 1 - xmax, 1 - xmin
  if orientation in (3, 4, 7, 8):
    ymin, ymax = 1 - ymax, 1 - ymin
  return np.stack([ymin, xmin, ymax, xmax], axis=1)


class _PixelLimit:
  """Sets Pillow's own limit, which is global, to ours, the highest of threads.

  The first thread stores what the last one restores.
  """

  def __init__(self):
    self._lock, self._inside = threading.Lock(), 0
    self._before = self._filters = None

  @contextlib.contextmanager
  def __call__(self, max_pixels):
    with self._lock:
      if not self._inside:
        self._before = Image.MAX_IMAGE_PIXELS
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = max_pixels
      self._inside += 1
      Image.MAX_IMAGE_PIXELS = max(max_pixels, Image.MAX_IMAGE_PIXELS)
    try:
      yield
    finally:
      with self._lock:
        self._inside -= 1
        if not self._inside:
          Image.MAX_IMAGE_PIXELS = self._before
          self._filters.__exit__(None, None, None)


_pixel_limit = _PixelLimit()


def _orientation(image):
  try:
    value = image.getexif().get(_ORIENTATION, 1)
  except Exception:  # Damaged EXIF is ignored, as in viewers.
    return 1
  return value if value in range(1, 9) else 1


def _upright(image, orientation):
  method = {
      2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
      4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
      6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
      8: Image.Transpose.ROTATE_90}.get(orientation)
  return image if method is None else image.transpose(method)


def _plain_jpeg(image):
  return (image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
          and not image.info.get("progressive")
          and not image.info.get("progression"))


def _lacks_end(content):
  return _END_OF_IMAGE not in content[content.rfind(b"\xff\xda"):]


def _has_own_tables(content):
  """Whether a JPEG defines the Huffman tables of its first scan.

  Frames of Motion JPEG do not. Some decoders then use the tables of ITU-T T.81,
  annex K.3, others fail; such frames are therefore encoded again.
  """
  at, tables = 2, set()
  while content[at:at + 1] == b"\xff" and at + 4 <= len(content):
    marker, size = content[at + 1], int.from_bytes(
        content[at + 2:at + 4], "big")
    body = content[at + 4:at + 2 + size]
    if marker == 0xc4:  # Tables: class and number, 16 counts, the values.
      while len(body) >= 17:
        tables.add(body[0])
        body = body[17 + sum(body[1:17]):]
    if marker == 0xda:  # The scan: a component and its two tables, for each.
      used = body[2:1 + 2 * body[0]:2] if body else b""
      return all({value >> 4, 0x10 | value & 15} <= tables for value in used)
    at += 1 if marker == 0xff else 2 + size
  return False
