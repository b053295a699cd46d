"""Tests of kdwsd.data.annotated_boxes: where annotated boxes come to lie."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd.data import annotated_boxes
from kdwsd.data import images
from kdwsd.data import sources


def _place(edges, frame, orientation=1, upright=(20, 10), **objects):
  """Places boxes, of classes 0, 1, ..., in an image of `upright` pixels."""
  image = images.DecodedImage(
      np.zeros([*upright, 3], np.uint8), b"", orientation)
  rows = [(box, i, False, False) for i, box in enumerate(edges)]
  return annotated_boxes.place(
      sources.Item("x.jpg", "x", (0,), where="a.xml",
                   objects=sources.objects_of(rows, frame, **objects)), image)


class PlaceTest(parameterized.TestCase):

  @parameterized.parameters(1, 3, 6)
  def test_upright_annotation_of_a_turned_image(self, orientation):
    placed = _place([[0, 0, 10, 5]], (20, 10), orientation)
    np.testing.assert_allclose(placed.boxes, [[0, 0, .5, .5]])
    np.testing.assert_array_equal(placed.kept, [0])
    self.assertEqual((placed.clipped, placed.dropped, placed.scaled), (0, 0, 0))
    self.assertEqual(placed.fault, "")

  def test_annotation_of_the_stored_image_is_turned(self):
    # Stored 10 high and 20 wide; clockwise, its left edge becomes the top and
    # its top the right.
    placed = _place([[0, 0, 4, 5]], (10, 20), orientation=6)
    np.testing.assert_allclose(placed.boxes, [[0, .6, .25, 1]], rtol=1e-6)

  def test_exchanged_sides_are_pixels_of_the_image(self):
    placed = _place([[0, 0, 20, 10]], (10, 20))
    np.testing.assert_allclose(placed.boxes, [[0, 0, 1, 1]])

  def test_no_frame(self):
    placed = _place([[0, 0, 20, 5]], None)
    np.testing.assert_allclose(placed.boxes, [[0, 0, 1, .5]])

  def test_less_than_half_a_pixel_is_rounding(self):
    placed = _place([[-.4, 0, 20.4, 5]], None)
    np.testing.assert_allclose(placed.boxes, [[0, 0, 1, .5]])
    self.assertEqual((placed.clipped, placed.fault), (0, ""))

  @parameterized.parameters(1, 3, 400)
  def test_what_sticks_out_is_clipped_and_counted(self, pixels):
    placed = _place([[5, 2, 10, 5], [-pixels, 2.5, 20, 10 + pixels]], (20, 10))
    np.testing.assert_allclose(
        placed.boxes, [[.25, .2, .5, .5], [0, .25, 1, 1]])
    self.assertEqual((placed.clipped, placed.dropped), (1, 0))
    self.assertEqual(
        placed.fault, "a.xml: x.jpg: object 2 with edges ymin, xmin, ymax, "
        f"xmax = [{-pixels}.0, 2.5, 20.0, {10 + pixels}.0] in 10 x 20 pixels")

  @parameterized.parameters(
      [[20, 0, 25, 5]], [[0, -9, 5, -3]], [[4, 4, 4, 9]], [[9, 1, 4, 2]],
      [[20.3, 0, 20.4, 5]])
  def test_no_part_in_the_image_or_no_area_is_dropped_and_counted(self, box):
    placed = _place([box, [0, 0, 10, 5], box], (20, 10))
    np.testing.assert_allclose(placed.boxes, [[0, 0, .5, .5]])
    np.testing.assert_array_equal(placed.kept, [1])
    self.assertEqual((placed.clipped, placed.dropped), (0, 2))
    self.assertIn("object 1 with edges", placed.fault)

  def test_an_image_without_any_box_left_has_unknown_objects(self):
    placed = _place([[20, 0, 25, 5]], (20, 10))
    self.assertIsNone(placed.boxes)
    self.assertEmpty(placed.kept)
    self.assertEqual(placed.dropped, 1)
    # What the source dropped counts alike, and its words come first.
    placed = _place([], (20, 10), dropped=2, fault="object 1: no area")
    self.assertIsNone(placed.boxes)
    self.assertEqual((placed.dropped, placed.fault),
                     (2, "a.xml: x.jpg: object 1: no area"))
    placed = _place([[0, 0, 10, 5]], (20, 10), dropped=2, fault="no area")
    self.assertLen(placed.boxes, 1)
    self.assertEqual(placed.dropped, 2)

  def test_no_object_stays_none(self):
    for frame in (None, (20, 10), (21, 99)):
      placed = _place([], frame)
      self.assertEqual(placed.boxes.shape, (0, 4))
      self.assertEqual((placed.dropped, placed.fault), (0, ""))

  @parameterized.parameters(((40, 20), 2), ((10, 5), .5), ((39, 20), 1.96))
  def test_annotation_of_the_image_in_another_size_is_scaled(
      self, frame, factor):
    placed = _place([[0, 0, 10 * factor, 5 * factor]], frame)
    np.testing.assert_allclose(placed.boxes, [[0, 0, .5, .5]], atol=.01)
    self.assertEqual((placed.scaled, placed.clipped, placed.dropped), (1, 0, 0))
    self.assertEqual(
        placed.fault, "a.xml: x.jpg: annotated as "
        f"{frame[1]} x {frame[0]} pixels, but 10 x 20")

  @parameterized.parameters(
      (20, 30),   # Of another shape.
      (40, 26),
      (4, 2))     # Boxes that lie outside of what they were made for.
  def test_annotation_of_another_image_loses_its_boxes(self, *frame):
    placed = _place([[0, 0, 9, 1], [0, 0, 1, 1]], frame)
    self.assertIsNone(placed.boxes)
    self.assertEqual((placed.scaled, placed.dropped), (0, 2))
    self.assertIn(f"annotated as {frame[1]} x {frame[0]} pixels, but 10 x 20",
                  placed.fault)


if __name__ == "__main__":
  absltest.main()
