"""What every test runs under: a quiet TensorFlow, and two CPU devices."""

import contextlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_collection_finish(session):
  """Splits the CPU in two, for the tests with two replicas.

  TensorFlow takes this only before its first operation; test files that need
  it import TensorFlow at their top, so it is loaded by now or not needed.
  """
  del session  # Unused.
  tf = sys.modules.get("tensorflow")
  if tf is None:
    return
  cpu = tf.config.list_physical_devices("CPU")[0]
  # RuntimeError: a test file ran an operation when it was imported.
  with contextlib.suppress(RuntimeError):
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
