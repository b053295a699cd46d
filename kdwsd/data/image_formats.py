"""Readable image formats, and advice for files of the others.

Pillow reads most by itself; HEIC needs the plugin `pillow-heif`, and AVIF a
Pillow of 11.3 or later. Neither is required.
"""

import functools
import struct

from PIL import features

# Formats that Pillow decodes by itself; EPS, for one, would run a program. JPEG
# includes the multi-picture files (MPO) of cameras.
_ALWAYS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1",
                b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_SAMPLES, _BITS, _KIND = 277, 258, 339
_KINDS = {1: "unsigned integers", 2: "signed integers", 3: "floats"}


@functools.cache
def readable():
  """Names of the formats that the installed Pillow and plugins can read."""
  return _ALWAYS + (("AVIF",) if _has_avif() else ()) + (
      ("HEIF",) if _has_heif() else ())


def advice(content):
  """Advice to the user on a file that could not be read, or "".

  Args:
    content: bytes of the file.

  Returns:
    A sentence with a space before it, or "".
  """
  if content[4:8] == b"ftyp":
    brands = [content[8:12]] + [
        content[at:at + 4] for at in range(16, min(_box_size(content), 64), 4)]
    if content[8:12] in _AVIF_BRANDS or not any(
        brand in _HEIC_BRANDS[:6] for brand in brands) and any(
            brand in _AVIF_BRANDS for brand in brands):
      return "" if _has_avif() else (
          " This is an AVIF file: pip install 'Pillow>=11.3'.")
    if content[8:12] in _HEIC_BRANDS:
      return "" if _has_heif() else (
          " This is a HEIC file: pip install pillow-heif.")
  if content[:4] in _TIFF:
    return _tiff_advice(content)
  return ""


def _has_avif():
  return "avif" in features.modules and features.check("avif")


def _has_heif():
  try:
    import pillow_heif  # pylint: disable=import-outside-toplevel
    pillow_heif.register_heif_opener()
  except ImportError:
    return False
  return True


def _box_size(content):
  return struct.unpack_from(">I", content)[0]


def _tiff_advice(content):
  """Advice on a TIFF whose type of samples Pillow does not read."""
  tags = _first_directory(content)
  bits, kind = tags.get(_BITS, 1), tags.get(_KIND, 1)
  samples = tags.get(_SAMPLES, 1)
  if bits <= 8 or (samples, bits) == (1, 16) or (
      samples in (3, 4) and (bits, kind) == (16, 1)):
    return ""
  return (f" Of a TIFF of {samples} x {bits} bits a pixel, "
          f"{_KINDS.get(kind, 'an unknown kind')}: save it as an 8-bit image.")


def _first_directory(content):
  """First values of the short and long tags in a TIFF's first directory."""
  order = _TIFF[content[:4]]
  tags = {}
  try:
    at, = struct.unpack_from(order + "I", content, 4)
    count, = struct.unpack_from(order + "H", content, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
      tag, kind, number = struct.unpack_from(order + "HHI", content, entry)
      if kind == 3:
        place = entry + 8
        if number > 2:
          place, = struct.unpack_from(order + "I", content, place)
        tags[tag], = struct.unpack_from(order + "H", content, place)
  except struct.error:
    pass
  return tags
