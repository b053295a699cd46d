"""A student as a TensorFlow Lite file, for phones and small boards.

One image a call: input `images` [1, S, S, 3] float32 RGB 0..255, output
[1, C] float32 probabilities in the order of the class list. The caller resizes
the image, see the preprocessing in `export.json`.
"""

import numpy as np
import tensorflow as tf

from kdwsd import quiet

FLOAT16 = "tflite_float16"
INT8 = "tflite_int8"
INT16X8 = "tflite_int16x8"
FILES = {FLOAT16: "student_float16.tflite", INT8: "student_int8.tflite",
         INT16X8: "student_int16x8.tflite"}


def write(path, probabilities, *, image_size, kind, representative=None):
  """Converts a student.

  Args:
    path: output file.
    probabilities: function of [B, S, S, 3] to [B, C].
    image_size: S.
    kind: `FLOAT16`, 16-bit weights; `INT8`, 8-bit weights and activations;
      `INT16X8`, 8-bit weights and 16-bit activations, for networks without
      normalisation, where a few large activations would make 8 bits too coarse
      for the rest. Inputs and outputs are always floats.
    representative: [N, S, S, 3] float32, images to calibrate the ranges of
      activations on; unused by FLOAT16.
  """
  function = tf.function(probabilities, autograph=False, input_signature=[
      tf.TensorSpec([1, image_size, image_size, 3], tf.float32, "images")])
  concrete = function.get_concrete_function()
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [concrete], function)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if kind == FLOAT16:
    converter.target_spec.supported_types = [tf.float16]
  else:
    converter.representative_dataset = lambda: (
        [image[np.newaxis]] for image in representative)
    sets = tf.lite.OpsSet
    converter.target_spec.supported_ops = [
        sets.TFLITE_BUILTINS_INT8 if kind == INT8 else
        sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
  with quiet.everything():
    content = converter.convert()
  with open(path, "wb") as file:
    file.write(content)


def predict(path, images):
  """Runs a file on images.

  Args:
    path: TensorFlow Lite file.
    images: [N, S, S, 3] float32.

  Returns:
    [N, C] float32.
  """
  with quiet.everything():
    interpreter = tf.lite.Interpreter(path)
    interpreter.allocate_tensors()
  source = interpreter.get_input_details()[0]["index"]
  result = interpreter.get_output_details()[0]["index"]
  scores = []
  for image in images:
    interpreter.set_tensor(source, image[np.newaxis])
    interpreter.invoke()
    scores.append(interpreter.get_tensor(result)[0])
  return np.stack(scores)
