"""Boxes: conversions, IoU, flips and NMS, by hand and against loops."""

from absl.testing import absltest
import numpy as np

from kdwsd import boxes


def _random_boxes(count, seed=0):
  corners = np.random.default_rng(seed).uniform(size=[count, 2, 2])
  corners.sort(axis=1)
  return corners.reshape(count, 4).astype(np.float32)


class ConversionTest(absltest.TestCase):

  def test_whole_image_in_inclusive_pixels_is_the_unit_box(self):
    # VOC counts from 1, Caffe from 0; a 10 x 20 image ends at 20, 10 or 19, 9.
    np.testing.assert_allclose(
        boxes.from_inclusive_pixels([[1, 1, 20, 10]], 10, 20, first=1),
        [[0, 0, 1, 1]])
    np.testing.assert_allclose(
        boxes.from_inclusive_pixels([[0, 0, 19, 9]], 10, 20),
        [[0, 0, 1, 1]])

  def test_one_inclusive_pixel_has_the_size_of_a_pixel(self):
    box = boxes.from_inclusive_pixels([[5, 3, 5, 3]], 10, 20)
    # ymin = 3 / 10, xmin = 5 / 20, and a pixel further down and right.
    np.testing.assert_allclose(box, [[0.3, 0.25, 0.4, 0.3]], rtol=1e-6)

  def test_pixel_sizes(self):
    # x = 2, y = 1, 4 wide, 5 high, in an image 10 high and 20 wide.
    np.testing.assert_allclose(
        boxes.from_pixel_sizes([[2, 1, 4, 5]], 10, 20),
        [[0.1, 0.1, 0.6, 0.3]], rtol=1e-6)

  def test_to_pixels_undoes_from_pixel_sizes(self):
    there = boxes.from_pixel_sizes([[2, 1, 4, 5]], 10, 20)
    np.testing.assert_allclose(
        boxes.to_pixels(there, 10, 20), [[1, 2, 6, 6]], rtol=1e-6)

  def test_everything_takes_no_boxes(self):
    none = np.zeros([0, 4])
    self.assertEqual(boxes.from_inclusive_pixels([], 1, 1).shape, (0, 4))
    self.assertEqual(boxes.from_pixel_sizes([], 1, 1).shape, (0, 4))
    self.assertEqual(boxes.to_pixels(none, 1, 1).shape, (0, 4))
    self.assertEqual(boxes.clip(none).shape, (0, 4))
    self.assertEqual(boxes.area(none).shape, (0,))
    self.assertEqual(boxes.flip_left_right(none).shape, (0, 4))
    self.assertEqual(boxes.pairwise_iou(none, _random_boxes(3)).shape, (0, 3))
    self.assertEqual(boxes.pairwise_iou(_random_boxes(3), none).shape, (3, 0))
    self.assertEqual(
        boxes.non_maximum_suppression(none, [], 0.5).shape, (0,))

  def test_clip(self):
    np.testing.assert_allclose(
        boxes.clip([[-0.1, 0.2, 1.5, 0.9]]), [[0, 0.2, 1, 0.9]], rtol=1e-6)


class GeometryTest(absltest.TestCase):

  def test_iou_by_hand(self):
    # Overlap 1/4 x 1/2 = 1/8; union 1/4 + 1/4 - 1/8 = 3/8.
    first = [[0, 0, 0.5, 0.5]]
    second = [[0.25, 0, 0.75, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(
        boxes.pairwise_iou(first, second), [[1 / 3, 0, 1]], rtol=1e-6)

  def test_iou_of_an_empty_box_is_zero(self):
    empty = [[0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_array_equal(boxes.pairwise_iou(empty, empty), [[0]])
    # Corners the wrong way round are empty too, not of positive area.
    self.assertEqual(boxes.area([0.9, 0.9, 0.1, 0.1]), 0)

  def test_overlapping_is_iou_above_a_threshold(self):
    for count in (0, 1, 63, 64, 65, 150):
      some = boxes.to_pixels(_random_boxes(count), 9, 9).round() / 9
      np.testing.assert_array_equal(
          boxes.overlapping(some, 0.25), boxes.pairwise_iou(some, some) > 0.25)

  def test_iou_does_not_change_with_the_unit(self):
    first, second = _random_boxes(7), _random_boxes(5, seed=1)
    np.testing.assert_allclose(
        boxes.pairwise_iou(first, second),
        boxes.pairwise_iou(boxes.to_pixels(first, 30, 70),
                           boxes.to_pixels(second, 30, 70)), rtol=1e-4)

  def test_tensors_give_what_arrays_give(self):
    first, second = _random_boxes(7), _random_boxes(5, seed=1)
    np.testing.assert_allclose(
        boxes.pairwise_iou_tensor(first, second),
        boxes.pairwise_iou(first, second), rtol=1e-5)
    batched = boxes.pairwise_iou_tensor(first[None], second[None])
    self.assertEqual(batched.shape, (1, 7, 5))
    np.testing.assert_allclose(
        boxes.flip_left_right_tensor(first), boxes.flip_left_right(first))

  def test_flip_by_hand_and_twice(self):
    np.testing.assert_allclose(
        boxes.flip_left_right([[0.1, 0.2, 0.5, 0.6]]),
        [[0.1, 0.4, 0.5, 0.8]], rtol=1e-6)
    some = _random_boxes(9)
    np.testing.assert_allclose(
        boxes.flip_left_right(boxes.flip_left_right(some)), some, atol=1e-6)


class NonMaximumSuppressionTest(absltest.TestCase):

  def test_by_hand(self):
    some = [[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2], [0, 0, 1, 0.3]]
    # 1 goes with 0 (IoU 0.9); 2 and 3 overlap 0 by 0.04 and 0.3 only.
    kept = boxes.non_maximum_suppression(some, [0.9, 0.8, 0.1, 0.5], 0.4)
    self.assertEqual(kept.tolist(), [0, 3, 2])

  def test_an_iou_equal_to_the_threshold_stays(self):
    some = [[0, 0, 1, 1], [0, 0, 1, 0.5]]
    self.assertLen(boxes.non_maximum_suppression(some, [1, 0], 0.5), 2)

  def test_equal_scores_keep_the_order_they_came_in(self):
    same = np.tile([[0.1, 0.1, 0.9, 0.9]], [3, 1])
    self.assertEqual(
        boxes.non_maximum_suppression(same, [1, 1, 1], 0.5).tolist(), [0])

  def test_matches_a_loop(self):
    some = _random_boxes(60)
    scores = np.random.default_rng(2).uniform(size=60)
    expected = []
    for candidate in sorted(range(60), key=lambda i: -scores[i]):
      if all(boxes.pairwise_iou(some[kept], some[candidate])[0, 0] <= 0.4
             for kept in expected):
        expected.append(candidate)
    self.assertEqual(boxes.non_maximum_suppression(
        some, scores, 0.4).tolist(), expected)


if __name__ == "__main__":
  absltest.main()
