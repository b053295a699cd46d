"""RoI pooling with factors, and which operations compute it where."""

import contextlib
import threading
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import roi_pooling
from tests import programs
from tests.modeling import gradients_that_meet
from tests.modeling import pooling_inputs

_FLOATS = (tf.float32, tf.float16, tf.bfloat16)


def _inputs(dtype=tf.float32):
  """(features, rois, factor): of five RoIs an image, one is padding."""
  factor = np.random.RandomState(2).uniform(0.1, 5, [2, 5]).astype(np.float32)
  factor[:, 4] = 0
  return (tf.cast(pooling_inputs.features(0, [2, 8, 8, 3]), dtype),
          tf.constant(pooling_inputs.fractions(
              pooling_inputs.corners(1, 2, 5, 64, 64), 64, 64), tf.float32),
          tf.constant(factor))


def _pool(kind, features, rois, factor):
  return roi_pooling.pool(
      kind, features, rois, factor, image_size=[64, 64], stride=8)


def _types(device=None, gradient=False):
  """Types of the operations of a graph that interpolates."""
  return {one.type for one in _operations(
      "crop_and_resize", device, gradient)}


def _operations(kind, device=None, gradient=False):
  """Operations of a graph that pools, and of its gradient if asked for."""
  def pool(features):
    pooled = _pool(kind, features, *_inputs()[1:])
    return tf.gradients(pooled, features) if gradient else pooled

  def placed(features):
    with tf.device(device):
      return pool(tf.identity(features))

  graph = tf.function(
      placed if device else pool, autograph=False).get_concrete_function(
          tf.TensorSpec([2, 8, 8, 3])).graph
  return graph.get_operations()


class PoolTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.product(
      kind=roi_pooling.NAMES,
      context=(contextlib.nullcontext, roi_pooling.portable,
               roi_pooling.compilable))
  def test_features_are_multiplied_by_the_factor_of_their_roi(
      self, kind, context):
    rois = np.float32([[[0, 0, 1, 1], [np.nan] * 4, [0, 0, 1, 1]]])
    factor = roi_pooling.score_factor(
        np.float32([[0.5, np.inf, 2.0]]), np.array([[True, False, True]]),
        scale=10.0, bias=1.0)
    # 10 * 0.5 + 1, padding, 10 * 2 + 1.
    self.assertAllEqual(factor, [[6.0, 0.0, 21.0]])
    with context():
      pooled = _pool(kind, tf.ones([1, 8, 8, 2]), rois, factor)
    self.assertAllClose(pooled, np.reshape(factor, [1, 3, 1, 1, 1])
                        * np.ones([1, 3, 7, 7, 2]))

  @parameterized.product(kind=roi_pooling.NAMES, dtype=_FLOATS)
  def test_accelerators_get_the_type_of_the_features(self, kind, dtype):
    inputs = _inputs(dtype)
    with roi_pooling.portable():
      portable = _pool(kind, *inputs)
    with roi_pooling.compilable():
      compilable = _pool(kind, *inputs)
    self.assertEqual((tf.float32, dtype), (portable.dtype, compilable.dtype))
    self.assertAllClose(
        portable, tf.cast(compilable, tf.float32),
        **({"atol": 1e-5} if dtype == tf.float32 else
           {"rtol": 0.02, "atol": 0.02 if dtype == tf.float16 else 0.2}))

  @parameterized.parameters(*roi_pooling.NAMES)
  def test_threads_lose_nothing_of_the_gradient(self, kind):
    self.assertEqual({0: 147, 3000: 49}, gradients_that_meet.of_3000_rois(kind))

  def test_deterministic_ops_lose_nothing_of_the_ops_own_gradient(self):
    ran = programs.run("tests.modeling.gradients_that_meet")
    self.assertEqual("{0.0: 147, 3000.0: 49}\n", ran.stdout, ran.stderr)

  @parameterized.parameters(*roi_pooling.NAMES)
  def test_a_factor_beyond_float16_gives_what_float32_gives(self, kind):
    features, rois, _ = _inputs(tf.float16)
    factor = tf.fill([2, 5], 1e6)
    with roi_pooling.compilable():
      pooled = _pool(kind, features * 1e-4, rois, factor)
    with roi_pooling.portable():
      expected = _pool(kind, features * 1e-4, rois, factor)
    self.assertAllClose(expected, tf.cast(pooled, tf.float32), rtol=0.02,
                        atol=0.5)

  @parameterized.product(kind=roi_pooling.NAMES, dtype=_FLOATS)
  def test_xla_compiles_what_is_compilable(self, kind, dtype):
    features, rois, factor = _inputs(dtype)
    upstream = tf.random.stateless_normal([2, 5, 7, 7, 3], [1, 2])

    def run(compiled):
      def pool(features):
        with roi_pooling.compilable():
          return _pool(kind, features, rois, factor)
      return pooling_inputs.value_and_gradient(
          pool, features, upstream, compiled=compiled)

    tolerance = {tf.float32: 1e-5, tf.float16: 0.02, tf.bfloat16: 0.15}[dtype]
    for found, expected in zip(run(True), run(False)):
      self.assertEqual(dtype, found.dtype)
      self.assertAllClose(
          tf.cast(expected, tf.float32), tf.cast(found, tf.float32),
          atol=tolerance * np.max(np.abs(tf.cast(expected, tf.float32))))


