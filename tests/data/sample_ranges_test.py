"""Tests of scaling to 0..255, with values by hand."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import sample_ranges


class SampleRangesTest(parameterized.TestCase):

  @parameterized.parameters(
      # Upper 8 bits: 12 bits lose 4, and 4095 / 16 is 255.9.
      ([0, 1, 255], [0, 1, 255], "8 bits"),
      ([0, 4, 1023], [0, 1, 255], "10 bits"),
      ([0, 256, 2048, 4095], [0, 16, 128, 255], "12 bits"),
      ([0, 64, 16383], [0, 1, 255], "14 bits"),
      ([255, 256, 65535], [0, 1, 255], "16 bits"),
      ([0, 0], [0, 0], "8 bits"))
  def test_integers_keep_their_upper_bits(self, samples, levels, taken_for):
    for kind in (np.uint16, np.int32, np.uint32, np.int64):
      found, told = sample_ranges.to_bytes(np.array(samples, kind))
      self.assertEqual(found.tolist(), levels)
      self.assertEqual(found.dtype, np.uint8)
      self.assertEqual(told, taken_for)

  def test_a_depth_ends_below_its_power_of_two(self):
    for bits, deeper in zip(sample_ranges.DEPTHS, sample_ranges.DEPTHS[1:]):
      self.assertEqual(sample_ranges.depth((1 << bits) - 1), bits)
      self.assertEqual(sample_ranges.depth(1 << bits), deeper)

  @parameterized.parameters(
      # 0.5 * 255 is 127.5, and rounds to the even 128.
      ([0, 0.5, 1], [0, 128, 255], "0..1"),
      ([0, 0.05], [0, 13], "0..1"),
      ([-0.001, 1.001], [0, 255], "0..1"),  # Half a level is 0.00196.
      ([0, 20, 254.6], [0, 20, 255], "0..255"),
      ([-0.4, 200.4], [0, 200], "0..255"),
      ([0, 256, 4095], [0, 16, 255], "12 bits"),
      ([0, 65535], [0, 255], "16 bits"),
      ([0, 0], [0, 0], "0..1"))
  def test_floats(self, samples, levels, taken_for):
    for kind in (np.float32, np.float64):
      found, told = sample_ranges.to_bytes(np.array(samples, kind))
      self.assertEqual(found.tolist(), levels)
      self.assertEqual(told, taken_for)

  @parameterized.parameters(
      ([-1, 3071], "-1 to 3071"), ([0, 65536], "0 to 65536"),
      ([0.0, 7.5], "0 to 7.5"), ([0.0, 300.0], "0 to 300"),
      ([-0.5, 0.5], "-0.5 to 0.5"), ([-1.0, 255.0], "-1 to 255"),
      ([0.0, 1e9], "0 to 1e"), ([float("nan"), 1.0], "1 of 2 samples"),
      ([float("inf"), -float("inf"), 1.0], "2 of 3 samples"))
  def test_what_no_rule_fits_is_refused_with_a_way_out(self, samples, received):
    with self.assertRaisesRegex(
        errors.InputError, rf"^a\.tif: expected .*Received: .*{received}.*"
        r"save them as an 8-bit image"):
      sample_ranges.to_bytes(np.array(samples), name="a.tif")

  def test_a_stated_maximum_counts_where_it_is_larger(self):
    dark = np.array([0, 900], np.uint16)
    for stated, level, taken_for in (
        (0, 225, "10 bits"), (4095, 56, "12 bits"), (65535, 3, "16 bits"),
        (500, 225, "10 bits"), (2 ** 32 - 1, 225, "10 bits")):
      found, told = sample_ranges.to_bytes(dark, stated=stated)
      self.assertEqual((found.tolist(), told), ([0, level], taken_for))

  def test_a_level_of_8_bits_survives_every_depth(self):
    levels = np.arange(256, dtype=np.uint16)
    for bits in sample_ranges.DEPTHS:
      found, told = sample_ranges.to_bytes(levels << (bits - 8))
      self.assertEqual(found.tolist(), levels.tolist())
      self.assertEqual(told, f"{bits} bits")


if __name__ == "__main__":
  absltest.main()
