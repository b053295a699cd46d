"""CorLoc: how often the best-scored box of a class hits one of its objects.

Source: Deselaers et al., "Weakly Supervised Localization and Learning with
Generic Knowledge", IJCV 2012. An image counts for a class if it is labelled
with the class and has an object of it that is neither difficult nor a crowd. A
hit is an IoU of at least 0.5 with such an object. Baselines that do not depend
on the class are measured likewise, as a reference: a detector that localizes
objects exceeds the first three by far.

What the detector's box is instead of a hit says what it has learnt; see
`KINDS`.
"""

import collections
import dataclasses
import threading

import numpy as np

from kdwsd import boxes as box_ops

BASELINES = {
    "whole_image": "the whole image",
    "centred_box": "centred, 0.8 of each side",
    "best_objectness": "proposal of highest objectness",
    "best_proposal": "best proposal (the ceiling)",
}

# Kinds of boxes. The first that fits is taken, from top to bottom.
KINDS = {
    "hit": "IoU of 0.5 or more with an object",
    "group": "half or more of two objects or more are in the box",
    "part": "half or more of the box is in an object",
    "around": "half or more of an object is in the box, which is larger",
    "elsewhere": "none of these",
}

_IOU = 0.5
_EXAMPLES = 4  # Kept of each kind.
# Boxes are float32 fractions of the image, so that an IoU of exactly 0.5, which
# is common between boxes of integer pixels, may be rounded to 1e-7 below it.
_ROUNDING = 1e-6

_WHOLE_IMAGE = np.float32([0.0, 0.0, 1.0, 1.0])
_CENTRED_BOX = np.float32([0.1, 0.1, 0.9, 0.9])
_NO_BOX = np.zeros([4], np.float32)


@dataclasses.dataclass(frozen=True, order=True)
class Example:
  """The detector's best box of a class in an image.

  Attributes:
    position: of the record in its split.
    class_id: the class.
    kind: one of `KINDS`.
    box: [4], the detector's.
    iou: its highest IoU with an object of the class.
    best_proposal: [4], the proposal that hits an object best.
    best_iou: its IoU.
  """
  position: int
  class_id: int
  kind: str = dataclasses.field(compare=False)
  box: np.ndarray = dataclasses.field(compare=False)
  iou: float = dataclasses.field(compare=False)
  best_proposal: np.ndarray = dataclasses.field(compare=False)
  best_iou: float = dataclasses.field(compare=False)


class CorLoc:
  """Counts hits image by image, without keeping boxes in memory.

  Threads may `add` at the same time.
  """

  def __init__(self, num_classes):
    """Starts from zero.

    Args:
      num_classes: C.
    """
    self._counted = np.zeros([num_classes], np.int64)
    self._found = {name: np.zeros([num_classes], np.int64)
                   for name in ("detector", *BASELINES)}
    self._kinds = collections.Counter()
    self._examples = {kind: [] for kind in KINDS}
    self._lock = threading.Lock()

  def add(self, prediction, image, position=0):
    """Counts an image.

    Args:
      prediction: `inference.Prediction` of a detector.
      image: its `records.LabelledImage`; ignored without box annotations.
      position: of its record in the split.
    """
    if image.truth is None:
      return
    targets = ~(np.asarray(image.truth.difficult, bool)
                | np.asarray(image.truth.crowd, bool))            # [M]
    for class_id in np.unique(image.label_ids):
      objects = image.truth.boxes[
          targets & (image.truth.class_ids == class_id)]
      if not len(objects):
        continue
      overlaps = box_ops.pairwise_iou(
          prediction.boxes, objects).max(axis=1)                  # [N]
      chosen = {
          "detector": _best(
              prediction.boxes, prediction.proposal_scores[:, class_id]),
          "whole_image": _WHOLE_IMAGE,
          "centred_box": _CENTRED_BOX,
          "best_objectness": _best(prediction.boxes, prediction.objectness),
          "best_proposal": _best(prediction.boxes, overlaps)}
      ious = {name: float(box_ops.pairwise_iou(
          box[np.newaxis], objects).max()) for name, box in chosen.items()}
      example = Example(
          position, int(class_id), kind(chosen["detector"], objects),
          chosen["detector"], ious["detector"], chosen["best_proposal"],
          ious["best_proposal"])
      with self._lock:
        self._counted[class_id] += 1
        for name, iou in ious.items():
          self._found[name][class_id] += _hits(iou)
        self._kinds[example.kind] += 1
        of_kind = self._examples[example.kind]
        of_kind.append(example)
        of_kind.sort()  # Threads do not come in order.
        del of_kind[_EXAMPLES:]

  def shares(self, name="detector"):
    """CorLoc: fraction of counted images in which the box hits an object.

    Args:
      name: `detector`, or one of `BASELINES`.

    Returns:
      [C] float64; NaN for classes without counted images.
    """
    shares = np.full(self._counted.shape, np.nan)
    return np.divide(self._found[name], self._counted, out=shares,
                     where=self._counted > 0)

  @property
  def kinds(self):
    """{kind: number of best boxes of a class in an image}, see `KINDS`."""
    return {kind: self._kinds[kind] for kind in KINDS}

  @property
  def examples(self):
    """{kind: list of `Example`}, the first few of the split."""
    return self._examples

  @property
  def counted(self):
    """[C] int64, number of images that count for each class."""
    return self._counted


def kind(box, objects):
  """What a box is, beside the objects of its class.

  Args:
    box: [4].
    objects: [M, 4].

  Returns:
    One of `KINDS`.
  """
  if _hits(box_ops.pairwise_iou(box[np.newaxis], objects).max()):
    return "hit"
  shared = box_ops.area(np.concatenate([
      np.maximum(box[:2], objects[:, :2]), np.minimum(box[2:], objects[:, 2:])
  ], axis=1))                                                     # [M]
  covered = np.sum(shared >= 0.5 * box_ops.area(objects))
  if covered >= 2:
    return "group"
  if shared.max() > 0 and shared.max() >= 0.5 * box_ops.area(box):
    return "part"
  return "around" if covered else "elsewhere"


def _hits(iou):
  return iou >= _IOU - _ROUNDING


def _best(boxes, scores):
  """[4] box with the highest score, the first one in a tie."""
  return boxes[np.argmax(scores)] if len(boxes) else _NO_BOX
