"""Detections from proposal scores, and PASCAL VOC's average precision.

Sources: WSDDN (Bilen & Vedaldi, CVPR 2016, sec. 4: scores above 1e-3, NMS at
IoU 0.4); VOCdevkit's VOCevaldet for matching. Images whose source has no box
annotations (`truth` None) are left out.
"""

import dataclasses

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.evaluation import precision_recall

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


def detect(boxes, proposal_scores, score_threshold=1e-3, nms_iou=0.4):
  """Thresholds scores and applies non-maximum suppression class by class.

  Equals `boxes.non_maximum_suppression` of every class, but the IoUs, which the
  classes share, are computed only once.

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
  above = scores > score_threshold                                # [N, C]
  used = np.flatnonzero(above.any(axis=1))                        # [M]
  boxes, scores, above = boxes[used], scores[used], above[used]
  near = _bit_sets(box_ops.pairwise_iou(boxes, boxes) > nms_iou)
  class_ids, rows = np.nonzero(above.T)
  order = np.lexsort((-scores[rows, class_ids], class_ids))
  class_ids, rows = class_ids[order].astype(np.int32), rows[order]
  kept = _suppress(near, class_ids, rows)
  class_ids, rows = class_ids[kept], rows[kept]
  scores = scores[rows, class_ids]                                # [K]
  best_first = np.argsort(-scores, kind="stable")
  return Detections(boxes[rows][best_first], class_ids[best_first],
                    scores[best_first])


def curves(detections, images, num_classes, iou_threshold=0.5):
  """Precision-recall curve of every class by VOC's rules.

  In the order of descending score over all images, each detection is matched to
  the object of its class that it overlaps most. The first detection of an
  object is a true positive, later ones are false positives; detections of a
  difficult object (VOC) or a crowd (COCO) are ignored. Ties keep the order of
  the images.

  Args:
    detections: list of `Detections`, one per image.
    images: list of `records.LabelledImage`, in the same order.
    num_classes: C.
    iou_threshold: minimum IoU of a match.

  Returns:
    List of C `precision_recall.Curve`.
  """
  scores, class_ids, objects = [], [], []
  ignored, num_positives = [], np.zeros([num_classes], np.int64)
  num_objects = 0
  for found, image in zip(detections, images):
    if image.truth is None:
      continue
    truth = image.truth
    set_aside = _set_aside(truth)
    best = _assign(found, truth, iou_threshold)                   # [K]
    scores.append(found.scores)
    class_ids.append(found.class_ids)
    objects.append(np.where(best >= 0, best + num_objects, -1))
    ignored.append(set_aside)
    num_objects += len(set_aside)
    num_positives += np.bincount(
        truth.class_ids[~set_aside], minlength=num_classes)
  if not scores:
    return [precision_recall.from_hits([], 0) for _ in range(num_classes)]
  scores, class_ids = np.concatenate(scores), np.concatenate(class_ids)
  objects, ignored = np.concatenate(objects), np.concatenate(ignored)
  order = np.lexsort((-scores, class_ids))
  class_ids, objects = class_ids[order], objects[order]
  hits = np.zeros(len(objects), bool)
  hits[np.unique(objects, return_index=True)[1]] = True
  hits &= objects >= 0
  counted = (objects < 0) | ~np.append(ignored, False)[objects]
  class_ids, hits = class_ids[counted], hits[counted]
  edges = np.searchsorted(class_ids, np.arange(num_classes + 1))
  return [precision_recall.from_hits(hits[edges[c]:edges[c + 1]],
                                     num_positives[c])
          for c in range(num_classes)]


def _bit_sets(matrix):
  """The rows of [M, M] bool as M integers; column j is the bit of 2**j."""
  packed = np.packbits(matrix, axis=1, bitorder="little")
  return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _suppress(near, class_ids, rows):
  """Greedy NMS of all classes, whose candidates follow one another.

  Args:
    near: M integers, the sets of boxes that each box suppresses.
    class_ids: [K], ascending.
    rows: [K] indices of boxes in [0, M), within a class best first.

  Returns:
    [L] indices of the candidates that are kept, ascending.
  """
  kept = []
  current = suppressed = None
  for index, (class_id, row) in enumerate(
      zip(class_ids.tolist(), rows.tolist())):
    if class_id != current:
      current, suppressed = class_id, 0
    if not suppressed >> row & 1:
      kept.append(index)
      suppressed |= near[row]
  return np.array(kept, np.int64)


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
