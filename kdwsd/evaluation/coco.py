"""COCO's 12 detection metrics.

Source: Lin et al., "Microsoft COCO", ECCV 2014, and its public evaluation,
pycocotools, whose numbers these are to the last bit. pycocotools itself makes
a dictionary of each detection and evaluates each class in each image four
times, which at COCO's size takes tens of gigabytes; here images are matched one
at a time, and 5 bytes of a detection are kept.

Known difference: records hold boxes, not masks, so small (< 32 x 32 pixels),
medium and large refer to the area of the box instead of the mask. The metrics
over all areas are exactly COCO's. Crowds are treated as in COCO. VOC's
difficult objects count like all others, because COCO has no such flag. As in
pycocotools, the 100 best detections of each class in each image count;
published detectors often keep only 100 per image over all classes.
"""

import numpy as np
from pycocotools import mask

from kdwsd import boxes as box_ops
from kdwsd.evaluation import spools

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl",
         "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

_IOUS = np.linspace(0.5, 0.95, 10)                                # [T]
_RECALLS = np.linspace(0.0, 1.0, 101)                             # [R]
_AREAS = np.array([[0, 1e10], [0, 32 ** 2], [32 ** 2, 96 ** 2],
                   [96 ** 2, 1e10]])                              # [A, 2]
_MOST = (1, 10, 100)  # Detections of a class in an image.

# What is kept of a detection; the flags are a bit for each of `_AREAS` that it
# lies in, and those below.
_FOUND = np.dtype([("score", np.float32), ("flags", np.uint8)])
_AMONG_10, _AMONG_1, _MATCHED = 16, 32, 64  # The last: at some threshold.

# Beside, for a detection that matches: bits [2, A, T], whether it is a hit, and
# whether it is a miss; one that is neither is ignored.
_OUTCOMES = (2, len(_AREAS), len(_IOUS))
_OUTCOME_BYTES = int(np.prod(_OUTCOMES)) // 8


def twelve_numbers(detections, images, num_classes):
  """Evaluates detections by COCO's rules.

  Args:
    detections: list or `detection.sequence` of `detection.Detections`, one per
      image, best first.
    images: list of `records.LabelledImage`, in the same order; those whose
      source has no box annotations are left out.
    num_classes: C.

  Returns:
    Dict of `NAMES` to float in [0, 1]; NaN if there are no such objects.
  """
  matches = _Matches(num_classes)
  for detected, image in zip(detections, images):
    if image.truth is not None:
      matches.add(detected, image)
  precision, recall = matches.accumulate()
  numbers = (
      _mean(precision[0]), _mean(precision[0, 0]), _mean(precision[0, 5]),
      *map(_mean, precision[1:]), *map(_mean, recall[::-1, 0]),
      *map(_mean, recall[0, 1:]))
  return dict(zip(NAMES, numbers))


class _Matches:
  """Detections, matched to the objects of their image."""

  def __init__(self, num_classes):
    self._found = spools.ByClass(num_classes, _FOUND)
    self._outcomes = spools.ByClass(
        num_classes, [("bits", np.uint8, (_OUTCOME_BYTES,))])
    self._num_objects = np.zeros([num_classes, len(_AREAS)], np.int64)

  def add(self, detected, image):
    """Matches the detections of an image whose objects are known."""
    truth = image.truth
    objects = _rectangles(truth.boxes, image)                     # [M, 4]
    lie_in = _areas(objects)                                      # [M, A]
    crowd = np.asarray(truth.crowd, bool)                         # [M]
    np.add.at(self._num_objects, truth.class_ids, lie_in & ~crowd[:, None])
    order = np.lexsort((-detected.scores, detected.class_ids))
    class_ids = detected.class_ids[order]
    rank = np.arange(len(order)) - np.searchsorted(class_ids, class_ids)
    order, class_ids, rank = (
        values[rank < _MOST[2]] for values in (order, class_ids, rank))
    found = _rectangles(detected.boxes[order], image)             # [K, 4]
    found_in = _areas(found)                                      # [K, A]
    rows = np.empty(len(order), _FOUND)
    rows["score"] = detected.scores[order]
    rows["flags"] = np.packbits(found_in, axis=1, bitorder="little")[:, 0]
    rows["flags"] |= np.where(rank < _MOST[1], _AMONG_10, 0).astype(np.uint8)
    rows["flags"] |= np.where(rank < _MOST[0], _AMONG_1, 0).astype(np.uint8)
    for class_id in np.unique(truth.class_ids):
      these = slice(*np.searchsorted(class_ids, [class_id, class_id + 1]))
      of_class = np.flatnonzero(truth.class_ids == class_id)
      matched, outcomes = _match(
          _ious(found[these], objects[of_class], crowd[of_class]),
          found_in[these], lie_in[of_class], crowd[of_class])
      rows["flags"][these.start + matched] |= _MATCHED
      packed = np.empty(len(matched), self._outcomes.dtype)
      packed["bits"] = np.packbits(
          outcomes.reshape(-1, 8 * _OUTCOME_BYTES), axis=1)
      self._outcomes.add(np.full(len(matched), class_id), packed)
    self._found.add(class_ids, rows)

  def accumulate(self):
    """Precision and recall of the classes that have objects.

    Returns:
      precision [A, T, R, K] of the 100 best detections at each recall, and the
      whole recall [M, A, T, K] of the 100, 10 and 1 best; -1 where a class has
      no object of the area.
    """
    class_ids = np.flatnonzero(self._num_objects.any(axis=1))     # [K]
    shape = len(_AREAS), len(_IOUS)
    precision = np.full([*shape, len(_RECALLS), len(class_ids)], -1.0)
    recall = np.full([len(_MOST), *shape, len(class_ids)], -1.0)
    for place, class_id in enumerate(class_ids):
      rows = self._found.read(class_id)
      bits = self._outcomes.read(class_id)["bits"]
      hits, misses = np.moveaxis(np.unpackbits(bits, axis=1).reshape(
          len(bits), *_OUTCOMES).astype(bool), 1, 0)              # [m, A, T]
      matched = rows["flags"] & _MATCHED > 0                      # [K]
      number = np.cumsum(matched) - 1
      order = np.argsort(-rows["score"], kind="stable")
      matched, flags = matched[order], rows["flags"][order]
      places = np.flatnonzero(matched)                            # [m]
      number = number[order][places]
      hits, misses, ranks = hits[number], misses[number], flags[places]
      among = [np.ones(len(places), bool), ranks & _AMONG_10 > 0,
               ranks & _AMONG_1 > 0]
      for area, num_objects in enumerate(self._num_objects[class_id]):
        if not num_objects:
          continue
        others = np.cumsum(~matched & (flags >> area & 1 > 0))[places]
        for iou in range(len(_IOUS)):
          hit, miss = hits[:, area, iou], misses[:, area, iou]    # [m]
          precision[area, iou, :, place] = _at_recalls(
              hit, others + np.cumsum(miss), num_objects)
          recall[:, area, iou, place] = [
              np.count_nonzero(hit & some) / num_objects for some in among]
    return precision, recall


