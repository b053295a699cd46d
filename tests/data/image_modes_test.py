"""Files of more than 8 bits a sample, and odd modes: pixels by hand."""

from absl.testing import absltest
from absl.testing import parameterized
import cv2
import numpy as np
from PIL import Image

from kdwsd import errors
from kdwsd.data import images
from tests.data import deep_images
from tests.data import fake_sets

_GREY = deep_images.ramp(4095)                                    # [6, 8]
_COLOURS = np.dstack([_GREY, _GREY // 2, _GREY[::-1]])            # [6, 8, 3]


def _stacked(levels):
  return np.dstack([levels] * 3)


class ImageModesTest(parameterized.TestCase):

  def _check(self, content, expected, taken_for):
    found = images.decode(content)
    np.testing.assert_array_equal(found.pixels, expected)
    self.assertEqual(found.taken_for, taken_for)
    self.assertEqual(found.is_dark, expected.max() < 20)

  @parameterized.parameters(10, 12, 14, 16)
  def test_each_depth_in_each_16_bit_file(self, bits):
    grey = deep_images.ramp((1 << bits) - 1)
    colours = np.dstack([grey, grey // 2, grey[::-1]])
    told = "" if bits == 16 else f"{bits} bits"
    wide = colours.astype(np.uint16)
    # What another reader finds in the files is what was meant.
    for content in (deep_images.png(colours, deep_images.RGB),
                    deep_images.tiff(wide)):
      there = cv2.imdecode(np.frombuffer(content, np.uint8),
                           cv2.IMREAD_UNCHANGED)
      np.testing.assert_array_equal(there[..., ::-1], colours)
      self._check(content, colours >> (bits - 8), told)
    for content in (deep_images.png(grey, deep_images.GREY),
                    deep_images.tiff(wide[..., 0]),
                    deep_images.tiff(grey.astype(np.int32), kind=2)):
      there = cv2.imdecode(np.frombuffer(content, np.uint8),
                           cv2.IMREAD_UNCHANGED)
      np.testing.assert_array_equal(there, grey)
      self._check(content, _stacked(grey >> (bits - 8)), told)
    self._check(deep_images.tiff(grey.astype(np.uint32)),
                _stacked(grey >> (bits - 8)), told)

  def test_all_bits_of_a_container_decide_over_one_channel(self):
    colours = _COLOURS.copy()
    colours[0, 0, 2] = 65535
    for content in (deep_images.png(colours, deep_images.RGB),
                    deep_images.tiff(colours.astype(np.uint16))):
      self._check(content, colours >> 8, "")

  def test_floats(self):
    unit = (_GREY / 4095).astype(np.float32)
    # By hand: 255 times as much, rounded to the nearest.
    levels = _stacked(np.rint(unit.astype(np.float64) * 255))
    self._check(deep_images.tiff(unit, kind=3), levels, "0..1")
    self._check(deep_images.tiff(255 * unit, kind=3), levels, "0..255")
    self._check(deep_images.tiff(unit / 20, kind=3),
                _stacked(np.rint(unit / 20 * 255)), "0..1")

  def test_what_cannot_be_scaled_is_refused(self):
    negative = (_GREY - 1000).astype(np.int16)
    nan = np.where(_GREY < 99, np.nan, _GREY / 4095).astype(np.float32)
    for content, received in (
        (deep_images.tiff(negative, kind=2), "-1000 to 3095"),
        (deep_images.tiff(nan, kind=3), "NaN or infinity, 2 of 48"),
        (deep_images.tiff((_GREY * 1000).astype(np.uint32)), "0 to 4095000")):
      with self.assertRaisesRegex(
          errors.InputError, f"^image: expected .*Received: {received}"):
        images.decode(content)

  def test_a_tiff_that_pillow_has_no_mode_for_says_what_it_holds(self):
    for samples, kind, received in (
        (_COLOURS.astype(np.float32), 3, "3 x 32 bits a pixel, floats"),
        (_GREY.astype(np.float64), 3, "1 x 64 bits a pixel, floats"),
        (_COLOURS.astype(np.int16), 2, "3 x 16 bits a pixel, signed"),
        (_COLOURS[..., :2].astype(np.uint16), 1, "2 x 16 bits a pixel")):
      with self.assertRaisesRegex(
          errors.InputError, f"Received: cannot identify .*{received}.*8-bit"):
        images.decode(deep_images.tiff(samples, kind=kind))

  def test_the_maximum_that_a_tiff_states_counts(self):
    dark = deep_images.ramp(900).astype(np.uint16)
    self._check(deep_images.tiff(dark), _stacked(dark >> 2), "10 bits")
    for tag in (281, 341):  # MaxSampleValue, SMaxSampleValue
      self._check(deep_images.tiff(dark, tags=[(tag, 4095)]),
                  _stacked(dark >> 4), "12 bits")
      self._check(deep_images.tiff(dark, tags=[(tag, 65535)]),
                  _stacked(dark >> 8), "")

  def test_12_bits_packed_as_such_are_12_bits(self):
    # Two samples in three bytes: all of 900, and so are read as 12 bits.
    dark = deep_images.ramp(900)
    first, second = dark[:, ::2], dark[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8,
                       second & 255], axis=-1).reshape(6, 12)
    content = deep_images.tiff(
        packed.astype(np.uint8), tags=[(256, 8), (258, 12)])
    self._check(content, _stacked(dark >> 4), "12 bits")

  def test_white_is_zero(self):
    for samples in (_GREY.astype(np.uint16), (_GREY >> 4).astype(np.uint8)):
      found = images.decode(deep_images.tiff(samples, photometric=0)).pixels
      np.testing.assert_array_equal(found, _stacked(255 - (_GREY >> 4)))

  def test_alpha_has_a_depth_of_its_own(self):
    for largest in (4095, 65535):
      alpha = np.full_like(_GREY, largest)
      alpha[0] = 0
      expected = _COLOURS >> 4
      expected[0] = 255
      self._check(deep_images.png(
          np.dstack([_COLOURS, alpha]), deep_images.RGBA), expected, "12 bits")
      self._check(deep_images.tiff(
          np.dstack([_COLOURS, alpha]).astype(np.uint16)), expected, "12 bits")
      expected = _stacked(_GREY >> 4)
      expected[0] = 255
      self._check(deep_images.png(
          np.dstack([_GREY, alpha]), deep_images.GREY_ALPHA), expected,
                  "12 bits")

  def test_a_transparent_level_of_16_bits_is_compared_with_all_of_them(self):
    grey, colours = _stacked(_GREY >> 4), _COLOURS >> 4
    self.assertEqual(_GREY[0, 2] >> 4, (_GREY[0, 2] + 1) >> 4)
    for shift in (0, 1):
      level = int(_GREY[0, 2]) + shift
      other = [level] + _COLOURS[0, 2, 1:].tolist()
      expected = grey.copy(), colours.copy()
      if not shift:
        expected[0][0, 2] = expected[1][0, 2] = 255
      self._check(deep_images.png(
          _GREY, deep_images.GREY,
          extra=[(b"tRNS", level.to_bytes(2, "big"))]), expected[0], "12 bits")
      self._check(deep_images.png(
          _COLOURS, deep_images.RGB, extra=[(b"tRNS", b"".join(
              value.to_bytes(2, "big") for value in other))]), expected[1],
                  "12 bits")

  @parameterized.parameters(range(1, 9))
  def test_a_deep_tiff_is_turned_once(self, orientation):
    for shift in (0, 4):
      found = images.decode(deep_images.tiff(
          (_COLOURS << shift).astype(np.uint16), tags=[(274, orientation)]))
      image = _COLOURS >> 4
      np.testing.assert_array_equal(found.pixels, {
          1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1],
          5: image.transpose(1, 0, 2), 6: image.transpose(1, 0, 2)[:, ::-1],
          7: image.transpose(1, 0, 2)[::-1, ::-1],
          8: image.transpose(1, 0, 2)[::-1]}[orientation])

  def test_premultiplied_colours_of_few_bits_are_refused(self):
    four = np.dstack([_COLOURS, np.full_like(_GREY, 4095)]).astype(np.uint16)
    with self.assertRaisesRegex(
        errors.InputError, "Received: mode RGBA, samples of 12 bits"):
      images.decode(deep_images.tiff(four, tags=[(338, 1)]))

  def test_a_maps_own_maximum_is_its_range(self):
    grey = deep_images.ramp(900)
    content = b"P5 8 6 4095\n" + grey.astype(">u2").tobytes()
    found = images.decode(content)
    np.testing.assert_allclose(
        found.pixels, _stacked(grey * 255 / 4095), atol=1)
    self.assertEqual(found.taken_for, "")

  def test_cmyk_tiff_is_not_inverted(self):
    inks = np.zeros([6, 8, 4], np.uint8)
    inks[:, :4, 0] = 255                                          # Cyan.
    expected = np.full([6, 8, 3], 255)
    expected[:, :4, 0] = 0
    self._check(deep_images.tiff(inks, photometric=5), expected, "")

  def test_one_bit_and_palette_with_transparency(self):
    bits = Image.fromarray((np.indices([6, 8]).sum(0) % 2 * 255).astype(
        np.uint8)).convert("1")
    for kind in ("PNG", "TIFF", "BMP", "GIF", "PPM"):
      self._check(fake_sets.encoded(bits, kind), np.array(
          bits.convert("RGB")), "")
    palette = Image.new("P", (8, 6))
    palette.putpalette([200, 10, 10, 10, 200, 10])
    palette.putpixel((3, 2), 1)
    expected = np.full([6, 8, 3], [200, 10, 10])
    expected[2, 3] = [10, 200, 10]
    self._check(fake_sets.encoded(palette, "PNG"), expected, "")
    expected[2, 3] = 255
    self._check(fake_sets.encoded(palette, "PNG", transparency=1), expected, "")
    self._check(fake_sets.encoded(palette, "GIF", transparency=1), expected, "")

  def test_dark_is_under_20(self):
    for level in (0, 19, 20, 255):
      found = images.decode(deep_images.png(
          np.full([6, 8], level), deep_images.GREY, bits=8))
      self.assertEqual(found.is_dark, level < 20)

  def test_damaged_deep_files_are_refused(self):
    for content in (deep_images.png(_COLOURS, deep_images.RGB),
                    deep_images.tiff(_COLOURS.astype(np.uint16)),
                    deep_images.tiff(_GREY.astype(np.float32), kind=3)):
      whole = images.decode(content).pixels
      for size in range(0, len(content), 3):
        try:
          np.testing.assert_array_equal(
              images.decode(content[:size]).pixels, whole)
        except errors.InputError as error:
          self.assertIn("Received:", str(error))


if __name__ == "__main__":
  absltest.main()
