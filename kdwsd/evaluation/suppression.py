"""Non-maximum suppression of all classes of an image at once.

Greedy, as `boxes.non_maximum_suppression` of every class, and with the same
result to the last bit. The classes share the IoUs. What is left to do depends
on how many boxes have a score above the threshold: where many do, all classes
take their best box in one NumPy call, and so on until none is left; where few
do, as with thousands of classes, a loop over the candidates takes less time
than passes over an array [C, N].
"""

import numpy as np

from kdwsd import boxes as box_ops

# Classes whose scores are worked on together; their scores stay in the cache.
_CLASSES = 128
# With fewer candidates than this share of [classes, boxes], they are looped
# over. Both ways take the same time there.
_SPARSE = 0.08

_GONE = np.float32(-np.inf)


def suppress(boxes, scores, score_threshold, nms_iou):
  """Finds the detections among the proposals of an image.

  Args:
    boxes: [N, 4] float32.
    scores: [N, C] float32.
    score_threshold: minimum score, exclusive.
    nms_iou: a box is removed if its IoU with a better box of its class is
      above this.

  Returns:
    rows [K] int64, indices into `boxes`, and class_ids [K] int64; the highest
    score first, of equal ones the lower class, then the lower row.
  """
  rows, class_ids = np.nonzero(scores > score_threshold)          # [candidates]
  used = np.flatnonzero(np.bincount(rows, minlength=len(boxes)))  # [M]
  present = np.flatnonzero(
      np.bincount(class_ids, minlength=scores.shape[1]))          # [P]
  near = box_ops.overlapping(boxes[used], nms_iou)                # [M, M]
  if len(rows) <= _SPARSE * len(used) * len(present):
    places = np.zeros([len(boxes)], np.int64)
    places[used] = np.arange(len(used))
    order = np.lexsort((rows, -scores[rows, class_ids], class_ids))
    rows, class_ids = rows[order], class_ids[order]
    kept = _by_candidates(_bit_sets(near), class_ids, places[rows])
    rows, class_ids = rows[kept], class_ids[kept]
  else:
    rows, class_ids = _by_classes(
        near, scores, score_threshold, used, present)
  best_first = np.argsort(-scores[rows, class_ids], kind="stable")
  return rows[best_first], class_ids[best_first]


def _by_classes(near, scores, score_threshold, used, present):
  """Takes the best box of all classes, again and again.

  Args:
    near: [M, M] bool, whether a box suppresses another one.
    scores: [N, C] float32.
    score_threshold: see `suppress`.
    used: [M] ascending rows that have a score above the threshold.
    present: [P] ascending classes that have one.

  Returns:
    rows [K] and class_ids [K], ordered by class, then by row.
  """
  # The minimum of scores and a row of this removes the boxes near one.
  lids = np.where(near, _GONE, np.float32(np.inf))                # [M, M]
  np.fill_diagonal(lids, _GONE)  # A box without area is not near itself.
  found = []
  for first in range(0, len(present), _CLASSES):
    class_ids = present[first:first + _CLASSES]                   # [P']
    left = np.ascontiguousarray(
        scores[used[:, np.newaxis], class_ids].T)                 # [P', M]
    left[left <= score_threshold] = _GONE
    buffer = np.empty_like(left)
    while len(class_ids):
      best = left.argmax(axis=1)  # The first of equal scores.
      some = left[np.arange(len(best)), best] != _GONE            # [P']
      if not some.all():
        left, best, class_ids = left[some], best[some], class_ids[some]
        buffer = buffer[:len(best)]
      found.append((best, class_ids))
      # In a mode other than `raise`, `take` needs no buffer of its own.
      np.take(lids, best, axis=0, out=buffer, mode="clip")
      np.minimum(left, buffer, out=left)
  rows, class_ids = map(np.concatenate, zip(*found))              # [K]
  order = np.argsort(class_ids * len(used) + rows)
  return used[rows[order]], class_ids[order]


def _bit_sets(matrix):
  """The rows of [M, M] bool as M integers; column j is the bit of 2**j."""
  packed = np.packbits(matrix, axis=1, bitorder="little")
  return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _by_candidates(near, class_ids, rows):
  """Loops over the candidates of all classes, which follow one another.

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