class ChoiceTest(tf.test.TestCase, parameterized.TestCase):

  def _add_device(self, kind):
    """Makes a device seem to be there."""
    devices = [*tf.config.list_logical_devices(),
               tf.config.LogicalDevice(f"/device:{kind}:0", kind)]
    self.enter_context(mock.patch.object(
        tf.config, "list_logical_devices", return_value=devices))

  def test_a_cpu_takes_the_op(self):
    self.assertIn("CropAndResize", _types())
    self.assertNotIn("BatchMatMulV2", _types())

  def test_a_cpu_takes_the_gradient_of_the_op_if_it_is_portable(self):
    self.assertNotIn("CropAndResizeGradImage", _types(gradient=True))
    with roi_pooling.portable():
      self.assertIn("CropAndResizeGradImage", _types(gradient=True))

  @parameterized.parameters(("GPU", True), ("TPU", False))
  def test_only_what_xla_compiles_takes_gathers(self, kind, op):
    self._add_device(kind)
    self.assertEqual(op, "CropAndResize" in _types())
    with roi_pooling.compilable():
      self.assertNotIn("CropAndResize", _types())

  @parameterized.parameters(("GPU", False), ("TPU", True))
  def test_integers_stay_on_a_gpu(self, kind, short):
    # TensorFlow computes int32 on the host, apart from these two operations.
    self._add_device(kind)
    found = [one for one in _operations("max")
             if one.type not in ("Bitcast", "Cast")
             for output in one.outputs
             if output.dtype == tf.int32 and output.shape.rank == 4
             and output.shape.num_elements() > 8 * 8]
    self.assertEqual(short, bool(found), found)

  def test_the_place_of_the_features_decides_where_it_is_known(self):
    self._add_device("TPU")
    self.assertIn("CropAndResize", _types("CPU:0"))
    self.assertNotIn("CropAndResize", _types("TPU:0"))

  def test_contexts_decide_before_devices(self):
    with roi_pooling.compilable():
      self.assertNotIn("CropAndResize", _types())
      with roi_pooling.portable():
        self.assertIn("CropAndResize", _types())
      self.assertNotIn("CropAndResize", _types())
    self.assertIn("CropAndResize", _types())
    self._add_device("TPU")
    with roi_pooling.portable():
      self.assertIn("CropAndResize", _types())

  def test_a_context_ends_with_an_error(self):
    with self.assertRaises(KeyError), roi_pooling.compilable():
      raise KeyError
    self.assertIn("CropAndResize", _types())

  def test_a_context_is_that_of_its_thread(self):
    found = []
    with roi_pooling.compilable():
      thread = threading.Thread(target=lambda: found.append(
          "CropAndResize" in _types()))
      thread.start()
      thread.join()
    self.assertEqual([True], found)


if __name__ == "__main__":
  tf.test.main()
