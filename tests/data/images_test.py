"""Tests of image decoding; TensorFlow's decoder is the second opinion."""

import io
import tempfile
import zlib

from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import images
from tests.data import fake_sets

PIXELS = fake_sets.pixels()
JPEG = fake_sets.encoded(PIXELS)


def _without_adobe_marker(content):
  at = content.index(b"\xff\xee")
  size = int.from_bytes(content[at + 2:at + 4], "big")
  return content[:at] + content[at + 2 + size:]


def _with_orientation(orientation, kind="JPEG"):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return fake_sets.encoded(PIXELS, kind, exif=exif.tobytes())


def _without_tables(content, removed):
  """A JPEG without some of its Huffman tables, which are usual ones."""
  number, at = 0, content.find(b"\xff\xc4")
  while at >= 0:
    end = at + 2 + int.from_bytes(content[at + 2:at + 4], "big")
    if number in removed:
      content, end = content[:at] + content[end:], at
    number, at = number + 1, content.find(b"\xff\xc4", end)
  return content


class ImagesTest(tf.test.TestCase, parameterized.TestCase):

  def _assert_close(self, actual, expected, atol=6):
    self.assertEqual(actual.shape, expected.shape)
    error = np.abs(actual.astype(int) - expected.astype(int))
    self.assertLess(np.mean(error), atol)

  def test_plain_jpeg_keeps_its_bytes(self):
    image = images.decode(JPEG)
    self.assertEqual(image.encoded, JPEG)
    self.assertEqual((image.height, image.width, image.orientation),
                     (24, 32, 1))
    self._assert_close(image.pixels, PIXELS)

  def test_grey_jpeg_keeps_its_bytes_and_becomes_rgb(self):
    content = fake_sets.encoded(Image.fromarray(PIXELS).convert("L"))
    image = images.decode(content)
    self.assertEqual(image.encoded, content)
    self.assertEqual(image.pixels.shape, (24, 32, 3))
    self.assertAllEqual(image.pixels[..., 0], image.pixels[..., 2])

  def test_progressive_jpeg_is_encoded_again(self):
    content = fake_sets.encoded(PIXELS, progressive=True)
    image = images.decode(content)
    self.assertNotEqual(image.encoded, content)
    self._assert_close(image.pixels, PIXELS)

  @parameterized.parameters("RGB", "L")
  def test_a_frame_of_motion_jpeg_gets_its_own_tables(self, mode):
    whole = fake_sets.encoded(Image.fromarray(PIXELS).convert(mode))
    for removed in (range(4), [0], [1]):
      frame = _without_tables(whole, removed)
      self.assertLess(len(frame), len(whole))
      image = images.decode(frame)
      self.assertGreaterEqual(
          image.encoded.count(b"\xff\xc4"), whole.count(b"\xff\xc4"))
      self.assertAllEqual(image.pixels, images.decode(whole).pixels)
      self._assert_close(
          tf.io.decode_jpeg(image.encoded, channels=3).numpy(), image.pixels)
    self.assertEqual(images.decode(whole).encoded, whole)

  @parameterized.parameters(range(1, 9))
  def test_exif_is_applied_to_pixels_and_boxes(self, orientation):
    image = images.decode(_with_orientation(orientation))
    # By hand: rows and columns of the stored array, as the EXIF table has it.
    turned = {
        1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1], 5: PIXELS.transpose(1, 0, 2),
        6: PIXELS.transpose(1, 0, 2)[:, ::-1],
        7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
        8: PIXELS.transpose(1, 0, 2)[::-1]}[orientation]
    self._assert_close(image.pixels, turned)
    again = images.decode(image.encoded)
    self.assertEqual(again.orientation, 1)
    self._assert_close(again.pixels, turned)
    # The dark corner is a box that goes along.
    ymin, xmin, ymax, xmax = images.turn_boxes(
        [[0, 0, 8 / 24, 10 / 32]], orientation)[0]
    dark = turned[round(ymin * len(turned)):round(ymax * len(turned)),
                  round(xmin * turned.shape[1]):round(xmax * turned.shape[1])]
    self.assertEqual(sorted(dark.shape[:2]), [8, 10])
    self.assertEqual(dark.max(), 0)

  @parameterized.parameters(0, 9, 77)
  def test_strange_orientation_is_upright(self, orientation):
    self.assertEqual(images.decode(_with_orientation(orientation)).orientation,
                     1)

  def test_png_orientation_counts_too(self):
    image = images.decode(_with_orientation(6, "PNG"))
    self.assertEqual((image.height, image.width), (32, 24))

  @parameterized.parameters(True, False)
  def test_cmyk_agrees_with_tensorflow(self, adobe):
    content = fake_sets.encoded(Image.fromarray(PIXELS).convert("CMYK"))
    self.assertIn(b"Adobe", content)
    if not adobe:  # Without the marker the inks are not inverted.
      inverted = 255 - np.array(Image.fromarray(PIXELS).convert("CMYK"))
      content = _without_adobe_marker(
          fake_sets.encoded(Image.fromarray(inverted, "CMYK")))
    image = images.decode(content)
    self._assert_close(image.pixels, PIXELS)
    self._assert_close(image.pixels,
                       tf.io.decode_jpeg(content, channels=3).numpy())
    self._assert_close(tf.io.decode_jpeg(image.encoded).numpy(), PIXELS)

  def test_palette_and_alpha(self):
    palette = Image.fromarray(PIXELS).quantize(64)
    self._assert_close(
        images.decode(fake_sets.encoded(palette, "PNG")).pixels, PIXELS, 12)
    self._assert_close(
        images.decode(fake_sets.encoded(palette, "GIF")).pixels, PIXELS, 12)
    alpha = np.full([24, 32, 1], 255, np.uint8)
    alpha[12:] = 0
    rgba = Image.fromarray(np.concatenate([PIXELS, alpha], axis=-1))
    image = images.decode(fake_sets.encoded(rgba, "PNG"))
    self.assertAllEqual(image.pixels[12:], np.full([12, 32, 3], 255))
    self.assertAllEqual(image.pixels[:12], PIXELS[:12])
    palette = palette.copy()
    corner = palette.getpixel((0, 0))
    image = images.decode(
        fake_sets.encoded(palette, "PNG", transparency=corner))
    self.assertAllEqual(image.pixels[0, 0], [255, 255, 255])

  def test_other_depths(self):
    grey = np.arange(24 * 32).reshape(24, 32)
    deep = Image.fromarray((grey * 85).astype(np.uint16))
    image = images.decode(fake_sets.encoded(deep, "PNG"))
    self.assertAllEqual(image.pixels[..., 0], (grey * 85) >> 8)
    bits = Image.fromarray(PIXELS).convert("1")
    image = images.decode(fake_sets.encoded(bits, "PNG"))
    self.assertAllEqual(np.unique(image.pixels), [0, 255])

  def test_every_cut_is_refused_or_harmless(self):
    for content in (JPEG, fake_sets.encoded(PIXELS, "PNG")):
      for size in range(len(content)):
        try:
          image = images.decode(content[:size])
        except errors.InputError as error:
          self.assertIn("Received:", str(error))
          continue
        # Only metadata after the pixels may be missing.
        self.assertAllEqual(image.pixels, images.decode(content).pixels)
        tf.io.decode_jpeg(image.encoded)

  def test_cut_jpeg_is_named(self):
    with self.assertRaisesRegex(
        errors.InputError, r"^list:3: .*expected a whole image.*truncated"):
      images.read(self._file(JPEG[:-40]), where="list:3")

  def test_jpeg_without_its_end_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, "truncated"):
      images.decode(JPEG[:-2])

  def _file(self, content):
    return fake_sets.write(tempfile.mkdtemp() + "/x.jpg", content)

  @parameterized.parameters(
      (b"", "zero bytes"), (b"\0" * 50, "cannot identify"),
      (b"GIF89a", "Received"), (b"%!PS-Adobe", "cannot"))
  def test_no_image(self, content, message):
    with self.assertRaisesRegex(errors.InputError, message):
      images.decode(content)

  def test_missing_file(self):
    with self.assertRaisesRegex(errors.InputError, "a.txt:1: .*No such file"):
      images.read("/nowhere/x.jpg", where="a.txt:1")

  @parameterized.parameters(("a\0.jpg", "null"), ("\ud800.jpg", "surrogates"),
                            ("a" * 5000, "too long"))
  def test_a_path_that_cannot_be(self, path, message):
    self.assertIn(message, images.missing(path))
    with self.assertRaisesRegex(errors.InputError, message):
      images.read(path)

  @parameterized.parameters((70_000, 1), (1, 70_000))
  def test_sides_that_no_jpeg_can_have(self, width, height):
    with self.assertRaisesRegex(
        errors.InputError, f"65500 pixels. Received: {width} x {height}"):
      images.decode(fake_sets.encoded(
          np.zeros([height, width, 3], np.uint8), "PNG"))
    images.decode(fake_sets.encoded(np.zeros([65500, 1, 3], np.uint8), "PNG"))

  def test_too_many_pixels_are_not_decoded(self):
    for limit in (1, 24 * 32 - 1):
      with self.assertRaisesRegex(errors.InputError, "--max_pixels"):
        images.decode(JPEG, max_pixels=limit)
    images.decode(JPEG, max_pixels=24 * 32)
    header = bytearray(fake_sets.encoded(PIXELS, "PNG"))
    header[16:24] = (60000).to_bytes(4, "big") * 2
    crc = zlib.crc32(bytes(header[12:29]))
    header[29:33] = crc.to_bytes(4, "big")
    with self.assertRaisesRegex(errors.InputError, "--max_pixels"):
      images.decode(bytes(header))

  def test_pillows_own_limit_stays(self):
    before = Image.MAX_IMAGE_PIXELS
    images.decode(JPEG, max_pixels=10_000)
    self.assertEqual(Image.MAX_IMAGE_PIXELS, before)

  def test_encode_takes_arrays(self):
    self._assert_close(
        np.array(Image.open(io.BytesIO(images.encode(PIXELS)))), PIXELS)

  @settings(max_examples=150, deadline=None)
  @given(at=strategies.integers(0, len(JPEG) - 1),
         value=strategies.integers(0, 255))
  def test_a_changed_byte_gives_an_image_or_an_input_error(self, at, value):
    content = bytearray(JPEG)
    content[at] = value
    try:
      image = images.decode(bytes(content), max_pixels=10**6)
    except errors.InputError:
      return
    self.assertEqual(image.pixels.dtype, np.uint8)
    self.assertEqual(image.pixels.shape, (image.height, image.width, 3))


if __name__ == "__main__":
  tf.test.main()
