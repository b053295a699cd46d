"""Precision-recall curves and the three definitions of average precision.

Detection and classification both use them, so that a metric's name has one
meaning everywhere. Sources: `ap` as in information retrieval and the public
code of ML-GCN (Chen et al., CVPR 2019) and ASL (Ben-Baruch et al., ICCV 2021);
`voc07_ap` and `area_ap` as in the PASCAL VOC development kits of 2007 and of
2010 on (Everingham et al., IJCV 2010 and 2015).
"""

import collections.abc
import dataclasses

import numpy as np

# More panels are slow to draw and too many to look through.
MOST_PANELS = 100


@dataclasses.dataclass(frozen=True)
class Curve:
  """Precision against recall, from the highest score down.

  Attributes:
    recall: [K] float64, not decreasing.
    precision: [K] float64.
    num_positives: number of positives; with 0 every average is NaN.
  """
  recall: np.ndarray
  precision: np.ndarray
  num_positives: int


class OnDemand(collections.abc.Sequence):
  """Curves that are made when they are read, and not kept.

  The points of all curves are as many as the detections of a split.
  """

  def __init__(self, num_classes, make):
    """Makes the list.

    Args:
      num_classes: C, its length.
      make: function of a class id that returns a `Curve`.
    """
    self._num_classes, self._make = num_classes, make

  def __len__(self):
    return self._num_classes

  def __getitem__(self, class_id):
    if not 0 <= class_id < self._num_classes:
      raise IndexError(class_id)
    return self._make(class_id)


def from_hits(hits, num_positives, last_of_ties=None):
  """Makes the curve of a ranked list.

  Args:
    hits: [K] bool, best score first; false means a false positive.
    num_positives: number of positives.
    last_of_ties: [K] bool or None, true where the next score is lower. Only
      these points are on the curve; None takes all.

  Returns:
    A `Curve`.
  """
  hits = np.asarray(hits, bool).reshape(-1)
  true_positives = np.cumsum(hits, dtype=np.int64)                # [K]
  precision = true_positives / np.arange(1, hits.size + 1)        # [K]
  recall = true_positives / max(num_positives, 1)                 # [K]
  if last_of_ties is not None:
    recall, precision = recall[last_of_ties], precision[last_of_ties]
  return Curve(recall, precision, int(num_positives))


def ap(curve):
  """Non-interpolated average precision: sum of precision times gained recall.

  Without ties it is the mean, over positives, of the precision at their ranks.
  """
  if not curve.num_positives:
    return float("nan")
  gained = np.diff(curve.recall, prepend=0.0)
  return float(np.sum(gained * curve.precision))


def voc07_ap(curve):
  """Mean of the best precision at recall >= 0, 0.1, ..., 1 (VOC 2007)."""
  if not curve.num_positives:
    return float("nan")
  envelope = np.append(_envelope(curve.precision), 0.0)           # [K + 1]
  # Both are quotients of integers, so equal ones are equal to the last bit.
  levels = np.arange(11) / 10
  first = np.searchsorted(curve.recall, levels, side="left")
  return float(np.mean(envelope[first]))


def area_ap(curve):
  """Area under the curve made monotonous (VOC 2010 and later)."""
  if not curve.num_positives:
    return float("nan")
  gained = np.diff(curve.recall, prepend=0.0)
  return float(np.sum(gained * _envelope(curve.precision)))


def panels(values, num_positives):
  """Chooses the classes whose curves are drawn, where there are too many.

  Args:
    values: [C] average precisions, None where a class has none.
    num_positives: [C], images that have the class.

  Returns:
    Ids of all classes, in order, of `MOST_PANELS` at most; of more, half the
    most frequent, then half those of the least average precision.
  """
  if len(values) <= MOST_PANELS:
    return list(range(len(values)))
  half = MOST_PANELS // 2
  frequent = sorted(range(len(values)), key=lambda c: -num_positives[c])[:half]
  left = [c for c, value in enumerate(values)
          if value is not None and c not in frequent]
  return frequent + sorted(left, key=lambda c: values[c])[:half]


def _envelope(precision):
  """Best precision at this recall or a higher one, [K]."""
  return np.maximum.accumulate(precision[::-1])[::-1]
