"""Image files: damaged, odd, too large, or none at all."""

import io
import os
import struct
import zlib

from hypothesis import strategies as st
import numpy as np
from PIL import Image

from kdwsd.data import images
from tests.data import deep_images
from tests.data import fake_sets
from tests.fuzz import grammar as g
from tests.fuzz import mutations
from tests.fuzz import oracle

PLACES = r"^list\.txt:3: image: "
MAX_PIXELS = 300_000

_MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I", "F",
          "YCbCr", "PA")
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "ICO",
          "TGA")


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
  made = [encoded(mode, kind) for kind in _KINDS[:8] for mode in _MODES]
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
  for bits in (8, 12, 16):
    grey = deep_images.ramp((1 << bits) - 1)
    colours = np.dstack([grey] * 3)
    made += [
        deep_images.png(grey, deep_images.GREY),
        deep_images.png(colours, deep_images.RGB,
                        extra=[(b"tRNS", b"\0\0" * 3)]),
        deep_images.png(np.dstack([colours, grey]), deep_images.RGBA),
        deep_images.tiff(grey.astype(np.uint16)),
        deep_images.tiff(colours.astype(np.uint16)),
        deep_images.tiff(grey.astype(np.int32), kind=2),
        deep_images.tiff(grey.astype(np.float32), kind=3)]
  made.append(deep_images.tiff(grey.astype(np.float32) / 65535, kind=3))
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


_SAMPLES = st.sampled_from(
    [0, 1, 19, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 65535])


@st.composite
def _samples(draw, channels):
  """[H, W, N] whole numbers below a power of two; now and then one is more."""
  largest = draw(_SAMPLES)
  seed = draw(st.integers(0, 2 ** 32 - 1))
  samples = np.random.RandomState(seed).randint(
      0, largest + 1, [draw(st.integers(1, 9)), draw(st.integers(1, 9)),
                       channels])
  samples[0, 0, 0] = draw(_SAMPLES)
  return samples


@st.composite
def _deep_pngs(draw):
  """PNG files of 16 bits, with transparency and metadata of every kind."""
  colour = draw(st.sampled_from([
      deep_images.GREY, deep_images.RGB, deep_images.GREY_ALPHA,
      deep_images.RGBA]))
  channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
  samples = draw(_samples(channels))
  extra = [(kind, draw(st.one_of(
      st.binary(max_size=9), st.just(b"XML:com.adobe.xmp\0\1\0\0\0"
                                     + zlib.compress(bytes(3_000_000), 1)),
      st.just(b"a\0\0" + zlib.compress(bytes(3_000_000), 1)))))
           for kind in draw(st.lists(st.sampled_from(
               [b"zTXt", b"iTXt", b"iCCP", b"tEXt", b"sBIT"]), max_size=2))]
  if colour in (deep_images.GREY, deep_images.RGB) and draw(st.booleans()):
    level = draw(g.mostly(st.just(samples[-1, -1].tolist()), st.lists(
        _SAMPLES, min_size=channels, max_size=channels)))
    extra.append((b"tRNS", struct.pack(f">{channels}H", *level)))
  return deep_images.png(samples, colour, extra=extra)


@st.composite
def _deep_tiffs(draw):
  """TIFF files of whole numbers and floats, in range and out of it."""
  channels = draw(st.sampled_from([1, 1, 3, 4, 2]))
  samples = draw(_samples(channels))
  kind, types = draw(st.sampled_from([
      (1, "uint8 uint16 uint16 uint32"), (2, "int16 int32"),
      (3, "float32 float32 float64")]))
  if kind != 1:
    samples = samples * draw(st.sampled_from([1, 1, -1, 0.5, 1 / 65535, 1e-3]))
    if kind == 3 and draw(st.integers(0, 4)) == 0:
      samples = samples / draw(st.sampled_from([1e-9, 0, 1e30]))
  tags = draw(st.lists(st.tuples(
      st.sampled_from([281, 341, 280, 340, 274, 338, 262, 259, 284]),
      st.one_of(st.integers(0, 9), _SAMPLES)), max_size=3))
  with np.errstate(all="ignore"):
    typed = samples.astype(draw(st.sampled_from(types.split())))
  return deep_images.tiff(
      typed[..., 0] if channels == 1 else typed, kind=kind, tags=tags)


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
      _jpegs(), _jpegs(), _pngs(), _pngs(), _deep_pngs(), _deep_pngs(),
      _deep_tiffs(), _deep_tiffs(), _plain_maps(),
      plain.filter(bool), _large(), st.binary(max_size=40)).map(
          lambda content: {"image": content})


def served_grammar():
  """Those of the formats that an export decodes, and a few others."""
  return st.one_of(
      _jpegs(), _pngs(), _deep_pngs(), _deep_pngs(),
      st.builds(encoded, st.sampled_from(_MODES), st.sampled_from(
          ["JPEG", "PNG", "PNG", "GIF"])).filter(bool),
      _large()).map(lambda content: {"image": content})


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
  oracle.demand(found.taken_for in (
      "", "0..1", "0..255", "8 bits", "10 bits", "12 bits", "14 bits"),
                f"an odd range: {found.taken_for!r}")
  with Image.open(io.BytesIO(found.encoded), formats=["JPEG"]) as again:
    oracle.demand(again.size == (found.width, found.height)
                  and again.mode in ("RGB", "L"),
                  f"a record of {again.size} {again.mode}")
    pixels = np.array(again.convert("RGB"), int)
  # Noise loses its colours in a JPEG, but not its brightness.
  brightness = (pixels - found.pixels) @ [0.299, 0.587, 0.114]
  oracle.demand(np.abs(brightness).mean() < 30, "a record of other pixels")
