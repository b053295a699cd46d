"""RoI poolings against NumPy loops, and facts by hand."""

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import boxes
from kdwsd.modeling import roi_pooling
from tests.modeling import numpy_pooling


def _features(seed, shape, levels=None):
  """Random maps; with few `levels` most maxima are ties."""
  random = np.random.RandomState(seed)
  if levels:
    return random.randint(-levels, levels + 1, shape).astype(np.float32)
  return random.randn(*shape).astype(np.float32)


def _corners(seed, batch, count, height, width):
  """Random inclusive pixel corners, among them dots and the whole image."""
  random = np.random.RandomState(seed)
  ys = np.sort(random.randint(0, height, [batch, count, 2]), axis=-1)
  xs = np.sort(random.randint(0, width, [batch, count, 2]), axis=-1)
  corners = np.stack([ys[..., 0], xs[..., 0], ys[..., 1], xs[..., 1]], -1)
  corners[:, 0] = 0, 0, height - 1, width - 1
  corners[:, 1, 2:] = corners[:, 1, :2]
  corners[:, 2] = height - 1, width - 1, height - 1, width - 1
  return corners


def _fractions(corners, height, width):
  flat = corners.reshape(-1, 4)[:, [1, 0, 3, 2]]
  return boxes.from_inclusive_pixels(flat, height, width).reshape(
      corners.shape)


def _value_and_gradient(pool, features, upstream):
  features = tf.constant(features)
  with tf.GradientTape() as tape:
    tape.watch(features)
    pooled = pool(features)
  return pooled.numpy(), tape.gradient(
      pooled, features, tf.constant(upstream, tf.float32)).numpy()


class CropAndResizeTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters((5, 7), (9, 4), (1, 1))
  def test_matches_numpy_loops(self, height, width):
    features = _features(0, [2, height, width, 2])
    rois = _fractions(_corners(1, 2, 6, 100, 120), 100, 120)
    upstream = _features(2, [12, 7, 7, 2])
    value, gradient = _value_and_gradient(
        lambda f: roi_pooling.crop_and_resize(f, tf.constant(rois)),
        features, upstream)
    expected, expected_gradient = numpy_pooling.crop_and_resize(features, rois)
    self.assertAllClose(expected, value, atol=1e-5, rtol=1e-5)
    # Above the value's tolerance: a tie within rounding may be settled by the
    # other sample, which one gradient in a thousand shows.
    wrong = np.abs(expected_gradient(upstream) - gradient) > 1e-3
    self.assertLessEqual(np.mean(wrong), 0.0 if height > 1 else 1.0)
    self.assertAllClose(np.sum(expected_gradient(upstream)),
                        np.sum(gradient), atol=1e-3)

  def test_a_ramp_is_read_at_bin_centres(self):
    # A map of 14 cells whose value is the cell's centre: 0.5, 1.5, ... The
    # whole image has one cell a sample, so bin i holds the larger of samples
    # 2 i and 2 i + 1: the centre 2 i + 1.5.
    ramp = np.arange(14, dtype=np.float32) + 0.5
    features = np.tile(ramp[None, None, :, None], [1, 14, 1, 1])
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    pooled = roi_pooling.crop_and_resize(features, whole)
    self.assertAllClose(2 * np.arange(7) + 1.5, pooled[0, 3, :, 0], atol=1e-5)
    # The right half, 7 to 14: samples every half cell, 7.25, 7.75, ..., 13.75;
    # beyond the last centre, 13.5, the map stays 13.5.
    half = tf.constant([[[0.0, 0.5, 1.0, 1.0]]])
    pooled = roi_pooling.crop_and_resize(features, half)
    self.assertAllClose([7.75, 8.75, 9.75, 10.75, 11.75, 12.75, 13.5],
                        pooled[0, 3, :, 0], atol=1e-5)

  def test_mirrored_map_and_rois_give_mirrored_bins(self):
    features = _features(3, [1, 6, 8, 3])
    rois = _fractions(_corners(4, 1, 5, 96, 128), 96, 128)
    pooled = roi_pooling.crop_and_resize(features, tf.constant(rois))
    mirrored = roi_pooling.crop_and_resize(
        features[:, :, ::-1], tf.constant(boxes.flip_left_right(rois)))
    self.assertAllClose(pooled, mirrored[:, :, ::-1], atol=1e-5)

  def test_constant_map_gives_the_constant_to_the_border(self):
    rois = tf.constant([[[0, 0, 1, 1], [0.9, 0.9, 1, 1], [-1, -1, 2, 2]]],
                       tf.float32)
    pooled = roi_pooling.crop_and_resize(tf.fill([1, 3, 5, 1], 2.5), rois)
    self.assertAllClose(np.full([3, 7, 7, 1], 2.5), pooled)

  def test_takes_bfloat16_and_float16(self):
    rois = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    for dtype in (tf.bfloat16, tf.float16):
      features = tf.cast(_features(5, [1, 4, 4, 2]), dtype)
      pooled = roi_pooling.crop_and_resize(features, rois)
      self.assertEqual(tf.float32, pooled.dtype)

  def test_takes_no_rois(self):
    pooled = roi_pooling.crop_and_resize(
        _features(6, [2, 4, 4, 3]), tf.zeros([2, 0, 4]))
    self.assertAllEqual([0, 7, 7, 3], pooled.shape)


class PoolTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters("crop_and_resize", "max")
  def test_features_are_multiplied_by_the_factor_of_their_roi(self, kind):
    rois = np.float32([[[0, 0, 1, 1], [np.nan] * 4, [0, 0, 1, 1]]])
    factor = roi_pooling.score_factor(
        np.float32([[0.5, np.inf, 2.0]]), np.array([[True, False, True]]),
        scale=10.0, bias=1.0)
    # 10 * 0.5 + 1, padding, 10 * 2 + 1.
    self.assertAllEqual(factor, [[6.0, 0.0, 21.0]])
    pooled = roi_pooling.pool(
        kind, tf.ones([1, 8, 8, 2]), rois, factor, image_size=[64, 64],
        stride=8)
    self.assertAllClose(pooled, np.reshape(factor, [1, 3, 1, 1, 1])
                        * np.ones([1, 3, 7, 7, 2]))


class MaxPoolTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(
      (64, 112, 16, None), (144, 48, 16, 1), (16, 16, 16, None),
      (160, 168, 8, 1), (400, 33, 16, None))
  def test_matches_caffe_loops(self, height, width, stride, levels):
    map_shape = [2, height // stride, width // stride, 2]
    features = _features(7, map_shape, levels)
    corners = _corners(8, 2, 8, height, width)
    rois = _fractions(corners, height, width)
    upstream = _features(9, [16, 7, 7, 2])
    value, gradient = _value_and_gradient(
        lambda f: roi_pooling.max_pool(
            f, tf.constant(rois), image_size=tf.constant([height, width]),
            stride=stride), features, upstream)
    expected, expected_gradient = numpy_pooling.max_pool(
        features, corners, stride)
    self.assertAllEqual(expected, value)
    self.assertAllClose(expected_gradient(upstream), gradient, atol=1e-4)

  @parameterized.parameters(224, 480, 576, 672, 736, 832)
  def test_pixels_are_truncated_as_in_the_release(self, side):
    # The release multiplies inclusive pixels of a 672 x 672 image by
    # side / 672 and drops the fraction, exactly at both ends of the RoI.
    features = _features(13, [1, side // 16, side // 16, 1])
    corners = _corners(14, 1, 60, 672, 672)
    expected, _ = numpy_pooling.max_pool(features, corners * side // 672, 16)
    pooled = roi_pooling.max_pool(
        features, tf.constant(_fractions(corners, 672, 672)),
        image_size=tf.constant([side, side]), stride=16)
    self.assertAllEqual(expected, pooled)

  def test_first_of_equals_in_row_major_order_gets_the_gradient(self):
    # -0.0 equals 0.0: all cells tie, and the whole map is one bin's worth.
    features = tf.constant([[-0.0, 0.0], [0.0, 0.0]])[None, :, :, None]
    with tf.GradientTape() as tape:
      tape.watch(features)
      pooled = roi_pooling.max_pool(
          features, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
          image_size=tf.constant([32, 32]), stride=16)
    # The last pixel, 31, rounds to cell 2: the RoI has size 3 on a map of 2.
    # Bins span floor(3 i / 7) to ceil(3 (i + 1) / 7), clipped:
    # [0, 1) [0, 1) [0, 2) [1, 2) [1, 2) and twice nothing.
    # So the first cell wins 3 bins of a row, the second 2.
    gradient = tape.gradient(pooled, features)[0, :, :, 0]
    self.assertAllEqual([[9, 6], [6, 4]], gradient)
    self.assertAllEqual(np.zeros([7, 7, 7, 1])[:1], pooled)

  def test_gradient_agrees_with_finite_differences(self):
    features = np.random.RandomState(10).permutation(48).reshape(
        1, 6, 4, 2).astype(np.float32)         # no ties, gaps of 1
    rois = tf.constant(_fractions(_corners(11, 1, 4, 96, 64), 96, 64))
    upstream = tf.constant(_features(12, [4, 7, 7, 2]))

    @tf.function
    def weighted(features):
      return tf.reduce_sum(upstream * roi_pooling.max_pool(
          features, rois, image_size=tf.constant([96, 64]), stride=16))

    theoretical, numerical = tf.test.compute_gradient(
        weighted, [tf.constant(features)], delta=0.125)
    self.assertAllClose(theoretical, numerical, atol=1e-3)

  def test_runs_in_a_graph_with_unknown_sides(self):
    @tf.function(input_signature=[
        tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, 4])])
    def pool(features, rois):
      return roi_pooling.max_pool(
          features, rois, image_size=16 * tf.shape(features)[1:3], stride=16)

    for side in (3, 40):
      features = _features(side, [1, side, side, 3])
      corners = _corners(side, 1, 4, 16 * side, 16 * side)
      expected, _ = numpy_pooling.max_pool(features, corners, 16)
      self.assertAllEqual(expected, pool(
          features, _fractions(corners, 16 * side, 16 * side)))

  def test_takes_no_rois(self):
    pooled = roi_pooling.max_pool(
        _features(6, [2, 4, 4, 3]), tf.zeros([2, 0, 4]),
        image_size=tf.constant([64, 64]), stride=16)
    self.assertAllEqual([0, 7, 7, 3], pooled.shape)

  def test_integer_bins_equal_caffes_float32_ones_up_to_56_cells(self):
    for size in range(1, 57):
      for i in range(7):
        step = np.float32(size) / np.float32(7)
        self.assertEqual(i * size // 7, np.floor(np.float32(i) * step))
        self.assertEqual(-(-(i + 1) * size // 7),
                         np.ceil(np.float32(i + 1) * step), (size, i))


if __name__ == "__main__":
  tf.test.main()
