from absl.testing import absltest
import numpy as np

from kdwsd.data import records
from kdwsd.evaluation import inference
from kdwsd.evaluation import localization
from tests.evaluation import fakes

_LEFT, _RIGHT, _FAR = [0, 0, .4, .4], [.5, .5, .9, .9], [0, .9, .1, 1]


def _prediction(boxes, scores, objectness=None):
  boxes = np.float32(boxes).reshape(-1, 4)
  if objectness is None:
    objectness = np.ones([len(boxes)])
  return inference.Prediction(
      np.zeros([3], np.float32), boxes, np.float32(scores).reshape(-1, 3),
      np.float32(objectness))


class CorLocTest(absltest.TestCase):

  def test_worked_by_hand(self):
    boxes = [_LEFT, _RIGHT, _FAR]
    best_is = {"left": 0, "right": 1, "far": 2}

    def top(*names):
      """The proposal that scores best for each class."""
      scores = np.zeros([3, 3])
      for class_id, name in enumerate(names):
        scores[best_is[name], class_id] = 1.0
      return _prediction(boxes, scores)

    counts = localization.CorLoc(3)
    for image, prediction in (
        (fakes.image([_LEFT, _RIGHT], [0, 0]), top("right", "far", "far")),
        (fakes.image([_LEFT], [0]), top("far", "far", "far")),
        # Difficult objects and crowds are not found, and do not count alone.
        (fakes.image([_LEFT, _RIGHT], [0, 0], difficult=[0, 1]),
         top("right", "far", "far")),
        (fakes.image([_RIGHT], [1]), top("right", "right", "far")),
        (fakes.image([_RIGHT], [1], difficult=[1]),
         top("right", "right", "far")),
        (fakes.image([_RIGHT], [1], crowd=[1]), top("right", "right", "far")),
        (records.LabelledImage(
            "x", 9, 9, np.array([0]), np.array([]), None),
         top("left", "left", "left"))):
      counts.add(prediction, image)
    np.testing.assert_allclose(counts.shares(), [1 / 3, 1 / 1, np.nan])
    self.assertEqual(counts.counted.tolist(), [3, 1, 0])

  def test_baselines_by_hand(self):
    images = [
        # IoU with the whole image .9 x .9 = .81, and .64 / .81 with the
        # centred box, which lies inside: both find it.
        fakes.image([[.05, .05, .95, .95]], [0]),
        # In the middle, .6 x .6: .36 of the image, .36 / .64 of the centred
        # box: only that finds it.
        fakes.image([[.2, .2, .8, .8]], [0]),
        # Small: only proposals can find it. Here the one with the higher
        # objectness does not.
        fakes.image([_LEFT], [0]),
        # Here it does.
        fakes.image([_LEFT], [0]),
    ]
    counts = localization.CorLoc(3)
    for image, objectness in zip(images, (
        [0.1, 0.2], [0.1, 0.2], [0.1, 0.2], [0.2, 0.1])):
      counts.add(_prediction([_LEFT, _FAR], np.zeros([2, 3]), objectness),
                 image)
    for name, share in (("whole_image", 1 / 4), ("centred_box", 2 / 4),
                        ("best_objectness", 1 / 4), ("best_proposal", 2 / 4)):
      np.testing.assert_allclose(
          counts.shares(name), [share, np.nan, np.nan], err_msg=name)

  def test_half_of_an_object_finds_it_whatever_the_rounding(self):
    # Pixels 5 to 15 of 100, and 5 to 10: in float32 the IoU is below 1/2.
    counts = localization.CorLoc(3)
    counts.add(_prediction([[.05, .1, .10, .7]], np.ones([1, 3])),
               fakes.image([[.05, .1, .15, .7]], [0]))
    counts.add(_prediction([[.05, .1, .099, .7]], np.ones([1, 3])),
               fakes.image([[.05, .1, .15, .7]], [1]))
    np.testing.assert_allclose(counts.shares(), [1, 0, np.nan])

  def test_kinds_of_boxes_by_hand(self):
    two = np.float32([[.1, .1, .3, .3], [.1, .4, .3, .6]])
    for box, kind in (
        ([.1, .1, .3, .32], "hit"), ([.1, .1, .3, .6], "group"),
        ([.1, .1, .15, .15], "part"), ([0, 0, .35, .35], "around"),
        ([.5, .5, .9, .9], "elsewhere"), ([.25, .25, .5, .5], "elsewhere"),
        ([0, 0, 0, 0], "elsewhere")):
      self.assertEqual(localization.kind(np.float32(box), two), kind, box)

  def test_examples_are_the_first_of_the_split(self):
    counts = localization.CorLoc(3)
    for position in (7, 3, 9, 1, 8, 5):
      counts.add(_prediction([_FAR, _LEFT], [[1, 0, 0], [0, 0, 0]]),
                 fakes.image([_LEFT], [0]), position)
    counts.add(_prediction([_LEFT], np.ones([1, 3])),
               fakes.image([_LEFT], [0]), 2)
    self.assertEqual(counts.kinds, {
        "hit": 1, "group": 0, "part": 0, "around": 0, "elsewhere": 6})
    elsewhere = counts.examples["elsewhere"]
    self.assertEqual([one.position for one in elsewhere], [1, 3, 5, 7])
    self.assertEqual((elsewhere[0].iou, elsewhere[0].best_iou), (0.0, 1.0))
    np.testing.assert_array_equal(elsewhere[0].box, np.float32(_FAR))
    np.testing.assert_array_equal(
        elsewhere[0].best_proposal, np.float32(_LEFT))

  def test_of_equal_scores_the_first_box_counts(self):
    counts = localization.CorLoc(3)
    counts.add(_prediction([_LEFT, _FAR], np.ones([2, 3])),
               fakes.image([_LEFT], [0]))
    self.assertEqual(counts.shares()[0], 1.0)

  def test_without_proposals_nothing_is_found(self):
    counts = localization.CorLoc(3)
    counts.add(_prediction([], []), fakes.image([_LEFT], [0]))
    for name in ("detector", "best_objectness", "best_proposal"):
      self.assertEqual(counts.shares(name)[0], 0.0)
    self.assertEqual(counts.counted.tolist(), [1, 0, 0])


if __name__ == "__main__":
  absltest.main()
