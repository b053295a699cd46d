"""Verification of an export before it is published.

In TensorFlow's C++ session (see `native_session`) every signature must give the
results of the Keras model that was evaluated, and every warm-up request must
succeed.
"""

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import system_errors
from kdwsd.serving import examples
from kdwsd.serving import native_session
from kdwsd.serving import signatures
from kdwsd.serving import warmup

# A different order of summation changes the sixth digit; a wrong weight or
# wrong preprocessing changes the second or third.
TOLERANCE = 1e-4


def verify(directory, servable, model, chosen, *, eval_size):
  """Compares an export with its model.

  Args:
    directory: directory of the export, not yet published.
    servable: the `signatures.Servable` it was written from.
    model: the Keras model.
    chosen: list of `examples.Example`s.
    eval_size: side of the square that images are warped to in evaluation.

  Returns:
    {signature name: largest difference of a probability}.

  Raises:
    errors.InputError: the export cannot be loaded or run by TensorFlow's C++
      session, or differs from the model.
  """
  requests = [
      (name, _with_bad_image(inputs)) if name == signatures.PER_IMAGE
      else (name, inputs)
      for name, inputs in examples.requests(servable, chosen)]
  replayed = warmup.read(directory)
  try:
    found, answers = native_session.run_apart(directory, requests + replayed)
  except native_session.NativeError as error:
    raise errors.InputError(
        f"{directory}: expected an export that TensorFlow's C++ session can "
        "run, as a server does. Received: "
        f"{system_errors.first_line(error)}.") from error
  if set(found) != set(servable.signatures):
    raise errors.InputError(
        f"{directory}: expected the signatures {sorted(servable.signatures)}. "
        f"Received: {sorted(found)}.")
  differences = {}
  for (name, inputs), answer in zip(requests, answers):
    if name == signatures.PER_IMAGE:
      answer = _without_bad_image(directory, answer)
    expected = _expected(servable, model, chosen, name, inputs, eval_size)
    differences[name] = _compare(directory, name, expected, answer,
                                 servable.classes)
  return differences


def _with_bad_image(inputs):
  """The inputs of `per_image`, followed by one undecodable image."""
  longer = {name: np.concatenate([values, values[-1:]])
            for name, values in inputs.items()}
  longer[signatures.IMAGE_BYTES][-1] = b"no image"
  return longer


def _without_bad_image(directory, answer):
  """Removes the undecodable image's row, after checking every status."""
  status = [text.decode() for text in answer[signatures.STATUS]]
  numbers = [values[-1] for values in answer.values()
             if values.dtype == np.float32]
  if any(status[:-1]) or not status[-1] or not all(
      np.all(values == signatures.NO_ANSWER) for values in numbers):
    raise errors.InputError(
        f"{directory}, signature {signatures.PER_IMAGE}: expected an answer to "
        f"{len(status) - 1} images and none to the last. Received: the "
        f"statuses {status}.")
  return {name: values[:-1] for name, values in answer.items()}


def _expected(servable, model, chosen, name, inputs, eval_size):
  """Keras's [B, C] probabilities and, for a detector, [B, R, C] scores."""
  if name == signatures.IMAGES and not servable.detector:
    return {signatures.PROBABILITIES: tf.sigmoid(
        model(inputs[signatures.IMAGES])).numpy()}
  content = examples.batch(chosen, eval_size)
  if not servable.detector:
    return {signatures.PROBABILITIES:
            model.score(content)["image_scores"].numpy()}
  outputs = model.portable(content)
  return {signatures.PROBABILITIES: outputs["image_scores"].numpy(),
          signatures.PROPOSAL_SCORES: outputs["proposal_scores"].numpy()}


def _compare(directory, name, expected, answer, classes):
  """Largest difference; raises above `TOLERANCE` or for other classes."""
  answer = dict(answer)
  if name == signatures.CLASSIFY:
    answer[signatures.PROBABILITIES] = answer.pop(signatures.SCORES)
  rows = len(expected[signatures.PROBABILITIES])
  names = np.array([[text.encode() for text in classes]] * rows, object)
  if not np.array_equal(answer[signatures.CLASSES], names):
    raise errors.InputError(
        f"{directory}, signature {name}: expected the classes {classes}. "
        f"Received: {answer[signatures.CLASSES].tolist()}.")
  largest = 0.0
  for key, values in expected.items():
    if answer[key].shape != values.shape:
      raise errors.InputError(
          f"{directory}, signature {name}: expected {key} of shape "
          f"{values.shape}. Received: {answer[key].shape}.")
    difference = np.max(np.abs(answer[key] - values), initial=0.0)
    # NaN differs from everything.
    if not difference <= TOLERANCE:
      raise errors.InputError(
          f"{directory}, signature {name}: expected {key} within {TOLERANCE} "
          f"of the model's. Received: a difference of {difference}.")
    largest = max(largest, float(difference))
  return largest
