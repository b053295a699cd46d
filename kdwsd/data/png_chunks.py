"""Removes metadata from PNG files that can prevent their pixels' decoding.

PNG decoders limit the decompressed size of texts and colour profiles, and
reject the whole file beyond the limit. The pixels do not depend on either here,
so both are removed before decoding. Text is decompressed only where it may hold
the orientation.

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
_MOST_TEXT = 1 << 20  # Decompressed bytes; Pillow's own limit for a text.
_BIT_DEPTH_AT = 24


def bit_depth(content):
  """Bits per sample according to a PNG file's header; 0 without a header."""
  return content[_BIT_DEPTH_AT] if len(content) > _BIT_DEPTH_AT else 0


def without_metadata(content):
  """Removes the chunks of a PNG file that its pixels do not depend on.

  The orientation is kept, in `eXIf` and in text of less than a megabyte. All
  bytes after a chunk without an end are kept, so that the decoder reports it.

  Args:
    content: bytes of a PNG file, whole or damaged.

  Returns:
    Bytes of a PNG file with the same pixels.
  """
  return b"".join(_kept(content, lambda kind, data: kind in _KEPT or (
      kind in _TEXT and _may_orient(kind, data))))


def pixels_alone(content):
  """Like `without_metadata`, but removes the orientation as well.

  A chunk without an end is removed too: OpenCV would allocate the length that
  its header declares.
  """
  *parts, rest = _kept(content, lambda kind, _: kind == b"tRNS")
  return b"".join(parts + [rest] * (rest[4:8] == b"IEND"))


def _kept(content, is_kept):
  """Yields the critical chunks of a file and those that `is_kept` accepts."""
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
  """Whether a text may hold the orientation and is small enough to check."""
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
  """Whether text decompresses without error to less than `_MOST_TEXT`."""
  unpacker = zlib.decompressobj()
  try:
    unpacker.decompress(packed, _MOST_TEXT)
  except zlib.error:
    return False
  return not unpacker.unconsumed_tail
