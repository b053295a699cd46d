"""RoI pooling on the GPU: its own operations equal those of the CPU."""

import contextlib

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import roi_pooling
from tests.gpu import case
from tests.modeling import numpy_pooling

# Of the largest value: rounding of two products of 16 bits.
_TOLERANCES = {tf.float32: 1e-4, tf.float16: 4e-3, tf.bfloat16: 3e-2}


def _inputs(dtype, batch=2, count=50, cells=42, channels=16):
  """(features, rois, factor, upstream gradient): arrays."""
  random = np.random.default_rng(0)
  features = random.normal(size=[batch, cells, cells, channels])
  corners = np.sort(random.uniform(size=[batch, count, 2, 2]), axis=2)
  return (features.astype(dtype.as_numpy_dtype),
          np.float32(corners.reshape(batch, count, 4)),
          np.float32(random.uniform(0.1, 1, [batch, count])),
          np.float32(random.normal(size=[batch, count, 7, 7, channels])))


def _run(kind, device, inputs, *, context, compiled=False):
  """Value and gradient of a pooling on a device, float32 arrays."""
  features, rois, factor, upstream = inputs

  @tf.function(jit_compile=compiled, autograph=False)
  def run(features):
    with context(), tf.GradientTape() as tape:
      tape.watch(features)
      pooled = roi_pooling.pool(
          kind, features, rois, factor, image_size=[672, 672], stride=16)
    return pooled, tape.gradient(
        pooled, features, tf.cast(upstream, pooled.dtype))

  with tf.device(device):
    features = tf.constant(features)
    return [tf.cast(one, tf.float32).numpy()
            for one in run.get_concrete_function(features)(features)]


class RoiPoolingTest(case.GpuTestCase):

  @parameterized.product(
      kind=roi_pooling.NAMES, dtype=list(_TOLERANCES),
      compiled=(False, True))
  def test_equals_the_cpu(self, kind, dtype, compiled):
    inputs = _inputs(dtype)
    context = roi_pooling.compilable if compiled else contextlib.nullcontext
    value, gradient = _run(kind, case.gpu(), inputs, compiled=compiled,
                           context=context)
    expected, expected_gradient = _run(
        kind, case.CPU, inputs, context=roi_pooling.portable)
    tolerance = _TOLERANCES[dtype]
    self.assertAllClose(
        expected, value, rtol=0, atol=tolerance * np.max(np.abs(expected)))
    # A near tie may be settled by another sample.
    wrong = np.abs(gradient - expected_gradient) > (
        tolerance * np.max(np.abs(expected_gradient)))
    self.assertLess(np.mean(wrong), 0.01)

  def test_the_compiled_gradient_repeats_bit_for_bit(self):
    inputs = _inputs(tf.float16)
    first, second = (
        _run("crop_and_resize", case.gpu(), inputs, compiled=True,
             context=roi_pooling.compilable) for _ in range(2))
    self.assertAllEqual(first[1], second[1])

  @parameterized.parameters(
      (case.CPU, False), ("", False), (case.CPU, True), ("", True))
  def test_the_first_of_equal_samples_gets_the_gradient(self, device, compiled):
    features, rois, factor, upstream = _inputs(
        tf.float32, batch=1, count=20, cells=14, channels=3)
    features, factor = 0 * features, np.ones_like(factor)
    context = roi_pooling.compilable if compiled else contextlib.nullcontext
    _, gradient = _run(
        "crop_and_resize", device or case.gpu(),
        (features, rois, factor, upstream), context=context, compiled=compiled)
    _, expected = numpy_pooling.crop_and_resize(features, rois)
    self.assertAllClose(
        expected(upstream.reshape(-1, 7, 7, 3)), gradient, atol=1e-4)
