"""PNG files without the metadata that can keep their pixels from being read.

Readers of PNG limit what compressed text and colour profiles may unpack to, and
refuse the whole file beyond it. Neither says anything about the pixels as they
are looked at here, so both are taken out before a reader sees them, unpacked
only where they may hold the orientation.

Source: PNG, third edition, sec. 5.3 (chunks), 11.3.3 (text, profiles).
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Beside all critical chunks: transparency, orientation, animation.
_KEPT = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
# Keywords of the texts that can hold an orientation.
_ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif")
_MOST_TEXT = 1 << 20  # Bytes unpacked; Pillow's own limit of a text.
_BIT_DEPTH_AT = 24


def bit_depth(content):
  """Bits a sample of a PNG file, as its header says; 0 where there is none."""
  return content[_BIT_DEPTH_AT] if len(content) > _BIT_DEPTH_AT else 0


def without_metadata(content):
  """Leaves out the chunks of a PNG file that do not decide its pixels.

  The orientation stays: in `eXIf`, and in text of less than a megabyte. What
  follows a chunk whose end is missing is kept, for a reader to complain of.

  Args:
    content: bytes of a PNG file, whole or damaged.

  Returns:
    Bytes of a PNG file with the same pixels.
  """
  return b"".join(_kept(content, lambda kind, data: kind in _KEPT or (
      kind in _TEXT and _may_orient(kind, data))))


def pixels_alone(content):
  """As `without_metadata`, without the orientation either.

  A chunk that does not end is left out as well: OpenCV would make room for all
  that its header promises.
  """
  *parts, rest = _kept(content, lambda kind, _: kind == b"tRNS")
  return b"".join(parts + [rest] * (rest[4:8] == b"IEND"))


def _kept(content, is_kept):
  """Parts of a file: critical chunks, and those that `is_kept` wants."""
  view = memoryview(content)
  at, texts = len(SIGNATURE), set()
  parts = [view[:at]]
  while at + 12 <= len(view):
    length, kind = struct.unpack_from(">I4s", view, at)
    end = at + length + 12
    if end > len(view) or kind == b"IEND":
      break
    is_critical = not kind[0] & 0x20
    keyword = bytes(view[at + 8:min(at + 88, end - 4)]).split(b"\0")[0]
    if is_critical or (
        (kind not in _TEXT or keyword not in texts)
        and is_kept(kind, view[at + 8:end - 4])):
      parts.append(view[at:end])
      if kind in _TEXT:
        texts.add(keyword)
    at = end
  return parts + [view[at:]]


def _may_orient(kind, data):
  """Whether a text can name an orientation and is not too large to look."""
  keyword, _, rest = bytes(data[:80]).partition(b"\0")
  if keyword not in _ORIENTED:
    return False
  data = data[len(keyword) + 1:]
  if kind == b"tEXt":
    return len(data) <= _MOST_TEXT
  if kind == b"zTXt":
    return _unpacks(data[1:])
  if rest[:1] != b"\1":
    return len(data) <= _MOST_TEXT
  # Flag, method, then language and translated keyword, each with a NUL.
  fields = bytes(data[2:202]).split(b"\0", 2)
  return len(fields) == 3 and _unpacks(
      data[2 + len(fields[0]) + len(fields[1]) + 2:])


def _unpacks(packed):
  """Whether compressed text is sound and of less than `_MOST_TEXT`."""
  unpacker = zlib.decompressobj()
  try:
    unpacker.decompress(packed, _MOST_TEXT)
  except zlib.error:
    return False
  return not unpacker.unconsumed_tail
