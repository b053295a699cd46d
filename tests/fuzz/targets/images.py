"""Image files: damaged, odd, too large, or none at all."""

import io
import os
import struct
import zlib

from hypothesis import strategies as st
import numpy as np
from PIL import Image

from kdwsd.data import images
from tests.data import fake_sets
from tests.fuzz import grammar as g
from tests.fuzz import mutations
from tests.fuzz import oracle

PLACES = r"^list\.txt:3: image: "
MAX_PIXELS = 300_000

_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I", "F",
          "YCbCr", "PA")
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "ICO", "TGA")


def _image(mode="RGB", height=24, width=32):
  image = Image.fromarray(fake_sets.pixels(height, width))
  if mode == "I;16":
    return Image.fromarray(np.full([height, width], 40000, np.uint16))
  if mode == "PA":
    return image.convert("P").convert("PA")
  return image.convert(mode)


def encoded(mode, kind, **options):
  """Bytes of a small image; None where the format has no such mode."""
  buffer = io.BytesIO()
  try:
    _image(mode).save(buffer, kind, **options)
  except (OSError, ValueError, KeyError):
    return None
  return buffer.getvalue()


def _exif(orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return exif.tobytes()


def examples():
  """Sound images of every format and mode."""
  made = [encoded(mode, kind) for kind in _KINDS[:7] for mode in _MODES]
  made += [encoded("RGB", "JPEG", progressive=True),
           encoded("RGB", "JPEG", exif=_exif(6)),
           encoded("L", "JPEG", exif=_exif(3)),
           encoded("RGB", "JPEG", subsampling=0, quality=95),
           encoded("RGB", "JPEG", restart_marker_blocks=1),
           encoded("RGB", "PNG", exif=_exif(8)),
           encoded("RGB", "TIFF", compression="tiff_lzw"),
           encoded("L", "PNG", transparency=0),
           encoded("RGB", "GIF", save_all=True,
                   append_images=[_image("RGB")] * 3)]
  return [{"image": content} for content in made if content]


def _chunk(kind, content):
  return (struct.pack(">I", len(content)) + kind + content
          + struct.pack(">I", zlib.crc32(kind + content)))


@st.composite
def _pngs(draw):
  """PNG files whose checksums are right and whose contents need not be."""
  side = st.sampled_from([0, 1, 2, 31, 600, 10 ** 5, 2 ** 31 - 1, 2 ** 32 - 1])
  width = draw(g.mostly(st.just(4), side))
  height = draw(g.mostly(st.just(3), side))
  depth = draw(g.mostly(st.just(8), st.sampled_from([0, 1, 2, 4, 16, 7])))
  colour = draw(g.mostly(st.sampled_from([0, 2]), st.integers(0, 7)))
  head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0,
                     draw(g.mostly(st.just(0), st.integers(0, 2))))
  rows = draw(st.one_of(
      st.just(bytes(3 * (1 + 4 * 3))), st.binary(max_size=60),
      st.just(bytes(2_000_000))))
  chunks = [_chunk(b"IHDR", head)]
  for kind in draw(st.lists(st.sampled_from(
      [b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"tEXt", b"iTXt", b"eXIf",
       b"acTL", b"fcTL", b"IDAT", b"sRGB", b"pHYs", b"IEND"]), max_size=3)):
    chunks.append(_chunk(kind, draw(st.one_of(
        st.binary(max_size=30), st.just(b"a\0\0" + zlib.compress(
            bytes(5_000_000), 1)), st.just(_exif(6)[6:])))))
  chunks.append(_chunk(b"IDAT", zlib.compress(rows)))
  chunks.append(_chunk(b"IEND", b""))
  return _PNG + b"".join(chunks)


@st.composite
def _plain_maps(draw):
  """PPM and its kin, whose heads are text."""
  fields = [draw(st.sampled_from(
      ["P1", "P2", "P3", "P4", "P5", "P6", "Pf", "PF", "P7", "P8"]))]
  fields += [draw(g.mostly(st.sampled_from(["1", "3", "40"]),
                           g.odd_numbers())) for _ in range(3)]
  return (" ".join(fields) + "\n").encode() + draw(st.one_of(
      st.binary(max_size=80), st.just(b"1 0 2 255 " * 100),
      st.just(struct.pack("<6f", np.nan, np.inf, -np.inf, 1e38, -1, 0) * 40)))


