from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import precision_recall
from tests.evaluation import fakes


def _iou(first, second):
  height = min(first[2], second[2]) - max(first[0], second[0])
  width = min(first[3], second[3]) - max(first[1], second[1])
  overlap = max(height, 0.0) * max(width, 0.0)
  return overlap / sum(
      [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)], -overlap)


def _hits_by_loop(images, found, class_id):
  """VOCevaldet's loop in float64: hits by rank, and number of objects."""
  ranked = [(score, row, box)
            for row, detected in enumerate(found)
            for box, its_class, score in zip(
                np.round(detected.boxes.astype(float), 7), detected.class_ids,
                detected.scores)
            if its_class == class_id]
  ranked.sort(key=lambda item: -item[0])
  taken, hits = set(), []
  for _, row, box in ranked:
    truth = images[row].truth
    best, best_overlap = None, -1.0
    for index, its_class in enumerate(truth.class_ids):
      if its_class == class_id:
        overlap = _iou(box, np.round(truth.boxes[index].astype(float), 7))
        if overlap > best_overlap:
          best, best_overlap = index, overlap
    if best is None or best_overlap < 0.5 - 1e-6:
      hits.append(False)
    elif not truth.difficult[best]:
      hits.append((row, best) not in taken)
      taken.add((row, best))
  return hits, sum(
      int(np.sum((i.truth.class_ids == class_id) & ~i.truth.difficult))
      for i in images)


class DetectTest(parameterized.TestCase):

  @parameterized.parameters(0, 1, 2, 50)
  def test_is_nms_of_each_class(self, num_boxes):
    rng = np.random.default_rng(num_boxes)
    boxes = fakes.boxes(rng, num_boxes)
    scores = np.round(rng.random([num_boxes, 4]), 1).astype(np.float32)
    found = detection.detect(boxes, scores, score_threshold=0.3, nms_iou=0.4)
    for class_id in range(4):
      above = np.flatnonzero(scores[:, class_id] > np.float32(0.3))
      kept = above[box_ops.non_maximum_suppression(
          boxes[above], scores[above, class_id], 0.4)]
      mine = found.class_ids == class_id
      np.testing.assert_array_equal(found.boxes[mine], boxes[kept])
      np.testing.assert_array_equal(found.scores[mine], scores[kept, class_id])
    self.assertTrue(np.all(np.diff(found.scores) <= 0))

  def test_worked_by_hand(self):
    # A and B: 8 x 10 of 10 x 10 shared, IoU 80 / (100 + 100 - 80) = 2 / 3.
    # A and C: 5 x 10 shared, IoU 50 / 150 = 1 / 3, so C stays at 0.4.
    boxes = [[0, 0, .1, .1], [.02, 0, .12, .1], [.05, 0, .15, .1]]
    found = detection.detect(boxes, [[.9, .1], [.8, .2], [.7, .0005]])
    self.assertEqual(found.class_ids.tolist(), [0, 0, 1])
    np.testing.assert_allclose(found.scores, [.9, .7, .2])
    np.testing.assert_allclose(found.boxes[[0, 1, 2], 0], [0, .05, .02])

  def test_an_iou_equal_to_the_threshold_stays(self):
    # As in WSDDN's NMS: a box goes when its overlap is above the threshold.
    boxes = [[0, 0, 1, 1], [0, 0, 1, .5]]  # IoU 1 / 2.
    for nms_iou, kept in ((.5, 2), (.4999, 1)):
      found = detection.detect(boxes, [[.9], [.8]], nms_iou=nms_iou)
      self.assertLen(found.scores, kept)

  def test_empty_box_is_kept_once(self):
    found = detection.detect([[.1, .1, .1, .1]], [[.5]])
    self.assertLen(found.scores, 1)


class CurvesTest(parameterized.TestCase):

  @parameterized.parameters(range(8))
  def test_matches_loop_over_ranks(self, seed):
    images, found = fakes.split(
        np.random.default_rng(seed), num_images=15, num_classes=3,
        score_digits=1)  # Many equal scores.
    curves = detection.curves(found, images, num_classes=3)
    for class_id, curve in enumerate(curves):
      hits, num_positives = _hits_by_loop(images, found, class_id)
      expected = precision_recall.from_hits(hits, num_positives)
      self.assertEqual(curve.num_positives, num_positives)
      np.testing.assert_allclose(curve.precision, expected.precision)
      np.testing.assert_allclose(curve.recall, expected.recall)

  def test_worked_by_hand(self):
    left, right = [0, 0, .4, .4], [.5, .5, .9, .9]
    images = [
        fakes.image([left, right], [0, 0], difficult=[0, 1]),
        fakes.image([left], [0]),
    ]
    found = [
        # .9 finds `left`; .8 finds it again: false; .7 is on the difficult
        # object: counts as nothing; .6 is right but of class 1: not here.
        fakes.detections([left, left, right, left], [0, 0, 0, 1],
                         [.9, .8, .7, .6]),
        # .85: IoU of .4 x .4 with .4 x .2 is exactly 1/2: a hit.
        fakes.detections([[0, 0, .4, .2]], [0], [.85]),
    ]
    first, second = detection.curves(found, images, num_classes=2)
    # By score: .9 hit, .85 hit, .8 false; two objects.
    np.testing.assert_allclose(first.precision, [1, 1, 2 / 3])
    np.testing.assert_allclose(first.recall, [1 / 2, 1, 1])
    self.assertEqual(first.num_positives, 2)
    self.assertEqual(second.num_positives, 0)
    np.testing.assert_allclose(second.precision, [0])

  def test_a_repeat_on_a_difficult_object_still_counts_as_nothing(self):
    box = [0, 0, .4, .4]
    found = [fakes.detections([box, box, box], [0, 0, 0], [.9, .8, .7])]
    for flag in ("difficult", "crowd"):
      images = [fakes.image([box], [0], **{flag: [True]})]
      curve, = detection.curves(found, images, num_classes=1)
      self.assertEqual((curve.num_positives, len(curve.recall)), (0, 0))

  def test_images_without_boxes_in_their_source_are_left_out(self):
    images, found = fakes.split(
        np.random.default_rng(0), num_images=6, num_classes=2)
    unknown = records.LabelledImage("x", 9, 9, np.array([0]), np.array([]),
                                    None)
    with_unknown = detection.curves(
        [*found, found[0]], [*images, unknown], num_classes=2)
    for one, other in zip(
        with_unknown, detection.curves(found, images, num_classes=2)):
      np.testing.assert_array_equal(one.precision, other.precision)

  def test_nothing_at_all(self):
    for images in ([], [fakes.image([], [])]):
      found = [fakes.detections([], [], []) for _ in images]
      curve, = detection.curves(found, images, num_classes=1)
      self.assertEqual((curve.num_positives, len(curve.recall)), (0, 0))


if __name__ == "__main__":
  absltest.main()
