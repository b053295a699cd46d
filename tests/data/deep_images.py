"""PNG and TIFF files with samples of more than 8 bits, written byte by byte.

Nothing here goes through a library's encoder, so that a test sees what it
wrote.
"""

import struct
import zlib

import numpy as np

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # Colour types of PNG.


def ramp(largest, height=6, width=8):
  """[H, W] whole numbers that rise from 0 to `largest`."""
  return np.linspace(0, largest, height * width).round().astype(
      np.int64).reshape(height, width)


def chunk(kind, data):
  """A chunk of a PNG file."""
  return (struct.pack(">I", len(data)) + kind + data
          + struct.pack(">I", zlib.crc32(kind + data)))


def png(samples, colour, *, bits=16, extra=()):
  """A PNG file of [H, W] or [H, W, N] samples.

  Args:
    samples: whole numbers.
    colour: type of colour, as above.
    bits: of a sample, 8 or 16.
    extra: (kind, data) of chunks before the pixels.
  """
  height, width = samples.shape[:2]
  rows = np.asarray(samples, ">u2" if bits == 16 else "u1")
  packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
  header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(
      chunk(*each) for each in extra) + chunk(b"IDAT", packed) + chunk(
          b"IEND", b"")


def tiff(samples, *, kind=1, photometric=None, tags=()):
  """An uncompressed TIFF file, little-endian, of one strip.

  Args:
    samples: [H, W] or [H, W, N] array, whose type is that of the file.
    kind: SampleFormat: 1 unsigned, 2 signed, 3 floats.
    photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK; by default 1
      or 2.
    tags: (number, value) of further short tags.
  """
  samples = np.ascontiguousarray(samples)
  height, width = samples.shape[:2]
  number = samples.shape[2] if samples.ndim == 3 else 1
  bits = 8 * samples.dtype.itemsize
  if photometric is None:
    photometric = 1 if number < 3 else 2
  pixels = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
  short = {258: [bits] * number, 259: [1], 262: [photometric], 277: [number],
           339: [kind] * number}
  if number == 4 and photometric == 2:
    short[338] = [2]  # The fourth is alpha, colours are not multiplied by it.
  short.update({tag: [value] for tag, value in tags})
  long = {256: [width], 257: [height], 273: [8], 278: [height],
          279: [len(pixels)]}
  entries, behind = [], b""
  start = 8 + len(pixels) + len(pixels) % 2
  behind_at = start + 2 + 12 * len({*short, *long}) + 4
  for tag in sorted({*short, *long}):
    values = short.get(tag) or long[tag]
    kind_of_value, letter = (3, "H") if tag in short else (4, "I")
    data = struct.pack(f"<{len(values)}{letter}", *values)
    if len(data) > 4:
      data, behind = struct.pack("<I", behind_at + len(behind)), behind + data
    entries.append(struct.pack("<HHI", tag, kind_of_value, len(values))
                   + data.ljust(4, b"\0"))
  return (struct.pack("<4sI", b"II*\0", start) + pixels
          + b"\0" * (len(pixels) % 2) + struct.pack("<H", len(entries))
          + b"".join(entries) + bytes(4) + behind)
