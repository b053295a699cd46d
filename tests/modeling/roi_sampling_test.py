"""Interpolating RoI pooling: every kernel against NumPy loops, facts by hand.

A kernel is the op, with its own gradient or that of products, the gathers, or
the latter compiled by XLA.
"""

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import boxes
from kdwsd.modeling import roi_sampling
from tests.modeling import numpy_pooling
from tests.modeling import pooling_inputs

_SIDE = 7
_KERNELS = {
    "op": roi_sampling.by_op,
    "op and products": roi_sampling.by_op_and_products,
    "gathers": roi_sampling.by_gathers,
    "compiled": roi_sampling.by_gathers,
}
_POOLS = (roi_sampling.by_op, roi_sampling.by_op_and_products,
          roi_sampling.by_gathers)
_FLOATS = (tf.float32, tf.float16, tf.bfloat16)


def _by_op_one_by_one(features, rois, side):
  """`by_op` of one RoI at a time: then no two threads share a cell.

  Without deterministic ops they would lose terms of the gradient.
  """
  features = tf.cast(features, tf.float32)  # Sums of gradients in float32.
  return tf.concat([
      roi_sampling.by_op(features[i:i + 1], rois[i:i + 1, j:j + 1], side)
      for i in range(rois.shape[0]) for j in range(rois.shape[1])], 0)


def _value_and_gradient(kernel, features, rois, upstream):
  pool = _by_op_one_by_one if kernel == "op" else _KERNELS[kernel]
  rois = tf.constant(rois, tf.float32)
  return pooling_inputs.value_and_gradient(
      lambda f: pool(f, rois, _SIDE), features, upstream,
      compiled=kernel == "compiled")


def _awkward_rois():
  """[1, 5, 4]: without area, on the border, and partly or wholly outside."""
  return np.float32([[
      [0.3, 0.4, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0],
      [-1.0, 0.5, 0.5, 2.0], [0.2, 0.7, 0.2, 0.9]]])


class KernelTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.product(
      kernel=list(_KERNELS), sides=((5, 7), (9, 4), (16, 16), (1, 1)))
  def test_matches_numpy_loops(self, kernel, sides):
    height, width = sides
    features = pooling_inputs.features(0, [2, height, width, 2])
    rois = pooling_inputs.fractions(
        pooling_inputs.corners(1, 2, 6, 100, 120), 100, 120)
    upstream = pooling_inputs.features(2, [12, 7, 7, 2])
    value, gradient = _value_and_gradient(kernel, features, rois, upstream)
    expected, expected_gradient = numpy_pooling.crop_and_resize(features, rois)
    self.assertAllClose(expected, value, atol=1e-5, rtol=1e-5)
    # Above the value's tolerance: a tie within rounding may be settled by the
    # other sample, which one gradient in a thousand shows.
    wrong = np.abs(expected_gradient(upstream) - gradient) > 1e-3
    self.assertLessEqual(np.mean(wrong), 0.0 if height > 1 else 1.0)
    self.assertAllClose(np.sum(expected_gradient(upstream)),
                        np.sum(gradient), atol=1e-3)

  @parameterized.product(
      kernel=list(_KERNELS), dtype=(tf.float16, tf.bfloat16))
  def test_16_bits_match_numpy_loops_but_for_their_rounding(
      self, kernel, dtype):
    features = tf.cast(pooling_inputs.features(0, [2, 9, 6, 3]), dtype)
    rois = pooling_inputs.fractions(
        pooling_inputs.corners(1, 2, 8, 100, 120), 100, 120)
    upstream = np.ones([16, 7, 7, 3])
    value, gradient = _value_and_gradient(kernel, features, rois, upstream)
    self.assertEqual(
        tf.float32 if kernel.startswith("op") else dtype, value.dtype)
    self.assertEqual(dtype, gradient.dtype)
    exact = tf.cast(features, tf.float64).numpy()
    expected, expected_gradient = numpy_pooling.crop_and_resize(exact, rois)
    # Half a unit in the last place for each of two products, and for the place
    # of a sample along both axes, where neighbours differ by up to 5.
    unit = {tf.float16: 2.0 ** -11, tf.bfloat16: 2.0 ** -8}[dtype]
    self.assertAllClose(expected, tf.cast(value, tf.float64),
                        atol=8 * unit, rtol=0)
    # Weights add up to 1: the gradient only moves between cells.
    self.assertAllClose(np.sum(expected_gradient(upstream)), np.sum(
        tf.cast(gradient, tf.float64)), rtol=2 * unit)

  @parameterized.product(kernel=list(_KERNELS), dtype=_FLOATS)
  def test_first_of_equals_gets_the_gradient(self, kernel, dtype):
    # RoIs of 7 or 14 cells that begin on a cell: samples lie at quarters of
    # cells, or in their centres, and all weights are exact in 8 bits. Sums of
    # values are not: all are equal.
    features = np.zeros([1, 14, 14, 4], np.float32)
    rois = np.float32([[[0, 0, 14, 14], [0, 7, 7, 14], [7, 0, 14, 14],
                        [7, 7, 14, 14]]]) / 14
    upstream = np.float32(np.random.RandomState(4).randint(
        -2, 3, [4, 7, 7, 4]))
    value, gradient = _value_and_gradient(
        kernel, tf.cast(features, dtype), rois, upstream)
    expected, expected_gradient = numpy_pooling.crop_and_resize(features, rois)
    self.assertAllClose(expected, tf.cast(value, tf.float64), atol=1e-5)
    self.assertAllClose(
        expected_gradient(upstream), tf.cast(gradient, tf.float64), atol=1e-5,
        rtol=2.0 ** -6 if dtype == tf.bfloat16 else 2.0 ** -9)

  @parameterized.parameters(*_KERNELS)
  def test_awkward_rois_match_numpy_loops(self, kernel):
    features = pooling_inputs.features(5, [1, 6, 10, 2])
    rois = _awkward_rois()
    upstream = pooling_inputs.features(6, [5, 7, 7, 2])
    value, gradient = _value_and_gradient(kernel, features, rois, upstream)
    expected, expected_gradient = numpy_pooling.crop_and_resize(
        features, np.clip(rois, 0, 1))
    self.assertAllClose(expected, value, atol=1e-5)
    self.assertAllClose(np.sum(expected_gradient(upstream)),
                        np.sum(gradient), atol=1e-3)

  @parameterized.parameters(14, 30, 42, 52)
  def test_gathers_equal_the_op_at_the_sides_of_training(self, cells):
    features = pooling_inputs.features(7, [2, cells, cells, 4])
    rois = pooling_inputs.fractions(
        pooling_inputs.corners(8, 2, 20, 16 * cells, 16 * cells),
        16 * cells, 16 * cells)
    upstream = pooling_inputs.features(9, [40, 7, 7, 4])
    (value, gradient), (expected, expected_gradient) = (
        _value_and_gradient(kernel, features, rois, upstream)
        for kernel in ("gathers", "op"))
    self.assertAllClose(expected, value, atol=3e-5)
    # A near tie may be settled by the other sample.
    self.assertLess(np.mean(np.abs(gradient - expected_gradient) > 1e-3), 0.01)

  @parameterized.parameters(*_KERNELS)
  def test_a_ramp_is_read_at_bin_centres(self, kernel):
    # A map of 14 cells whose value is the cell's centre: 0.5, 1.5, ... The
    # whole image has one cell a sample, so bin i holds the larger of samples
    # 2 i and 2 i + 1: the centre 2 i + 1.5.
    ramp = np.arange(14, dtype=np.float32) + 0.5
    features = np.tile(ramp[None, None, :, None], [1, 14, 1, 1])
    upstream = np.ones([1, 7, 7, 1])
    whole = [[[0.0, 0.0, 1.0, 1.0]]]
    pooled, _ = _value_and_gradient(kernel, features, whole, upstream)
    self.assertAllClose(2 * np.arange(7) + 1.5, pooled[0, 3, :, 0], atol=1e-5)
    # The right half, 7 to 14: samples every half cell, 7.25, 7.75, ..., 13.75;
    # beyond the last centre, 13.5, the map stays 13.5.
    half = [[[0.0, 0.5, 1.0, 1.0]]]
    pooled, _ = _value_and_gradient(kernel, features, half, upstream)
    self.assertAllClose([7.75, 8.75, 9.75, 10.75, 11.75, 12.75, 13.5],
                        pooled[0, 3, :, 0], atol=1e-5)

  @parameterized.parameters(*_POOLS)
  def test_mirrored_map_and_rois_give_mirrored_bins(self, pool):
    features = pooling_inputs.features(3, [1, 6, 8, 3])
    rois = pooling_inputs.fractions(
        pooling_inputs.corners(4, 1, 5, 96, 128), 96, 128)
    pooled = pool(tf.constant(features), tf.constant(rois), _SIDE)
    mirrored = pool(tf.constant(features[:, :, ::-1]),
                    tf.constant(boxes.flip_left_right(rois)), _SIDE)
    self.assertAllClose(pooled, mirrored[:, :, ::-1], atol=1e-5)

  @parameterized.product(pool=_POOLS, dtype=_FLOATS)
  def test_constant_map_gives_the_constant_to_the_border(self, pool, dtype):
    rois = tf.constant([[[0, 0, 1, 1], [0.9, 0.9, 1, 1], [-1, -1, 2, 2],
                         [0.123, 0.456, 0.789, 0.891]]], tf.float32)
    constant = tf.fill([1, 3, 5, 1], tf.constant(2.5625, dtype))
    pooled = tf.cast(pool(constant, rois, _SIDE), tf.float64)
    self.assertAllClose(
        np.full([4, 7, 7, 1], 2.5625), pooled, rtol=0, atol=1e-5)

  @parameterized.parameters(*_POOLS)
  def test_takes_no_rois(self, pool):
    pooled = pool(tf.constant(pooling_inputs.features(6, [2, 4, 4, 3])),
                  tf.zeros([2, 0, 4]), _SIDE)
    self.assertAllEqual([0, 7, 7, 3], pooled.shape)

  @parameterized.parameters(*_KERNELS)
  def test_runs_in_a_graph_with_unknown_sides(self, kernel):
    pool = tf.function(
        lambda features, rois: _KERNELS[kernel](features, rois, _SIDE),
        input_signature=[tf.TensorSpec([None, None, None, 3]),
                         tf.TensorSpec([None, None, 4])],
        autograph=False, jit_compile=kernel == "compiled")
    for side in (3, 17):
      features = pooling_inputs.features(side, [2, side, side, 3])
      rois = pooling_inputs.fractions(
          pooling_inputs.corners(side, 2, 4, 64, 64), 64, 64)
      expected, _ = numpy_pooling.crop_and_resize(features, rois)
      self.assertAllClose(expected, pool(features, rois), atol=1e-5)

  @parameterized.parameters(
      roi_sampling.by_op_and_products, roi_sampling.by_gathers)
  def test_rois_get_no_gradient(self, pool):
    rois = tf.constant([[[0.1, 0.2, 0.8, 0.9]]])
    with tf.GradientTape() as tape:
      tape.watch(rois)
      pooled = pool(
          tf.constant(pooling_inputs.features(6, [1, 4, 4, 3])), rois, _SIDE)
    self.assertIsNone(tape.gradient(pooled, rois))


if __name__ == "__main__":
  tf.test.main()