def _match(ious, found_in, lie_in, crowd):
  """Matches the detections of a class in an image to its objects.

  Best first, a detection takes the object that it overlaps most, of those that
  are not taken; a crowd, or an object of another area, only if it would have
  none else. Of equal objects it takes the last.

  Args:
    ious: [D, G] float64.
    found_in: [D, A] bool, areas of the detections.
    lie_in: [G, A] bool, areas of the objects.
    crowd: [G] bool.

  Returns:
    indices [m] of the detections that match anything, ascending, and their
    outcomes [m, 2, A, T] bool: hit, miss.
  """
  least = np.minimum(_IOUS, 1 - 1e-10)[:, np.newaxis]             # [T, 1]
  ignored = (~lie_in | crowd[:, np.newaxis]).T[:, np.newaxis]     # [A, 1, G]
  free = np.ones([len(_AREAS), len(_IOUS), len(crowd)], bool)     # [A, T, G]
  near = np.flatnonzero((ious >= least[0]).any(axis=1))           # [m]
  outcomes = np.zeros([len(near), *_OUTCOMES], bool)
  for outcome, index in zip(outcomes, near):
    iou = ious[index]                                             # [G]
    overlap = np.where((free | crowd) & (iou >= least), iou, -1)  # [A, T, G]
    counted = np.where(ignored, -1, overlap)
    overlap = np.where(counted.max(axis=2, keepdims=True) < 0, overlap, counted)
    best = len(crowd) - 1 - overlap[..., ::-1].argmax(axis=2)     # [A, T]
    matches = overlap.max(axis=2) >= 0                            # [A, T]
    areas, thresholds = np.nonzero(matches)
    taken = best[matches]
    free[areas, thresholds, taken] = False
    outcome[0, areas, thresholds] = ~ignored[areas, 0, taken]
    outcome[1] = ~matches & found_in[index][:, np.newaxis]
  return near, outcomes


def _at_recalls(hit, misses, num_objects):
  """Best precision at each of `_RECALLS` or a higher recall.

  Args:
    hit: [m] bool, best detection first.
    misses: [m] int, those before or at a detection.
    num_objects: above 0.

  Returns:
    [R] float64.
  """
  # Only hits reach a further recall, and misses lower the precision.
  true = np.arange(1.0, np.count_nonzero(hit) + 1)                # [h]
  precision = true / (misses[hit] + true + np.spacing(1))
  precision = np.maximum.accumulate(precision[::-1])[::-1]
  at = np.searchsorted(true / num_objects, _RECALLS, side="left")  # [R]
  return np.append(precision, 0.0)[at]


def _mean(values):
  """Mean over what is not -1; NaN if nothing is."""
  values = values[values > -1]
  return float(np.mean(values)) if values.size else float("nan")


def _areas(rectangles):
  """[K, A] bool, which of `_AREAS` [K, 4] rectangles lie in."""
  area = (rectangles[:, 2] * rectangles[:, 3])[:, np.newaxis]
  return (area >= _AREAS[:, 0]) & (area <= _AREAS[:, 1])


def _ious(found, objects, crowd):
  """[D, G] float64 IoUs as pycocotools rounds them."""
  if not len(found):
    return np.zeros([0, len(objects)])
  return np.asarray(mask.iou(found, objects, crowd.astype(np.uint8)))


def _rectangles(boxes, image):
  """[K, 4] float64 (x, y, width, height) in pixels."""
  pixels = box_ops.to_pixels(boxes, image.height, image.width)
  ymin, xmin, ymax, xmax = pixels.astype(np.float64).T
  return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
