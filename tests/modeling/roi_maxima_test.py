"""Exact RoI max pooling against Caffe's loops in NumPy, and facts by hand."""

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import roi_maxima
from tests.modeling import numpy_pooling
from tests.modeling import pooling_inputs

_SIDE = 7
_KERNELS = {
    "cpu": {},
    "gpu": {"bounded": True, "integers": tf.int64},
    "xla": {"bounded": True},
}
_FLOATS = (tf.float32, tf.float16, tf.bfloat16)


def _pool(kernel, features, rois, size, stride, dtype=tf.float32):
  return roi_maxima.max_pool(
      features, tf.constant(rois, tf.float32), _SIDE,
      image_size=tf.constant(size), stride=stride, dtype=dtype,
      **_KERNELS[kernel])


def _value_and_gradient(
    kernel, features, rois, upstream, size, stride, dtype=tf.float32):
  return pooling_inputs.value_and_gradient(
      lambda f: _pool(kernel, f, rois, size, stride, dtype), features,
      upstream, compiled=kernel == "xla")


class MaxPoolTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.product(kernel=list(_KERNELS), case=(
      (64, 112, 16, None), (144, 48, 16, 1), (16, 16, 16, None),
      (160, 168, 8, 1), (400, 33, 16, None)))
  def test_matches_caffe_loops(self, kernel, case):
    height, width, stride, levels = case
    features = pooling_inputs.features(
        7, [2, height // stride, width // stride, 2], levels)
    corners = pooling_inputs.corners(8, 2, 8, height, width)
    upstream = pooling_inputs.features(9, [16, 7, 7, 2])
    value, gradient = _value_and_gradient(
        kernel, features, pooling_inputs.fractions(corners, height, width),
        upstream, [height, width], stride)
    expected, expected_gradient = numpy_pooling.max_pool(
        features, corners, stride)
    self.assertAllEqual(expected, value)
    self.assertAllClose(expected_gradient(upstream), gradient, atol=1e-4)

  @parameterized.product(
      kernel=list(_KERNELS), dtype=(tf.float16, tf.bfloat16), levels=(None, 1),
      result=(tf.float32, None))
  def test_16_bits_match_caffe_loops(self, kernel, dtype, levels, result):
    result = result or dtype
    features = tf.cast(
        pooling_inputs.features(7, [2, 9, 5, 3], levels), dtype)
    corners = pooling_inputs.corners(8, 2, 8, 144, 80)
    # Integers, whose sums are exact in float32, and most not in 16 bits.
    upstream = np.random.RandomState(9).randint(
        -128, 128, [16, 7, 7, 3]).astype(np.float32)
    value, gradient = _value_and_gradient(
        kernel, features, pooling_inputs.fractions(corners, 144, 80),
        upstream, [144, 80], 16, result)
    self.assertEqual(result, value.dtype)
    self.assertEqual(dtype, gradient.dtype)
    expected, expected_gradient = numpy_pooling.max_pool(
        tf.cast(features, tf.float64).numpy(), corners, 16)
    self.assertAllEqual(expected, tf.cast(value, tf.float64))
    self.assertAllEqual(
        tf.cast(tf.cast(expected_gradient(upstream), tf.float32), dtype),
        gradient)

  @parameterized.product(
      dtype=_FLOATS, sides=((256, 256), (257, 256)), known=(True, False))
  def test_places_of_large_maps_are_exact(self, dtype, sides, known):
    # 65,536 cells are all that 16 bits can number; 257 x 256 are more.
    height, width = sides
    features = np.zeros([1, height, width, 1], np.float32)
    features[0, -1, -1] = 2.0
    features[0, 0, 0] = features[0, -1, 0] = 1.0
    corners = np.array([[[0, 0, height - 1, width - 1],
                         [height - 1, 0, height - 1, width - 1]]])
    rois = pooling_inputs.fractions(corners, height, width)
    upstream = tf.constant(
        np.random.RandomState(0).randint(1, 9, [2, 7, 7, 1]), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec(
        features.shape if known else [None] * 4, dtype)], autograph=False)
    def run(features):
      with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = _pool("cpu", features, rois, sides, 1)
      return pooled, tape.gradient(pooled, features, upstream)

    value, gradient = run(tf.cast(features, dtype))
    expected, expected_gradient = numpy_pooling.max_pool(features, corners, 1)
    self.assertAllEqual(expected, value)
    self.assertAllEqual(expected_gradient(upstream.numpy()),
                        tf.cast(gradient, tf.float32))

  @parameterized.parameters((tf.float32, True), (tf.float16, False),
                            (tf.bfloat16, False))
  def test_only_values_of_32_bits_take_long_keys(self, dtype, long):
    pool = tf.function(
        lambda f: _pool("cpu", f, [[[0.0, 0.0, 1.0, 1.0]]], [64, 64], 16),
        autograph=False)
    graph = pool.get_concrete_function(
        tf.TensorSpec([1, 4, 4, 2], dtype)).graph
    kinds = {tensor.dtype for operation in graph.get_operations()
             for tensor in operation.outputs if tensor.shape.rank == 4}
    self.assertEqual(long, tf.int64 in kinds)

  @parameterized.product(kernel=("cpu", "gpu"), side=(
      224, 480, 576, 672, 736, 832))
  def test_pixels_are_truncated_as_in_the_release(self, kernel, side):
    # The release multiplies inclusive pixels of a 672 x 672 image by
    # side / 672 and drops the fraction, exactly at both ends of the RoI.
    features = pooling_inputs.features(13, [1, side // 16, side // 16, 1])
    corners = pooling_inputs.corners(14, 1, 60, 672, 672)
    expected, _ = numpy_pooling.max_pool(features, corners * side // 672, 16)
    pooled = _pool(kernel, features, pooling_inputs.fractions(
        corners, 672, 672), [side, side], 16)
    self.assertAllEqual(expected, pooled)

  @parameterized.product(kernel=list(_KERNELS), dtype=_FLOATS)
  def test_first_of_equals_in_row_major_order_gets_the_gradient(
      self, kernel, dtype):
    # -0.0 equals 0.0: all cells tie, and the whole map is one bin's worth.
    features = tf.constant([[-0.0, 0.0], [0.0, 0.0]], dtype)[None, :, :, None]
    value, gradient = _value_and_gradient(
        kernel, features, [[[0.0, 0.0, 1.0, 1.0]]], np.ones([1, 7, 7, 1]),
        [32, 32], 16)
    # The last pixel, 31, rounds to cell 2: the RoI has size 3 on a map of 2.
    # Bins span floor(3 i / 7) to ceil(3 (i + 1) / 7), clipped:
    # [0, 1) [0, 1) [0, 2) [1, 2) [1, 2) and twice nothing.
    # So the first cell wins 3 bins of a row, the second 2.
    self.assertAllEqual([[9, 6], [6, 4]],
                        tf.cast(gradient, tf.float32)[0, :, :, 0])
    self.assertAllEqual(np.zeros([1, 7, 7, 1]), value)

  @parameterized.product(kernel=list(_KERNELS), dtype=_FLOATS)
  def test_values_of_any_size_and_sign_are_ordered(self, kernel, dtype):
    largest, smallest = dtype.max, np.finfo(np.float16).tiny
    values = np.array([-largest, -1.0, -smallest, 0.0, smallest, 1.0, largest])
    # Maps of two cells: a value and the next one, which is larger.
    pairs = np.stack([values[:-1], values[1:]], 1)                # [6, 2]
    for inputs, larger in ((pairs, 1), (pairs[:, ::-1], 0)):
      _, gradient = _value_and_gradient(
          kernel, tf.cast(inputs[:, np.newaxis, :, np.newaxis], dtype),
          np.tile(np.float32([0, 0, 1, 1]), [6, 1, 1]), np.ones([6, 7, 7, 1]),
          [16, 32], 16)
      # Both have bins of their own; the larger one also wins the shared ones.
      gradient = tf.cast(gradient, tf.float32)[:, 0, :, 0].numpy()
      self.assertAllGreater(gradient[:, larger] - gradient[:, 1 - larger], 0)

  def test_gradient_agrees_with_finite_differences(self):
    features = np.random.RandomState(10).permutation(48).reshape(
        1, 6, 4, 2).astype(np.float32)         # no ties, gaps of 1
    rois = pooling_inputs.fractions(
        pooling_inputs.corners(11, 1, 4, 96, 64), 96, 64)
    upstream = tf.constant(pooling_inputs.features(12, [4, 7, 7, 2]))

    @tf.function
    def weighted(features):
      return tf.reduce_sum(
          upstream * _pool("cpu", features, rois, [96, 64], 16))

    theoretical, numerical = tf.test.compute_gradient(
        weighted, [tf.constant(features)], delta=0.125)
    self.assertAllClose(theoretical, numerical, atol=1e-3)

  @parameterized.product(kernel=list(_KERNELS), dtype=(tf.float32, tf.float16))
  def test_runs_in_a_graph_with_unknown_sides(self, kernel, dtype):
    @tf.function(input_signature=[
        tf.TensorSpec([None, None, None, 3], dtype),
        tf.TensorSpec([None, None, 4])], autograph=False,
                 jit_compile=kernel == "xla")
    def pool(features, rois):
      with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_maxima.max_pool(
            features, rois, _SIDE, image_size=16 * tf.shape(features)[1:3],
            stride=16, **_KERNELS[kernel])
      return pooled, tape.gradient(pooled, features)

    for side in (3, 40):
      features = tf.cast(
          pooling_inputs.features(side, [1, side, side, 3]), dtype)
      corners = pooling_inputs.corners(side, 1, 4, 16 * side, 16 * side)
      expected, expected_gradient = numpy_pooling.max_pool(
          tf.cast(features, tf.float64).numpy(), corners, 16)
      value, gradient = pool(features, pooling_inputs.fractions(
          corners, 16 * side, 16 * side))
      self.assertAllEqual(expected, value)
      self.assertAllEqual(expected_gradient(np.ones([4, 7, 7, 3])), gradient)

  @parameterized.parameters("cpu", "gpu")
  def test_takes_no_rois(self, kernel):
    pooled = _pool(kernel, pooling_inputs.features(6, [2, 4, 4, 3]),
                   np.zeros([2, 0, 4]), [64, 64], 16)
    self.assertAllEqual([0, 7, 7, 3], pooled.shape)

  @parameterized.parameters(1, 2, 5, 6, 7, 8, 13, 26, 27, 42, 52)
  def test_tables_that_follow_the_map_cover_every_bin(self, cells):
    # Images of up to one stride more than the map has cells for, and RoIs that
    # begin at the first pixel or end at the last one.
    stride = 4
    features = pooling_inputs.features(15, [1, cells, cells, 1])
    for size in (stride * cells, stride * (cells + 1) - 1):
      edges = np.arange(0, size + 1, 2, dtype=np.float32) / size
      ends = np.concatenate([np.stack([0 * edges, edges], 1),
                             np.stack([edges, 0 * edges + 1], 1)])
      rois = ends[np.newaxis][..., [0, 0, 1, 1]]
      pooled, expected = (
          _pool(kernel, features, rois, [size, size], stride)
          for kernel in ("gpu", "cpu"))
      self.assertAllEqual(expected, pooled)

  def test_integer_bins_equal_caffes_float32_ones_up_to_56_cells(self):
    for size in range(1, 57):
      for i in range(7):
        step = np.float32(size) / np.float32(7)
        self.assertEqual(i * size // 7, np.floor(np.float32(i) * step))
        self.assertEqual(-(-(i + 1) * size // 7),
                         np.ceil(np.float32(i + 1) * step), (size, i))


if __name__ == "__main__":
  tf.test.main()
