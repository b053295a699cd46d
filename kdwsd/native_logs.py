"""Silences all of TensorFlow's C++ log, not only the older half of it.

That log has two writers. TensorFlow's own obeys TF_CPP_MIN_LOG_LEVEL. absl's
obeys no variable, and writes everything to standard error: "All log messages
before absl::InitializeLog() is called are written to STDERR", then notes of
level I, such as which GPU was found, and of level E, such as "Unable to
register cuDNN factory", which mean nothing to a user. TensorFlow 2.20 uses it
in most places, and `follow` gives it the same level. TensorFlow 2.15 uses it in
few, and does not let its level be set; `compile_quietly` is for the notes that
matter there.
"""

import ctypes
import importlib.util
import os
import sys

from kdwsd import legacy_keras
from kdwsd import quiet

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"

_LIBRARY = "libtensorflow_framework.so.2"
# XLA of TensorFlow 2.15 tries to launch kernels in groups, and warns of each
# group for which that is impossible.
_XLA_VARIABLE = "XLA_FLAGS"
_GROUPS = "--xla_gpu_graph_level"
# absl::SetMinLogLevel, which has absl's version in its name: that of TensorFlow
# 2.20. With another version of TensorFlow its notes are shown.
_FUNCTION = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"


def follow():
  """Gives absl's log the level of TF_CPP_MIN_LOG_LEVEL.

  As soon as TensorFlow is imported, before its libraries write anything.
  """
  if "tensorflow" in sys.modules:
    set_level()
  else:
    sys.meta_path.insert(0, _Import())


class _Import:
  """A finder that finds nothing, but notices the import of TensorFlow."""

  def find_spec(self, name, path=None, target=None):
    """Is asked for each module that is imported for the first time."""
    del path, target  # Unused.
    if name == "tensorflow":
      sys.meta_path.remove(self)
      set_level()


def set_level():
  """Sets the level of absl's log.

  Returns:
    Whether it could be set.
  """
  level = os.environ.get(VARIABLE, "0")
  found = importlib.util.find_spec("tensorflow")
  if found is None or not found.origin or level not in ("0", "1", "2", "3"):
    return False
  try:
    library = ctypes.CDLL(
        os.path.join(os.path.dirname(found.origin), _LIBRARY))
  except OSError:  # Of another system: it has another name there.
    return False
  if not hasattr(library, _FUNCTION):
    return False
  # The levels have the same numbers: 0 info, 1 warning, 2 error, 3 fatal.
  getattr(library, _FUNCTION)(ctypes.c_int(int(level)))
  return True


def compile_quietly():
  """Has XLA compile something, and hides what it notes once in a process.

  Call it before the first function with `jit_compile`: XLA reads its variable
  then.
  """
  if os.environ.get(VARIABLE, "0") == "0" or set_level():
    return
  given = os.environ.get(_XLA_VARIABLE, "")
  # Another TensorFlow may not know it, and would stop.
  if (legacy_keras.tensorflow_version().startswith("2.15.")
      and _GROUPS not in given):
    os.environ[_XLA_VARIABLE] = f"{given} {_GROUPS}=0".lstrip()
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  with quiet.everything(), tf.device("CPU:0"):
    compiled = tf.function(tf.negative, jit_compile=True, autograph=False)
    compiled(tf.constant(0.0))
