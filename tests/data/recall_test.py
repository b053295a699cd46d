"""Tests of proposal recall, by hand and against a loop."""

from absl.testing import absltest
import numpy as np

from kdwsd.data import recall


def _matched_by_loops(truth, proposals, iou):
  count = 0
  for t in truth:
    best = 0.0
    for p in proposals:
      overlap = (max(0, min(t[2], p[2]) - max(t[0], p[0]))
                 * max(0, min(t[3], p[3]) - max(t[1], p[1])))
      union = ((t[2] - t[0]) * (t[3] - t[1])
               + (p[2] - p[0]) * (p[3] - p[1]) - overlap)
      best = max(best, overlap / union)
    count += best >= iou
  return count


class RecallTest(absltest.TestCase):

  def test_by_hand(self):
    truth = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    # Overlap 0.125 of a union of 0.25: IoU is 0.5 exactly, and counts.
    proposals = [[0, 0, 0.5, 0.25]]
    self.assertEqual(recall.matched(truth, proposals), 1)
    self.assertEqual(recall.matched(truth, proposals, iou=0.51), 0)

  def test_one_proposal_may_match_two_objects(self):
    truth = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.4]]
    self.assertEqual(recall.matched(truth, [[0, 0, 0.5, 0.45]]), 2)

  def test_nothing_matches_nothing(self):
    box = [[0, 0, 1, 1]]
    self.assertEqual(recall.matched([], box), 0)
    self.assertEqual(recall.matched(box, []), 0)
    self.assertEqual(recall.matched(np.zeros([0, 4]), np.zeros([0, 4])), 0)

  def test_matches_loops(self):
    generator = np.random.default_rng(0)
    corners = np.sort(generator.uniform(size=[40, 2, 2]), axis=1)
    boxes = corners.reshape(40, 4)
    for iou in (0.3, 0.5, 0.7):
      self.assertEqual(
          recall.matched(boxes[:12], boxes[12:], iou),
          _matched_by_loops(boxes[:12], boxes[12:], iou))


if __name__ == "__main__":
  absltest.main()
