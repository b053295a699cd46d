"""Both ways of suppression equal the greedy loop over a class."""

import numpy as np
import pytest

from kdwsd import boxes as box_ops
from kdwsd.evaluation import suppression
from tests.evaluation import fakes


def _greedy(boxes, scores, score_threshold, nms_iou):
  """[(score, class, row)], class by class, best first."""
  found = []
  for class_id in range(scores.shape[1]):
    above = np.flatnonzero(scores[:, class_id] > score_threshold)
    kept = above[box_ops.non_maximum_suppression(
        boxes[above], scores[above, class_id], nms_iou)]
    found += [(-scores[row, class_id], class_id, row) for row in kept]
  return sorted(found)


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("sparse", [0.0, 2.0])  # Never, always.
@pytest.mark.parametrize("classes_at_once", [3, 128])
def test_both_ways_are_the_greedy_one(
    monkeypatch, share, sparse, classes_at_once):
  monkeypatch.setattr(suppression, "_SPARSE", sparse)
  monkeypatch.setattr(suppression, "_CLASSES", classes_at_once)
  random = np.random.default_rng(7)
  boxes = fakes.boxes(random, 90)
  boxes[10] = boxes[40]
  boxes[20:22, 2] = boxes[20:22, 0]  # Without area.
  scores = np.round(random.random([90, 8]), 1) * (
      random.random([90, 8]) < share)  # Many ties.
  scores[:, 5] = 0
  scores = scores.astype(np.float32)
  rows, class_ids = suppression.suppress(boxes, scores, 0.1, 0.3)
  assert [(-scores[row, class_id], class_id, row)
          for row, class_id in zip(rows, class_ids)] == _greedy(
              boxes, scores, np.float32(0.1), 0.3)


@pytest.mark.parametrize("sparse", [0.0, 2.0])
def test_a_box_without_area_is_kept_once(monkeypatch, sparse):
  monkeypatch.setattr(suppression, "_SPARSE", sparse)
  boxes = np.float32([[.1, .1, .1, .1], [.2, .2, .2, .4]])
  rows, class_ids = suppression.suppress(
      boxes, np.float32([[.5], [.7]]), 0.0, 0.4)
  assert (rows.tolist(), class_ids.tolist()) == ([1, 0], [0, 0])


@pytest.mark.parametrize("shape", [(0, 3), (4, 3)])
def test_no_score_above_the_threshold(shape):
  rows, class_ids = suppression.suppress(
      np.zeros([shape[0], 4], np.float32), np.zeros(shape, np.float32), 0.0, .4)
  assert not len(rows) and not len(class_ids)
