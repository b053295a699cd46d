"""What a model said of each image of a split: `predictions.npz`.

Kept beside the metrics, so that models can be compared image by image without
running them again, and without the records.

| key | type | what |
|---|---|---|
| image_ids | text [N] | in the order of the records |
| image_scores | float32 [N, C] | probabilities |
| labels | int8 [N, C] | 1 present, 0 absent, -1 neither |
| boxes | float32 [N, 10, 4] | the best proposals, best first |
| class_ids | int32 [N, 10] | the best class of each |
| scores | float32 [N, 10] | their score for it; 0: padding |

The last three are a detector's alone. They come from its detections: proposals
that non-maximum suppression left, above the score threshold.
"""

import dataclasses
import os
from typing import Optional
import zipfile

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.evaluation import classification

FILE = "predictions.npz"
NUM_BOXES = 10


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
  """What to keep of a `metrics.Results`; detections may be None."""
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
    errors.InputError: the place cannot be written.
  """
  arrays = {field.name: getattr(predictions, field.name)
            for field in dataclasses.fields(Predictions)}
  with files.atomic_path(path) as temporary:
    # An open file: to a name, NumPy would add an ending of its own.
    with open(temporary, "wb") as file:
      np.savez_compressed(file, **{
          name: array for name, array in arrays.items() if array is not None})


def read(path):
  """Reads `Predictions`.

  Returns:
    `Predictions`, or None where there is no such file.

  Raises:
    errors.InputError: the file is not what `write` writes.
  """
  if not os.path.exists(path):
    return None
  try:
    with np.load(path, allow_pickle=False) as content:
      return Predictions(**{name: content[name] for name in content.files})
  except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile
          ) as error:
    raise errors.InputError(
        f"{path}: expected predictions as `python -m kdwsd.evaluate` writes "
        f"them. Received: {error}.") from error


def _best_proposals(detections):
  """The last three arrays of a file, from a list of `detection.Detections`."""
  count = len(detections)
  boxes = np.zeros([count, NUM_BOXES, 4], np.float32)
  class_ids = np.zeros([count, NUM_BOXES], np.int32)
  scores = np.zeros([count, NUM_BOXES], np.float32)
  for row, found in enumerate(detections):
    # A proposal may be a detection of several classes: its best comes first.
    first = np.unique(found.boxes, axis=0, return_index=True)[1]
    best = np.sort(first)[:NUM_BOXES]
    boxes[row, :len(best)] = found.boxes[best]
    class_ids[row, :len(best)] = found.class_ids[best]
    scores[row, :len(best)] = found.scores[best]
  return {"boxes": boxes, "class_ids": class_ids, "scores": scores}
