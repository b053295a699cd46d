"""Formats other than SavedModel, each compared with it on real images."""

import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import quiet
from kdwsd.serving import lite
from kdwsd.serving import native_session
from kdwsd.serving import onnx
from kdwsd.serving import signatures

NAMES = (*lite.FILES, *onnx.FILES)
FILES = {**lite.FILES, **onnx.FILES}

_BATCH = 16


def check(names):
  """Checks the names of formats before any work is done.

  Raises:
    errors.InputError: one is unknown, or its package is not installed.
  """
  for name in names:
    if name not in NAMES:
      raise errors.InputError(
          f"--formats: expected some of {', '.join(NAMES)}. Received: "
          f"{name!r}.")
  if onnx.ONNX in names:
    onnx.check()


def write(directory, names, model, *, image_size, representative, images,
          measure):
  """Writes formats beside a SavedModel and compares them with it.

  Args:
    directory: directory of the version, with its SavedModel.
    names: some of `NAMES`.
    model: the student.
    image_size: S.
    representative: [N, S, S, 3] float32 for calibration, see `lite.write`.
    images: [M, S, S, 3] float32 to compare on.
    measure: function of [M, C] probabilities to mean average precision.

  Returns:
    {name: dict with `file`, `bytes`, `images`, `max_difference`,
    `mean_difference`, `map_saved_model`, `map`}.

  Raises:
    errors.InputError: a converted model returns NaN or infinity.
  """
  expected = _saved_model(directory, images)                      # [M, C]

  def probabilities(batch):
    return tf.sigmoid(model(batch))

  written = {}
  for name in names:
    path = os.path.join(directory, FILES[name])
    if name == onnx.ONNX:
      onnx.write(path, probabilities, image_size=image_size)
      scores = onnx.predict(path, images)
    else:
      lite.write(path, probabilities, image_size=image_size, kind=name,
                 representative=representative)
      scores = lite.predict(path, images)                         # [M, C]
    if not np.isfinite(scores).all():
      raise errors.InputError(
          f"--formats={name}: expected probabilities. Received: NaN or "
          "infinity; this model cannot be converted to it.")
    difference = np.abs(scores - expected)
    written[name] = {
        "file": FILES[name],
        "bytes": os.path.getsize(path),
        "images": len(images),
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "map_saved_model": measure(expected),
        "map": measure(scores),
    }
  return written


def _saved_model(directory, images):
  # TensorFlow 2.20 notes that a pass for graphs is off.
  with quiet.everything(), native_session.Session(directory) as session:
    return np.concatenate([
        session.run(signatures.IMAGES, {
            signatures.IMAGES: images[at:at + _BATCH]})[
                signatures.PROBABILITIES]
        for at in range(0, len(images), _BATCH)])