@st.composite
def _jpegs(draw):
  """JPEG files with odd segments in front of sound pixels."""
  content = encoded(draw(st.sampled_from(["RGB", "L", "CMYK"])), "JPEG",
                    progressive=draw(st.booleans()))
  parts = [content[:2]]
  for _ in range(draw(st.integers(0, 3))):
    body = draw(st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=40).map(lambda b: b"Exif\0\0" + b),
        st.integers(0, 2 ** 16 - 1).map(_exif),
        st.sampled_from([
            b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2",
            b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='6'/>",
            b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE a [<!ENTITY b 'c'>]>",
            b"MPF\0II*\0" + b"\xff" * 30, b"ICC_PROFILE\0\1\1" + b"x" * 20,
            b"JFIF\0\1\2\0\0\0\0\0\0\0", b"Photoshop 3.0\0" + b"8BIM" * 5])))
    size = draw(g.mostly(st.just(len(body) + 2), st.integers(0, 65535)))
    marker = draw(st.sampled_from(
        [0xe0, 0xe1, 0xe1, 0xe2, 0xed, 0xee, 0xfe, 0xdd, 0xdb, 0xc4, 0xc0,
         0xcc, 0xff]))
    parts.append(bytes([0xff, marker]) + struct.pack(">H", size) + body)
  parts.append(content[2:])
  return draw(g.mostly(st.just(b"".join(parts)), st.builds(
      lambda size: b"".join(parts).replace(
          b"\0\x18\0\x20", size, 1), st.sampled_from(
              [b"\xff\xff\xff\xff", b"\0\0\0\x20", b"\0\x19\0\x20",
               b"\0\1\0\1", b"\x03\0\x03\0"]))))


def _large():
  """Images beyond the limit, in few bytes."""
  def make(kind):
    image = Image.new("L", (1000, 1000))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
  return st.sampled_from(_KINDS[:7]).map(make)


def grammar():
  """Images of odd kinds, put together so that checksums are right."""
  plain = st.builds(encoded, st.sampled_from(_MODES), st.sampled_from(_KINDS))
  return st.one_of(
      _jpegs(), _jpegs(), _pngs(), _pngs(), _plain_maps(),
      plain.filter(bool), _large(), st.binary(max_size=40)).map(
          lambda content: {"image": content})


def damage(case, random, others):
  """Damages an image; of a PNG the checksums are put right most times."""
  damaged = mutations.mutate(case, random, others)
  content = damaged.get("image", b"")
  if content.startswith(_PNG) and random.random() < 0.7:
    parts, at = [_PNG], 8
    while at + 12 <= len(content):
      (length,) = struct.unpack_from(">I", content, at)
      length = min(length, len(content) - at - 12)
      parts.append(_chunk(content[at + 4:at + 8],
                          content[at + 8:at + 8 + length]))
      at += 12 + length
    damaged["image"] = b"".join(parts) + content[at:]
  return damaged


def check(folder):
  """An upright image and a JPEG of it that holds the same pixels."""
  path = os.path.join(folder, "image")
  images.missing(path)
  found = images.read(path, max_pixels=MAX_PIXELS, where="list.txt:3")
  oracle.demand(
      found.pixels.dtype == np.uint8 and found.pixels.ndim == 3
      and found.pixels.shape[2] == 3 and min(found.pixels.shape) > 0,
      f"pixels of {found.pixels.shape} {found.pixels.dtype}")
  oracle.demand(found.height * found.width <= MAX_PIXELS, "too many pixels")
  oracle.demand(found.orientation in range(1, 9), "an odd orientation")
  with Image.open(io.BytesIO(found.encoded), formats=["JPEG"]) as again:
    oracle.demand(again.size == (found.width, found.height)
                  and again.mode in ("RGB", "L"),
                  f"a record of {again.size} {again.mode}")
    pixels = np.array(again.convert("RGB"), int)
  # Noise loses its colours in a JPEG, but not its brightness.
  brightness = (pixels - found.pixels) @ [0.299, 0.587, 0.114]
  oracle.demand(np.abs(brightness).mean() < 30, "a record of other pixels")
