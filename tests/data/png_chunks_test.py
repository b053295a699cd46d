"""Tests of leaving out a PNG's metadata; Pillow reads what is left."""

import io
import resource
import tracemalloc
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from kdwsd import errors
from kdwsd.data import images
from kdwsd.data import png_chunks
from tests.data import deep_images
from tests.data import fake_sets

_GREY = deep_images.ramp(255)
_MUCH = b"x" * 3_000_000
_XMP = b"<x tiff:Orientation='1'/><y tiff:Orientation=\"6\"/>"
_XMP_KEY = b"XML:com.adobe.xmp\0"


def _png(*extra):
  return deep_images.png(_GREY, deep_images.GREY, bits=8, extra=extra)


def _itxt(text, packed):
  return b"iTXt", _XMP_KEY + bytes([packed, 0]) + b"en\0key\0" + (
      zlib.compress(text) if packed else text)


class PngChunksTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ("text", [(b"tEXt", b"key\0" + _MUCH)]),
      ("packed_text", [(b"zTXt", b"key\0\0" + zlib.compress(_MUCH))]),
      ("unicode", [_itxt(_MUCH, False)]),
      ("packed_unicode", [_itxt(_MUCH, True)]),
      ("profile", [(b"iCCP", b"icc\0\0" + zlib.compress(_MUCH))]),
      ("exif_text", [(b"zTXt", b"Raw profile type exif\0\0"
                      + zlib.compress(_MUCH))]),
      ("many", [(b"tEXt", b"key%d\0" % i + _MUCH[:999_000])
                for i in range(70)]),
      ("no_zlib", [(b"zTXt", b"key\0\0junk"), (b"iCCP", b"icc\0\0junk")]),
      ("bomb", [(b"zTXt", b"key\0\0" + zlib.compress(bytes(300_000_000), 1))]),
      ("xmp_bomb", [_itxt(bytes(300_000_000), True)]))
  def test_metadata_stops_no_reading(self, extra):
    content = _png(*extra)
    tracemalloc.start()
    found = images.decode(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found.pixels[..., 0], _GREY)
    # Nothing is unpacked beyond a megabyte.
    self.assertLess(peak, 4 * len(content) + 10_000_000)

  @parameterized.parameters(
      [[_itxt(_XMP, False)]], [[_itxt(_XMP, True)]],
      [[(b"zTXt", b"key\0\0" + zlib.compress(_MUCH)), _itxt(_XMP, True)]],
      [[(b"eXIf", Image.Exif().tobytes()[6:]), _itxt(_XMP, True)]])
  def test_the_orientation_stays(self, extra):
    found = images.decode(_png(*extra))
    self.assertEqual(found.orientation, 6)
    np.testing.assert_array_equal(found.pixels[..., 0], _GREY.T[:, ::-1])

  def test_only_the_first_of_equal_texts_is_kept(self):
    content = png_chunks.without_metadata(_png(
        *[_itxt(_XMP, True)] * 100, (b"tEXt", b"key\0value")))
    self.assertEqual(content.count(b"iTXt"), 1)
    self.assertNotIn(b"tEXt", content)

  def test_what_decides_pixels_is_kept(self):
    image = Image.fromarray(fake_sets.pixels()).quantize(16)
    for content in (
        fake_sets.encoded(image, "PNG", transparency=3),
        fake_sets.encoded(image, "PNG", icc_profile=b"junk"),
        fake_sets.encoded(image, "PNG", save_all=True, append_images=[
            image.rotate(90)])):
      for part in (png_chunks.without_metadata(content),
                   png_chunks.pixels_alone(content)):
        np.testing.assert_array_equal(
            *(np.array(Image.open(io.BytesIO(each)).convert("RGBA"))
              for each in (content, part)))

  def test_any_bytes_pass(self):
    whole = _png((b"tEXt", b"key\0value"))
    for size in range(len(whole)):
      part = png_chunks.without_metadata(whole[:size])
      self.assertLessEqual(len(part), max(size, 8))
      try:
        found = images.decode(whole[:size]).pixels[..., 0]
        np.testing.assert_array_equal(found, _GREY)
      except errors.InputError as error:
        self.assertIn("Received", str(error))
    self.assertEqual(png_chunks.without_metadata(b""), b"")
    self.assertEqual(png_chunks.bit_depth(whole), 8)
    self.assertEqual(png_chunks.bit_depth(b""), 0)

  def test_no_room_is_made_for_what_a_header_promises(self):
    content = bytearray(deep_images.png(
        np.dstack([_GREY] * 3), deep_images.RGB))
    at = content.index(b"IDAT") - 4
    content[at:at + 4] = b"\xff\xff\0\xb5"  # Four gigabytes.
    self.assertTrue(png_chunks.without_metadata(content).endswith(
        bytes(content[at:])))
    self.assertNotIn(b"IDAT", png_chunks.pixels_alone(content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with self.assertRaisesRegex(errors.InputError, "Received"):
      images.decode(bytes(content))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    self.assertLess(after - before, 200_000)  # KiB

  def test_other_formats_take_large_metadata_too(self):
    exif = Image.Exif()
    exif[0x9286] = b"x" * 60_000
    exif[0x0112] = 3
    large = b"x" * 20_000_000
    for kind, options in (
        ("JPEG", {"exif": exif, "icc_profile": large[:9_000_000],
                  "xmp": large[:60_000], "comment": large[:60_000]}),
        ("TIFF", {"icc_profile": large, "description": "x" * 9_000_000}),
        ("WEBP", {"exif": exif.tobytes(), "icc_profile": large, "xmp": large,
                  "lossless": True})):
      found = images.decode(fake_sets.encoded(
          Image.fromarray(fake_sets.pixels()), kind, **options)).pixels
      expected = fake_sets.pixels()
      if kind != "TIFF":
        expected = expected[::-1, ::-1]
      self.assertLess(np.abs(found.astype(int) - expected).mean(), 4, kind)


if __name__ == "__main__":
  absltest.main()
