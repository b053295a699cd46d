"""Has `tf.keras` be Keras 2, which kdwsd is written for.

Up to TensorFlow 2.15 it is. From 2.16 on it is Keras 3, unless the environment
variable TF_USE_LEGACY_KERAS is 1: then it is the package tf_keras, Keras 2
under another name. TensorFlow reads the variable once, as late as at the first
use of `tf.keras`.
"""

import importlib.util
import os
import re
import sys

_VARIABLE = "TF_USE_LEGACY_KERAS"
_MEANING_YES = ("1", "true", "True")  # To TensorFlow.


def use():
  """Sets TF_USE_LEGACY_KERAS where TensorFlow needs it; imports nothing big.

  Raises:
    ImportError: the variable says otherwise, tf_keras is not installed, or
      `tf.keras` has become Keras 3 already. In the command `kdwsd` a
      SystemExit instead, which prints one line.
  """
  version = tensorflow_version()
  if version is None or _numbers(version) < (2, 16):
    return
  value = os.environ.get(_VARIABLE) or "1"
  if value not in _MEANING_YES:
    raise _error(
        f"{_VARIABLE}: expected 1, or no such variable, as kdwsd needs Keras 2 "
        f"(the package tf_keras). Received: {value!r}.")
  keras = importlib.util.find_spec("tf_keras")
  if keras is None:
    major, minor = _numbers(version)
    raise _error(
        f"expected the package tf_keras, Keras 2 for TensorFlow {version}: pip "
        f"install 'tf_keras=={major}.{minor}.*'. Received: none.")
  os.environ[_VARIABLE] = value
  if "tensorflow" in sys.modules:
    _redirect(sys.modules["tensorflow"], os.path.dirname(keras.origin))


def _redirect(tensorflow, folder):
  """As `use`, for a TensorFlow that was imported without the variable."""
  if tensorflow.keras.Model.__module__.split(".")[0] != "tf_keras":
    raise _error(
        "expected that tf.keras is Keras 2. Received: Keras 3, as tf.keras was "
        "used before kdwsd was imported. Start Python again and import kdwsd "
        f"first, or set {_VARIABLE}=1 in the environment.")
  # Where `import tensorflow.keras` looks. As TensorFlow does it: without this,
  # that statement would still find Keras 3, and set tf.keras to it.
  tensorflow.__path__.insert(0, os.path.join(folder, "api", "_v2"))


def tensorflow_version():
  """Version of TensorFlow, which is not imported for it; None if not found."""
  if "tensorflow" in sys.modules:
    return getattr(sys.modules["tensorflow"], "__version__", None)
  found = importlib.util.find_spec("tensorflow")
  if found is None or found.origin is None:
    return None
  # importlib.metadata would do, but takes 0.1 s to import.
  for name in os.listdir(os.path.dirname(os.path.dirname(found.origin))):
    match = re.fullmatch(
        r"(?:tensorflow|tf_nightly)(?:_cpu|_gpu|_macos|_rocm)?-(\d+\.\d+.*)"
        r"\.dist-info", name)
    if match:
      return match[1]
  return None


def _numbers(version):
  return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _error(message):
  # The command's script imports the package first of all, so that no program
  # can print the error.
  if os.path.basename(sys.argv[0] if sys.argv else "") == "kdwsd":
    return SystemExit(f"error: {message}")
  # With this name, `python -m kdwsd.train` prints one line and no traceback.
  return ImportError(f"kdwsd: {message}", name="kdwsd")
