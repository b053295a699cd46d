"""Multi-label classification metrics: AP, and per-class and overall P, R, F1.

All metrics ignore labels that are neither present nor absent (VOC images whose
only objects of a class are difficult). Means over classes exclude classes
without a positive image.
"""

import numpy as np

from kdwsd.evaluation import precision_recall

_IMAGES = 1024  # Worked on together.


def label_arrays(images, num_classes):
  """Labels of images as arrays.

  Args:
    images: list of `records.LabelledImage`.
    num_classes: C.

  Returns:
    labels [images, C] bool and known [images, C] bool.
  """
  labels = np.zeros([len(images), num_classes], bool)
  known = np.ones([len(images), num_classes], bool)
  for row, image in enumerate(images):
    known[row, image.unknown_label_ids] = False
    labels[row, image.label_ids] = True
    known[row, image.label_ids] = True
  return labels, known


def curves(labels, known, scores):
  """Precision-recall curve of every class.

  Images of equal score enter the curve together, as in scikit-learn, so that
  their order does not matter; the VOC development kits break ties by order.

  Args:
    labels: [images, C] bool.
    known: [images, C] bool.
    scores: [images, C].

  Returns:
    `precision_recall.OnDemand`, C curves.
  """
  def curve(class_id):
    rows = known[:, class_id]
    truth, score = labels[rows, class_id], scores[rows, class_id]
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.diff(score[order]) != 0, True)[:len(order)]
    return precision_recall.from_hits(
        truth[order], int(truth.sum()), last_of_ties)

  return precision_recall.OnDemand(labels.shape[1], curve)


def at_threshold(probabilities, threshold=0.5):
  """[images, C] bool: labels with probability >= `threshold`."""
  return np.asarray(probabilities) >= threshold


def top_k(scores, k=3):
  """[images, C] bool: the top k labels of each image; the first class of ties.
  """
  scores = np.asarray(scores)
  chosen = np.zeros(scores.shape, bool)
  # In parts, as positions take twice the memory of scores.
  for first in range(0, len(scores), _IMAGES):
    part = slice(first, first + _IMAGES)
    order = np.argsort(-scores[part], axis=1, kind="stable")[:, :k]
    np.put_along_axis(chosen[part], order, True, axis=1)
  return chosen


def precision_recall_f1(labels, known, chosen):
  """Per-class (C) and overall (O) precision, recall and F1.

  C-P and C-R are means over classes of TP / predicted and TP / present, with 0
  for a class that is never predicted; O-P and O-R pool the classes. C-F1 has
  two definitions in the literature; both are computed.

  Args:
    labels: [images, C] bool.
    known: [images, C] bool.
    chosen: [images, C] bool, predicted labels.

  Returns:
    Dict of floats: `C-P`, `C-R`, `C-F1` (harmonic mean of C-P and C-R, as in
    ML-GCN), `C-F1_mean` (mean over classes of their F1, as in SRN and ASL),
    `O-P`, `O-R`, `O-F1`. NaN where nothing is present.
  """
  present = np.sum(labels & known, axis=0)                        # [C]
  given = np.sum(chosen & known, axis=0)                          # [C]
  right = np.sum(labels & chosen & known, axis=0)                 # [C]
  some = present > 0
  if not some.any():
    names = ("C-P", "C-R", "C-F1", "C-F1_mean", "O-P", "O-R", "O-F1")
    return {name: float("nan") for name in names}
  precision = _ratio(right, given)[some].mean()
  recall = _ratio(right, present)[some].mean()
  overall_precision = _ratio(right.sum(), given.sum())
  overall_recall = _ratio(right.sum(), present.sum())
  figures = {
      "C-P": precision,
      "C-R": recall,
      "C-F1": _ratio(2 * precision * recall, precision + recall),
      "C-F1_mean": _ratio(2 * right, present + given)[some].mean(),
      "O-P": overall_precision,
      "O-R": overall_recall,
      "O-F1": _ratio(2 * overall_precision * overall_recall,
                     overall_precision + overall_recall),
  }
  return {name: float(value) for name, value in figures.items()}


def _ratio(above, below):
  """Quotient, 0 where the denominator is 0."""
  above, below = np.asarray(above, float), np.asarray(below, float)
  return np.divide(above, below, out=np.zeros_like(below), where=below > 0)
