"""A model's predictions for each image of a split: `predictions.npz`.

Stored next to the metrics, so that models can be compared image by image
without another inference and without the records.

| key | type | what |
|---|---|---|
| image_ids | text [N] | in the order of the records |
| image_scores | float32 [N, C] | probabilities |
| labels | int8 [N, C] | 1 present, 0 absent, -1 neither |
| boxes | float32 [N, 10, 4] | the best proposals, best first |
| class_ids | int32 [N, 10] | best class of each proposal |
| scores | float32 [N, 10] | score for that class; 0: padding |

Only detectors have the last three. They hold its detections: the proposals left
by non-maximum suppression with scores above the threshold.
"""

import dataclasses
import os
from typing import Optional

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.data import plain_arrays
from kdwsd.data import texts
from kdwsd.evaluation import classification

FILE = "predictions.npz"
NUM_BOXES = 10

_WHAT = "predictions as `python -m kdwsd.evaluate` writes them"
_OF_ALL = {"image_ids", "image_scores", "labels"}
_OF_DETECTORS = {"boxes", "class_ids", "scores"}


@dataclasses.dataclass(frozen=True)
class Predictions:
  """The content of a file; see above."""
  image_ids: np.ndarray
  image_scores: np.ndarray
  labels: np.ndarray
  boxes: Optional[np.ndarray] = None
  class_ids: Optional[np.ndarray] = None
  scores: Optional[np.ndarray] = None


def from_results(results):
  """`Predictions` from a `metrics.Results`; detections may be None."""
  num_classes = results.image_scores.shape[1]
  present, known = classification.label_arrays(results.images, num_classes)
  kept = {
      "image_ids": np.array(
          [image.image_id for image in results.images], np.str_),
      "image_scores": np.asarray(results.image_scores, np.float32),
      "labels": np.where(known, present, -1).astype(np.int8),
  }
  if results.detections is not None:
    kept.update(_best_proposals(results.detections))
  return Predictions(**kept)


def write(path, predictions):
  """Writes `Predictions`, atomically.

  Raises:
    errors.InputError: the path is not writable.
  """
  arrays = {field.name: getattr(predictions, field.name)
            for field in dataclasses.fields(Predictions)}
  with files.atomic_path(path) as temporary:
    # An open file: NumPy would append an extension to a name.
    with open(temporary, "wb") as file:
      np.savez_compressed(file, **{
          name: array for name, array in arrays.items() if array is not None})


def read(path):
  """Reads `Predictions`.

  Returns:
    `Predictions`, or None if the file does not exist.

  Raises:
    errors.InputError: the file does not have the format that `write` writes.
  """
  if not os.path.exists(path):
    return None
  arrays = plain_arrays.read(path, _WHAT)
  fault = _fault(arrays)
  if fault:
    raise errors.InputError(f"{path}: expected {_WHAT}. Received: {fault}.")
  return Predictions(**arrays)


def _fault(arrays):
  """Describes what is invalid in the arrays of a file; None if nothing."""
  if set(arrays) not in (_OF_ALL, _OF_ALL | _OF_DETECTORS):
    return f"arrays {texts.shown(', '.join(sorted(arrays))) or 'none'}"
  count, classes = (arrays["image_scores"].shape + (0, 0))[:2]
  wanted = {
      "image_ids": ((count,), "U"), "image_scores": ((count, classes), "f"),
      "labels": ((count, classes), "i"),
      "boxes": ((count, NUM_BOXES, 4), "f"),
      "class_ids": ((count, NUM_BOXES), "i"),
      "scores": ((count, NUM_BOXES), "f")}
  for name, array in arrays.items():
    shape, kind = wanted[name]
    if array.shape != shape or array.dtype.kind != kind:
      return f"{name} {list(array.shape)} {array.dtype}"
    if kind == "f" and not np.isfinite(array).all():
      return f"{name} that are not finite"
  if np.any(np.abs(arrays["labels"]) > 1):
    return "labels other than 1, 0 and -1"
  ids = arrays.get("class_ids")
  if ids is not None and ids.size and not 0 <= ids.min() <= ids.max() < classes:
    return f"class_ids from {ids.min()} to {ids.max()} of {classes} classes"
  return None


def _best_proposals(detections):
  """The last three arrays of a file, from a list of `detection.Detections`."""
  count = len(detections)
  boxes = np.zeros([count, NUM_BOXES, 4], np.float32)
  class_ids = np.zeros([count, NUM_BOXES], np.int32)
  scores = np.zeros([count, NUM_BOXES], np.float32)
  for row, found in enumerate(detections):
    best = _first_of_each(found.boxes, NUM_BOXES)
    boxes[row, :len(best)] = found.boxes[best]
    class_ids[row, :len(best)] = found.class_ids[best]
    scores[row, :len(best)] = found.scores[best]
  return {"boxes": boxes, "class_ids": class_ids, "scores": scores}


def _first_of_each(boxes, most):
  """Indices of the first `most` boxes [K, 4] that differ from those before.

  A proposal may be detected as several classes; the best one comes first.
  """
  seen, places = set(), []
  for place, box in enumerate(boxes):
    box = tuple(box.tolist())
    if box not in seen:
      seen.add(box)
      places.append(place)
      if len(places) == most:
        break
  return places
