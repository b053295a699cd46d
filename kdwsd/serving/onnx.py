"""A student as an ONNX file, where tf2onnx is installed; it is no dependency.

Input `images` [B, S, S, 3] float32 RGB 0..255, output `probabilities` [B, C].
"""

import importlib.util
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors

ONNX = "onnx"
FILES = {ONNX: "student.onnx"}

# The highest that tf2onnx 1.16 writes without remarks.
_OPSET = 17
_NEEDED = ("tf2onnx", "onnxruntime")


def check():
  """Checks that the packages are there.

  Raises:
    errors.InputError: they are not.
  """
  missing = [
      name for name in _NEEDED if importlib.util.find_spec(name) is None]
  if missing:
    raise errors.InputError(
        f"--formats={ONNX}: expected {' and '.join(_NEEDED)}, which convert "
        f"and check; `pip install {' '.join(_NEEDED)}`. Received: no "
        f"{' and no '.join(missing)}.")


def write(path, probabilities, *, image_size):
  """Converts a student.

  Args:
    path: of the file.
    probabilities: function of [B, S, S, 3] to [B, C].
    image_size: S.
  """
  import tf2onnx  # pylint: disable=import-outside-toplevel

  def named(images):
    return tf.identity(probabilities(images), "probabilities")

  signature = [tf.TensorSpec(
      [None, image_size, image_size, 3], tf.float32, "images")]
  model, _ = tf2onnx.convert.from_function(
      tf.function(named, input_signature=signature),
      input_signature=signature, opset=_OPSET)
  with open(path, "wb") as file:
    file.write(model.SerializeToString())


def predict(path, images):
  """Runs a file on images.

  Args:
    path: of the file.
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
