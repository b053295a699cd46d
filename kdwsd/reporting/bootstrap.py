"""How sure a difference in mAP is: a paired bootstrap over the images.

Images are drawn with replacement, as many as there are; both models are
measured on the same ones, again and again. The interval holds the middle 95 %
of the differences. Source: Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 13.
"""

import numpy as np

LEVEL = 0.95
_SAMPLES = 1000
# Of wide splits fewer samples are drawn: images times classes of all of them.
_MOST_VALUES = 2e8
_FEWEST = 200
_VALUES = 1 << 22  # Worked on together.


def num_samples(num_images, num_classes):
  """Number of samples that `differences` draws."""
  return int(np.clip(_MOST_VALUES / max(num_images * num_classes, 1),
                     _FEWEST, _SAMPLES))


def difference(labels, pairs):
  """The difference in mAP on the images themselves.

  Args:
    labels: as for `differences`.
    pairs: as for `differences`.

  Returns:
    Float; NaN where no class has a positive image.
  """
  once = np.ones([1, len(labels)], np.int32)
  return float(_gained(labels, pairs, once)[0])


def differences(labels, pairs, seed=0):
  """Differences in mAP, each on a sample of the images.

  Args:
    labels: [N, C] int, 1 present, 0 absent, -1 neither.
    pairs: list of (scores [N, C] of a model, scores [N, C] of another one);
      the differences are means over the pairs.
    seed: of the samples.

  Returns:
    [samples] float64, the second model's mAP minus the first's. NaN where a
    sample has no positive image of any class.
  """
  count, num_classes = labels.shape
  random = np.random.default_rng(seed)
  parts = []
  left = num_samples(count, num_classes)
  while left:
    size = min(left, max(1, _VALUES // max(count, 1)))
    left -= size
    drawn = np.stack([
        np.bincount(random.integers(count, size=count), minlength=count)
        for _ in range(size)]).astype(np.int32)                   # [S, N]
    parts.append(_gained(labels, pairs, drawn))
  return np.concatenate(parts)


def _gained(labels, pairs, drawn):
  """Differences in mAP where images occur `drawn` [S, N] times: [S] float64."""
  num_classes = labels.shape[1]
  gained = np.zeros([len(drawn), num_classes])
  for class_id in range(num_classes):
    rows = np.flatnonzero(labels[:, class_id] >= 0)
    truth, times = labels[rows, class_id] > 0, drawn[:, rows]
    for before, after in pairs:
      gained[:, class_id] += (
          weighted_ap(truth, after[rows, class_id], times)
          - weighted_ap(truth, before[rows, class_id], times)) / len(pairs)
  known = ~np.isnan(gained)
  with np.errstate(invalid="ignore"):
    return np.where(known, gained, 0).sum(axis=1) / known.sum(axis=1)


def interval(values):
  """(low, high), between which the middle 95 % of the values are."""
  return tuple(float(edge) for edge in np.nanquantile(
      values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))


def weighted_ap(truth, scores, times):
  """Non-interpolated average precision where images occur several times.

  As `precision_recall.ap` of the repeated images, whose equal scores enter the
  curve together.

  Args:
    truth: [N] bool.
    scores: [N].
    times: [S, N] int, how often each image occurs in each sample.

  Returns:
    [S] float64; NaN for a sample without positive images.
  """
  order = np.argsort(-scores, kind="stable")
  last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)
                        [:len(order)])
  hits = np.flatnonzero(truth[order])                             # [P]
  # Precision matters only where recall grows: at the end of ties with a hit.
  ends = last[np.searchsorted(last, hits)]                        # [P]
  final = np.append(np.diff(ends) != 0, True)[:len(ends)]         # [P]
  seen = np.cumsum(times[:, order], axis=1, dtype=np.int32)[:, ends[final]]
  right = np.cumsum(times[:, order[hits]], axis=1)[:, final]      # [S, K]
  gained = np.diff(right, axis=1, prepend=0)
  total = right[:, -1] if len(hits) else np.zeros([len(times)])
  with np.errstate(invalid="ignore", divide="ignore"):
    return (gained * (right / np.maximum(seen, 1))).sum(axis=1) / total
