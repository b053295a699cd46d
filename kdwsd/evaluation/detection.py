"""Detections from proposal scores, and PASCAL VOC's average precision.

Sources: WSDDN (Bilen & Vedaldi, CVPR 2016, sec. 4: scores above 1e-3, NMS at
IoU 0.4); VOCdevkit's VOCevaldet for matching. Images whose source has no box
annotations (`truth` None) are left out.
"""

import dataclasses

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.evaluation import precision_recall
from kdwsd.evaluation import spools
from kdwsd.evaluation import suppression

# Boxes are float32 fractions of the image, so that an IoU of exactly 0.5, which
# is common between boxes of integer pixels, may be rounded to 1e-7 below it.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Detections:
  """The detections of one image, best first.

  Attributes:
    boxes: [K, 4] float32.
    class_ids: [K] int32.
    scores: [K] float32.
  """
  boxes: np.ndarray
  class_ids: np.ndarray
  scores: np.ndarray


def sequence():
  """An empty list of `Detections`, which moves to disk as it grows."""
  return spools.Sequence(Detections, {
      "boxes": (np.float32, (4,)), "class_ids": (np.int32, ()),
      "scores": (np.float32, ())})


def detect(boxes, proposal_scores, score_threshold=1e-3, nms_iou=0.4):
  """Thresholds scores and applies non-maximum suppression class by class.

  See `suppression`.

  Args:
    boxes: [N, 4].
    proposal_scores: [N, C].
    score_threshold: minimum score, exclusive.
    nms_iou: a box is removed if its IoU with a better box is above this.

  Returns:
    `Detections`.
  """
  boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
  scores = np.asarray(proposal_scores, np.float32)
  rows, class_ids = suppression.suppress(
      boxes, scores, score_threshold, nms_iou)                    # [K]
  return Detections(boxes[rows], class_ids.astype(np.int32),
                    scores[rows, class_ids])


def curves(detections, images, num_classes, iou_threshold=0.5):
  """Precision-recall curve of every class by VOC's rules.

  In the order of descending score over all images, each detection is matched to
  the object of its class that it overlaps most. The first detection of an
  object is a true positive, later ones are false positives; detections of a
  difficult object (VOC) or a crowd (COCO) are ignored. Ties keep the order of
  the images.

  Args:
    detections: list or `sequence` of `Detections`, one per image.
    images: list of `records.LabelledImage`, in the same order.
    num_classes: C.
    iou_threshold: minimum IoU of a match.

  Returns:
    `precision_recall.OnDemand`, C curves.
  """
  ranked = spools.ByClass(
      num_classes, [("score", np.float32), ("hit", np.bool_)])
  num_positives = np.zeros([num_classes], np.int64)
  for found, image in zip(detections, images):
    truth = image.truth
    if truth is None:
      continue
    set_aside = _set_aside(truth)                                 # [M]
    best = _assign(found, truth, iou_threshold)                   # [K]
    # The first detection of an object, over all images, is the best of this
    # image: no other image has the object.
    order = np.argsort(-found.scores, kind="stable")
    hits = np.zeros(len(best), bool)
    hits[order[np.unique(best[order], return_index=True)[1]]] = True
    hits &= best >= 0
    counted = (best < 0) | ~np.append(set_aside, False)[best]
    rows = np.empty(np.count_nonzero(counted), ranked.dtype)
    rows["score"], rows["hit"] = found.scores[counted], hits[counted]
    ranked.add(found.class_ids[counted], rows)
    num_positives += np.bincount(
        truth.class_ids[~set_aside], minlength=num_classes)

  def curve(class_id):
    rows = ranked.read(class_id)
    order = np.argsort(-rows["score"], kind="stable")
    return precision_recall.from_hits(
        rows["hit"][order], num_positives[class_id])

  return precision_recall.OnDemand(num_classes, curve)


def _set_aside(truth):
  return np.asarray(truth.difficult, bool) | np.asarray(truth.crowd, bool)


def _assign(found, truth, iou_threshold):
  """[K] index of the object that each detection matches; -1 for none."""
  if not len(truth.class_ids) or not len(found.class_ids):
    return np.full(len(found.class_ids), -1, np.int64)
  overlap = np.where(
      found.class_ids[:, None] == truth.class_ids[None],
      box_ops.pairwise_iou(found.boxes, truth.boxes), -1.0)       # [K, M]
  best = np.argmax(overlap, axis=1)                               # [K]
  enough = overlap[np.arange(len(best)), best]
  return np.where(enough >= iou_threshold - _ROUNDING, best, -1)
