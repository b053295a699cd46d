import contextlib
import io

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from pycocotools import coco as pycoco
from pycocotools import cocoeval

from kdwsd.data import records
from kdwsd.evaluation import coco
from tests.evaluation import fakes


def _all_at_once(images, found, num_classes):
  """The 12 numbers by pycocotools as its own demo calls it."""
  annotations, results = [], []
  for index, (image, detected) in enumerate(zip(images, found), start=7):
    for box, class_id, crowd in zip(
        image.truth.boxes * 100.0, image.truth.class_ids, image.truth.crowd):
      ymin, xmin, ymax, xmax = map(float, box)
      annotations.append({
          "id": len(annotations) + 1, "image_id": index,
          "category_id": int(class_id) + 1, "iscrowd": int(crowd),
          "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
          "area": (xmax - xmin) * (ymax - ymin)})
    for box, class_id, score in zip(
        detected.boxes * 100.0, detected.class_ids, detected.scores):
      ymin, xmin, ymax, xmax = map(float, box)
      results.append({
          "image_id": index, "category_id": int(class_id) + 1,
          "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
          "score": float(score)})
  with contextlib.redirect_stdout(io.StringIO()):
    truth = pycoco.COCO()
    truth.dataset = {
        "images": [{"id": 7 + i} for i in range(len(images))],
        "annotations": annotations,
        "categories": [{"id": i + 1} for i in range(num_classes)]}
    truth.createIndex()
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return evaluation.stats


class CocoTest(parameterized.TestCase):

  @parameterized.parameters((0, 0.0), (1, 0.3), (2, 0.3))
  def test_class_by_class_is_all_at_once(self, seed, crowd):
    images, found = fakes.split(
        np.random.default_rng(seed), num_images=12, num_classes=4, crowd=crowd,
        difficult=0.0, score_digits=2)
    numbers = coco.twelve_numbers(found, images, num_classes=5)
    expected = _all_at_once(images, found, num_classes=5)
    self.assertEqual(tuple(numbers), coco.NAMES)
    self._assert_equal(numbers, expected)

  def _assert_equal(self, numbers, expected):
    for (name, value), number in zip(numbers.items(), expected):
      if number < 0:
        self.assertTrue(np.isnan(value), name)
      else:
        self.assertAlmostEqual(value, number, msg=name)

  def test_more_than_100_detections_an_image_are_all_at_once(self):
    # Two classes, of which each has 100 detections or fewer in an image, and
    # the image more than 100: all of them count.
    random = np.random.default_rng(3)
    images, found = [], []
    for _ in range(3):
      corners = random.uniform(0, .6, [160, 2])
      boxes = np.hstack([corners, corners + random.uniform(.1, .4, [160, 2])])
      class_ids = np.repeat([0, 1], 80)
      scores = np.sort(random.uniform(size=160))[::-1]
      images.append(fakes.image(boxes[-10:], class_ids[-10:]))
      found.append(fakes.detections(boxes, class_ids, scores))
    numbers = coco.twelve_numbers(found, images, num_classes=2)
    expected = _all_at_once(images, found, num_classes=2)
    self.assertAlmostEqual(numbers["AR100"], 1.0)  # The worst 10 are the hits.
    self._assert_equal(numbers, expected)

  @parameterized.parameters((99, 1.0), (100, 0.0))
  def test_the_101st_of_a_class_in_an_image_does_not_count(self, num, recall):
    # `num` misses at one spot, better than the one hit at another.
    boxes = [[.5, .5, .9, .9]] * num + [[0, 0, .4, .4]]
    scores = np.linspace(.9, .1, num + 1)
    numbers = coco.twelve_numbers(
        [fakes.detections(boxes, [0] * (num + 1), scores)],
        [fakes.image([[0, 0, .4, .4]], [0])], num_classes=1)
    self.assertAlmostEqual(numbers["AR100"], recall)

  def test_an_image_without_known_boxes_is_left_out(self):
    images, found = fakes.split(
        np.random.default_rng(1), num_images=6, num_classes=2, difficult=0.0)
    expected = coco.twelve_numbers(found, images, num_classes=2)
    unknown = records.LabelledImage(
        "x", 100, 100, np.array([0]), np.array([]), None)
    images.insert(2, unknown)
    found.insert(2, found[0])
    np.testing.assert_equal(
        coco.twelve_numbers(found, images, num_classes=2), expected)

  def test_worked_by_hand(self):
    # A 40 x 40 pixel object and a detection of its left 32 columns: IoU 0.8,
    # found at thresholds .5, .55, ... .75 and, by COCO's >=, perhaps .8 (the
    # quotient is a rounding error away), so take 33 columns: IoU 0.825, found
    # at 7 of the 10 thresholds. 33 x 40 and 40 x 40 are both medium.
    images = [fakes.image([[0, 0, .4, .4]], [0])]
    found = [fakes.detections([[0, 0, .4, .33]], [0], [.9])]
    numbers = coco.twelve_numbers(found, images, num_classes=1)
    self.assertAlmostEqual(numbers["AP"], 0.7)
    self.assertAlmostEqual(numbers["AP50"], 1.0)
    self.assertAlmostEqual(numbers["APm"], 0.7)
    self.assertAlmostEqual(numbers["AR1"], 0.7)
    self.assertTrue(np.isnan(numbers["APs"]))

  def test_prints_nothing(self):
    images, found = fakes.split(
        np.random.default_rng(0), num_images=3, num_classes=2)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
      coco.twelve_numbers(found, images, num_classes=2)
    self.assertEmpty(printed.getvalue())

  def test_no_detection_is_zero_and_no_object_is_nan(self):
    nothing = fakes.detections([], [], [])
    numbers = coco.twelve_numbers(
        [nothing], [fakes.image([[0, 0, .4, .4]], [0])], num_classes=1)
    self.assertEqual(numbers["AP"], 0.0)
    unknown = records.LabelledImage(
        "x", 9, 9, np.array([0]), np.array([]), None)
    numbers = coco.twelve_numbers([nothing], [unknown], num_classes=1)
    self.assertTrue(np.isnan(list(numbers.values())).all())


if __name__ == "__main__":
  absltest.main()
