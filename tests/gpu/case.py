"""The class of the tests in this folder, and the devices that they compare.

They need no pytest: `python -m tests.gpu` runs them where there is none.
"""

import os
import time

from absl.testing import parameterized
import tensorflow as tf

# Set to 1, the tests run without a GPU, on a second device made of the CPU.
REHEARSE = "KDWSD_REHEARSE_GPU_TESTS"

CPU = "CPU:0"

LATE = "left out: no time"

_end = float("inf")  # Of the time for tests, as time.monotonic() says it.

MISSING = (
    "needs a GPU that TensorFlow sees; KDWSD_REHEARSE_GPU_TESTS=1 runs it on "
    "the CPU")


def rehearses():
  """Whether the CPU stands in for the GPU."""
  return os.environ.get(REHEARSE) == "1"


def split_cpu():
  """Makes two devices of the CPU; call it before any operation."""
  tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices("CPU")[0],
      [tf.config.LogicalDeviceConfiguration()] * 2)


def has_gpu():
  """Whether there is a GPU, or what stands in for it."""
  return rehearses() or bool(tf.config.get_visible_devices("GPU"))


def end_after(seconds):
  """Has tests that would start later skipped, as `LATE`."""
  global _end
  _end = time.monotonic() + seconds


def gpu():
  """Name of the GPU, or of what stands in for it."""
  return "CPU:1" if rehearses() else "GPU:0"


class GpuTestCase(tf.test.TestCase, parameterized.TestCase):
  """Skips its tests where there is no GPU.

  Each test starts in float32, without the 10-bit mantissas (TF32) that GPUs
  multiply float32 with by default: they would hide differences.
  """

  def setUp(self):
    super().setUp()
    if not has_gpu():
      self.skipTest(MISSING)
    if time.monotonic() > _end:
      self.skipTest(LATE)
    self.addCleanup(tf.keras.backend.clear_session)
    self.addCleanup(
        tf.keras.mixed_precision.set_global_policy,
        tf.keras.mixed_precision.global_policy())
    self.addCleanup(
        tf.config.experimental.enable_tensor_float_32_execution,
        tf.config.experimental.tensor_float_32_execution_enabled())
    tf.config.experimental.enable_tensor_float_32_execution(False)
