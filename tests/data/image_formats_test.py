"""Formats that need a plugin, and what is said where it is missing."""

import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import features

from kdwsd import errors
from kdwsd.data import image_formats
from kdwsd.data import images
from tests.data import fake_sets

_PIXELS = fake_sets.pixels()


def _heif(brand, *others):
  brands = brand + bytes(4) + b"".join(others)
  return (len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands + bytes(40)


class ImageFormatsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    image_formats.readable.cache_clear()
    self.addCleanup(image_formats.readable.cache_clear)

  def test_every_name_is_a_format_of_pillow(self):
    Image.init()
    self.assertLessEqual(set(image_formats.readable()), set(Image.OPEN))

  def test_avif(self):
    if not ("avif" in features.modules and features.check("avif")):
      self.skipTest("This Pillow has no AVIF.")
    self.assertIn("AVIF", image_formats.readable())
    exif = Image.Exif()
    exif[0x0112] = 6
    content = fake_sets.encoded(
        Image.fromarray(_PIXELS), "AVIF", quality=100, exif=exif.tobytes())
    found = images.decode(content)
    expected = _PIXELS.transpose(1, 0, 2)[:, ::-1]
    self.assertLess(np.abs(found.pixels.astype(int) - expected).mean(), 4)
    self.assertEqual(found.orientation, 6)
    with self.assertRaisesRegex(errors.InputError, "--max_pixels"):
      images.decode(content, max_pixels=24 * 32 - 1)
    for size in range(0, len(content) - 1, 7):
      with self.assertRaisesRegex(errors.InputError, "Received: "):
        images.decode(content[:size])

  @parameterized.parameters(
      (_heif(b"heic", b"mif1", b"heic"), "HEIC file: pip install pillow-heif"),
      (_heif(b"heix"), "HEIC file: pip install pillow-heif"),
      (_heif(b"mif1", b"mif1", b"heic"), "HEIC file: pip install pillow-heif"),
      (_heif(b"avif", b"mif1"), "AVIF file: pip install 'Pillow>=11.3'"),
      (_heif(b"mif1", b"mif1", b"avif"), "AVIF file: pip install"))
  def test_what_to_install(self, content, message):
    with mock.patch.dict("sys.modules", pillow_heif=None), mock.patch.object(
        features, "check", return_value=False):
      with self.assertRaisesRegex(
          errors.InputError, rf"WEBP, TIFF, PPM\)\. Received: .*{message}"):
        images.decode(content)

  def test_heic_where_the_plugin_is(self):
    plugin = types.SimpleNamespace(register_heif_opener=mock.Mock())
    with mock.patch.dict("sys.modules", pillow_heif=plugin):
      self.assertEqual(image_formats.readable()[-1], "HEIF")
      plugin.register_heif_opener.assert_called_once_with()
      self.assertEqual(image_formats.advice(_heif(b"heic")), "")

  def test_heic_of_the_plugin_itself(self):
    try:
      import pillow_heif  # pylint: disable=import-outside-toplevel
    except ImportError:
      self.skipTest("pillow-heif is not installed.")
    self.assertIn("HEIF", image_formats.readable())
    del pillow_heif
    exif = Image.Exif()
    exif[0x0112] = 6
    content = fake_sets.encoded(
        Image.fromarray(_PIXELS), "HEIF", quality=-1, exif=exif.tobytes())
    found = images.decode(content)
    expected = _PIXELS.transpose(1, 0, 2)[:, ::-1]
    self.assertLess(np.abs(found.pixels.astype(int) - expected).mean(), 4)
    with self.assertRaisesRegex(errors.InputError, "--max_pixels"):
      images.decode(content, max_pixels=24 * 32 - 1)
    with self.assertRaisesRegex(errors.InputError, "Received: "):
      images.decode(content[:-60])

  @parameterized.parameters(b"", b"II*\0", b"MM\0*" + b"\xff" * 4,
                            b"II*\0\x08\0\0\0\xff\xff" + b"\3" * 40,
                            b"\0\0\0\x08ftyp")
  def test_advice_reads_any_bytes(self, content):
    self.assertIsInstance(image_formats.advice(content), str)


if __name__ == "__main__":
  absltest.main()
