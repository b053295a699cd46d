"""CorLoc: how often the best-scored box of a class hits one of its objects.

Source: Deselaers et al., "Weakly Supervised Localization and Learning with
Generic Knowledge", IJCV 2012. An image counts for a class if it is labelled
with the class and has an object of it that is neither difficult nor a crowd. A
hit is an IoU of at least 0.5 with such an object. Baselines that do not depend
on the class are measured likewise, as a reference: a detector that localizes
objects exceeds the first three by far.
"""

import threading

import numpy as np

from kdwsd import boxes as box_ops

BASELINES = {
    "whole_image": "the whole image",
    "centred_box": "centred, 0.8 of each side",
    "best_objectness": "proposal of highest objectness",
    "best_proposal": "best proposal (the ceiling)",
}

_IOU = 0.5
# Boxes are float32 fractions of the image, so that an IoU of exactly 0.5, which
# is common between boxes of integer pixels, may be rounded to 1e-7 below it.
_ROUNDING = 1e-6

_WHOLE_IMAGE = np.float32([0.0, 0.0, 1.0, 1.0])
_CENTRED_BOX = np.float32([0.1, 0.1, 0.9, 0.9])
_NO_BOX = np.zeros([4], np.float32)


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
    self._lock = threading.Lock()

  def add(self, prediction, image):
    """Counts an image.

    Args:
      prediction: `inference.Prediction` of a detector.
      image: its `records.LabelledImage`; ignored without box annotations.
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
      hits = {name: box_ops.pairwise_iou(box[np.newaxis], objects).max()
                    >= _IOU - _ROUNDING for name, box in chosen.items()}
      with self._lock:
        self._counted[class_id] += 1
        for name, hit in hits.items():
          self._found[name][class_id] += hit

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
  def counted(self):
    """[C] int64, number of images that count for each class."""
    return self._counted


def _best(boxes, scores):
  """[4] box with the highest score, the first one in a tie."""
  return boxes[np.argmax(scores)] if len(boxes) else _NO_BOX
