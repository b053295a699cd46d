"""A student as an ONNX file; needs tf2onnx, which is not a dependency.

Input `images` [B, S, S, 3] float32 RGB 0..255, output `probabilities` [B, C].
"""

import importlib.util
import logging
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors

ONNX = "onnx"
FILES = {ONNX: "student.onnx"}

_OPSET = 17
_NEEDED = ("tf2onnx", "onnx", "onnxruntime")

_INSTALL = "pip install tf2onnx onnxruntime"
if np.__version__.startswith("1."):
  # Without these bounds pip would install NumPy 2 and a protobuf that
  # TensorFlow 2.15 cannot load.
  _INSTALL += " 'onnx<1.17' 'numpy<2'"


def check():
  """Checks that the packages are installed.

  Raises:
    errors.InputError: one is not.
  """
  missing = [
      name for name in _NEEDED if importlib.util.find_spec(name) is None]
  if missing:
    raise errors.InputError(
        f"--formats={ONNX}: expected the packages {', '.join(_NEEDED)}; "
        f"install them with {_INSTALL}. Received: no {', '.join(missing)}.")


def write(path, probabilities, *, image_size):
  """Converts a student.

  Args:
    path: output file.
    probabilities: function of [B, S, S, 3] to [B, C].
    image_size: S.
  """
  import tf2onnx  # pylint: disable=import-outside-toplevel

  def named(images):
    return tf.identity(probabilities(images), "probabilities")

  signature = [tf.TensorSpec(
      [None, image_size, image_size, 3], tf.float32, "images")]
  logging.getLogger("tf2onnx").setLevel(logging.WARNING)
  model, _ = tf2onnx.convert.from_function(
      tf.function(named, input_signature=signature, autograph=False),
      input_signature=signature, opset=_OPSET)
  with open(path, "wb") as file:
    file.write(model.SerializeToString())


def predict(path, images):
  """Runs a file on images.

  Args:
    path: ONNX file.
    images: [N, S, S, 3] float32.

  Returns:
    [N, C] float32.
  """
  import onnxruntime  # pylint: disable=import-outside-toplevel

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = len(os.sched_getaffinity(0))
  session = onnxruntime.InferenceSession(
      path, options, providers=["CPUExecutionProvider"])
  name = session.get_inputs()[0].name
  return np.concatenate([
      session.run(None, {name: image[np.newaxis]})[0] for image in images])
