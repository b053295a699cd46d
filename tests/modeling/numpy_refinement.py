"""Pseudo labels and loss of the refinement branches, as loops in float64."""

import numpy as np

from kdwsd import boxes


def seeds(scores, proposals, valid, kind):
  """Indices of the seeds of a class; scores [R], best first."""
  order = [r for r in np.argsort(-scores, kind="stable") if valid[r]]
  if kind == "top" or not order:
    return order[:1]
  number = -(-15 * len(order) // 100)
  kept = []
  for r in order[:number]:
    if all(_iou(proposals, r, other) <= 0.2 for other in kept):
      kept.append(r)
  return kept[:20]


def pseudo_labels(scores, labels, label_weights, proposals, valid, kind):
  """Classes [R], C for background, and weights [R] of an image."""
  count, num_classes = scores.shape
  classes, weights = np.full([count], num_classes), np.zeros([count])
  known = label_weights > 0
  present = [(r, c) for c in np.flatnonzero(known & (labels > 0))
             for r in seeds(scores[:, c], proposals, valid, kind)]
  unknown = [r for c in np.flatnonzero(~known)
             for r in seeds(scores[:, c], proposals, valid, kind)]
  for r in np.flatnonzero(valid):
    if not present:
      continue
    overlaps = [_iou(proposals, seed, r) for seed, _ in present]
    seed, c = present[np.argmax(overlaps)]
    if max(overlaps) >= 0.5:
      classes[r] = c
    elif any(_iou(proposals, other, r) >= 0.5 for other in unknown):
      continue
    weights[r] = scores[seed, c]
  return classes, weights


def loss(logits, wsddn_scores, labels, label_weights, proposals, valid, kind):
  """The loss of an image, and its gradient with respect to each logits.

  Args:
    logits: [K, R, C + 1] float64.
    wsddn_scores: [R, C].
    labels: [C].
    label_weights: [C].
    proposals: [R, 4].
    valid: [R] bool.
    kind: of the seeds.
  """
  total, gradients, scores = 0.0, np.zeros_like(logits), wsddn_scores
  for branch, one in enumerate(logits):
    classes, weights = pseudo_labels(
        scores, labels, label_weights, proposals, valid, kind)
    exponentials = np.exp(one - one.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    for r in np.flatnonzero(weights):
      weight = weights[r] / valid.sum()
      total -= weight * np.log(probabilities[r, classes[r]])
      gradients[branch, r] = weight * probabilities[r]
      gradients[branch, r, classes[r]] -= weight
    scores = probabilities[:, :-1]
  return total, gradients


def _iou(proposals, first, second):
  return boxes.pairwise_iou(proposals[first], proposals[second])[0, 0]
