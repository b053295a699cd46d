"""What every test runs under: a quiet TensorFlow, and two CPU devices."""

import os
import sys
import tempfile

import pytest

import kdwsd  # noqa: F401  Chooses Keras 2, so before TensorFlow.

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_configure(config):
  """Hides GPUs from all tests but those of tests/gpu.

  The others compare bits, which only a CPU repeats, and several processes run
  them, of which each would take all memory of a GPU. XLA compiles what these
  tests run once or twice, so its machine code need not be fast.
  """
  marks = config.getoption("markexpr")
  if "gpu" not in marks.replace("not gpu", ""):
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session", autouse=True)
def fixture_temporary_folder(tmp_path_factory):
  """What tests and their programs leave behind goes with pytest's folders."""
  with pytest.MonkeyPatch.context() as patch:
    place = str(tmp_path_factory.mktemp("tmp"))
    patch.setenv("TMPDIR", place)
    patch.setattr(tempfile, "tempdir", place)
    yield


def pytest_collection_modifyitems(items):
  """Long files first, so that none is left for one process alone.

  Whole runs are the files of this folder itself.
  """
  here = os.path.dirname(os.path.abspath(__file__))
  order = ("", "lanes", "training", "export_kit", "benchmarks", "data",
           "serving", "modeling")

  def place(item):
    folder = os.path.dirname(os.path.relpath(item.path, here))
    top = folder.split(os.sep)[0]
    return order.index(top) if top in order else len(order)

  items.sort(key=place)


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
  try:
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  except RuntimeError as error:  # Else tests of two replicas would be skipped.
    raise pytest.UsageError(
        "expected test files that run no TensorFlow operation when they are "
        "imported. Received: one that does, such as a tf.constant.") from error
