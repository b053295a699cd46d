"""Sample images of a report, with predictions and proposals."""

import dataclasses
import io
from typing import Optional

import numpy as np
from PIL import Image

from kdwsd.evaluation import classification
from kdwsd.evaluation import pictures
from kdwsd.reporting import comparison

NUM_IMAGES = 12
TOP = 3
_SIDE = 320
_QUALITY = 82

DISAGREE = "disagree"
SPACED = "spaced"


@dataclasses.dataclass(frozen=True)
class Guess:
  """One of a model's top labels; `right` is None where unknown."""
  name: str
  probability: float
  right: Optional[bool]


@dataclasses.dataclass(frozen=True)
class Box:
  """One of the teacher's proposals; coordinates in [0, 1]."""
  ymin: float
  xmin: float
  ymax: float
  xmax: float
  name: str
  score: float
  colour: tuple


@dataclasses.dataclass(frozen=True)
class Picture:
  """One image of the gallery.

  Attributes:
    image_id: id in the records.
    why: reason of its selection, `DISAGREE` or `SPACED`.
    labels: names of the classes present.
    guesses: dict of stage to a list of `Guess`, best first.
    boxes: list of `Box`, best first; None without a teacher.
    jpeg: bytes of the thumbnail.
    width: width of the thumbnail, pixels.
    height: height of the thumbnail, pixels.
  """
  image_id: str
  why: str
  labels: list
  guesses: dict
  boxes: Optional[list]
  jpeg: bytes
  width: int
  height: int


def choose(first, second=None, count=NUM_IMAGES):
  """Selects images, deterministically, so that a report is reproducible.

  Half of them are the images on which the two models disagree most (L1 distance
  of the probabilities); the rest are evenly spaced among the others.

  Args:
    first: [N, C] scores of one model.
    second: [N, C] scores of the other one; None: all are evenly spaced.
    count: number of images, at most.

  Returns:
    List of (index, `DISAGREE` or `SPACED`).
  """
  chosen = []
  if second is not None:
    apart = np.abs(np.asarray(first) - second).sum(axis=1)        # [N]
    chosen = np.argsort(-apart, kind="stable")[:count // 2].tolist()
  others = np.setdiff1d(np.arange(len(first)), chosen)
  count = min(count - len(chosen), len(others))
  spaced = others[((np.arange(count) + 0.5) * len(others)
                   / max(count, 1)).astype(int)].tolist()
  return [(i, DISAGREE) for i in chosen] + [(i, SPACED) for i in spaced]


def make(record_set, predictions, classes, count=NUM_IMAGES):
  """Makes the gallery.

  Args:
    record_set: the evaluated `record_files.RecordSet`.
    predictions: dict of stage to `prediction_files.Predictions`, all for the
      same images.
    classes: C names.
    count: number of images, at most.

  Returns:
    List of `Picture`; None if the records do not hold the evaluated images.
  """
  students = [stage for stage in (comparison.WITHOUT, comparison.WITH)
              if stage in predictions]
  shown = students or list(predictions)[:1]
  scores = [predictions[stage].image_scores for stage in shown]
  first = predictions[shown[0]]
  teacher = predictions.get(comparison.TEACHER)
  chosen = choose(scores[0], scores[1] if len(scores) > 1 else None, count)
  indices = [index for index, _ in chosen]
  best = {stage: dict(zip(indices, _top(
      predictions[stage].image_scores[indices]))) for stage in shown}
  read = {index: (image, about.image_id) for index, image, _, about in
          pictures.read(record_set, indices)}
  made = []
  for index, why in chosen:
    image_id = str(first.image_ids[index])
    if index not in read or read[index][1] != image_id:
      return None
    jpeg, size = thumbnail(read[index][0])
    labels = first.labels[index]                                  # [C]
    made.append(Picture(
        image_id=image_id, why=why,
        labels=[classes[c] for c in np.flatnonzero(labels > 0)],
        guesses={stage: [
            Guess(classes[c], float(predictions[stage].image_scores[index, c]),
                  None if labels[c] < 0 else bool(labels[c]))
            for c in best[stage][index]] for stage in shown},
        boxes=_boxes(teacher, index, classes),
        jpeg=jpeg, width=size[0], height=size[1]))
  return made


def thumbnail(image, side=_SIDE):
  """Encodes a thumbnail as JPEG; small images keep their size.

  Args:
    image: [H, W, 3] uint8 RGB.
    side: its longer side at most, pixels.

  Returns:
    bytes, and (width, height) in pixels.
  """
  picture = Image.fromarray(np.asarray(image))
  scale = min(1.0, side / max(picture.size))
  size = tuple(max(1, round(side * scale)) for side in picture.size)
  if size != picture.size:
    picture = picture.resize(size, Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  picture.save(buffer, format="JPEG", quality=_QUALITY)
  return buffer.getvalue(), size


def _top(scores):
  """The top classes of [N, C] scores, best first: list of N lists."""
  chosen = classification.top_k(scores, TOP)                      # [N, C]
  return [sorted(np.flatnonzero(row), key=lambda c: -of_image[c])
          for row, of_image in zip(chosen, scores)]


def _boxes(teacher, index, classes):
  if teacher is None or teacher.boxes is None:
    return None
  return [
      Box(*(float(edge) for edge in box), name=classes[c], score=float(score),
          colour=pictures.class_colour(c))
      for box, c, score in zip(teacher.boxes[index], teacher.class_ids[index],
                               teacher.scores[index]) if score > 0]
