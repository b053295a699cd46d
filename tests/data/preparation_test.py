"""Tests of kdwsd.data.preparation: where annotated boxes come to lie."""

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import images
from kdwsd.data import preparation
from kdwsd.data import sources


class TruthBoxesTest(tf.test.TestCase):

  def _boxes(self, edges, frame, orientation=1, upright=(20, 10)):
    image = images.DecodedImage(
        np.zeros([*upright, 3], np.uint8), b"", orientation)
    rows = [(edges, 0, False, False)]
    return preparation.truth_boxes(
        sources.Item("x.jpg", "x", (0,), where="a.xml",
                     objects=sources.objects_of(rows, frame)), image)

  def test_upright_annotation_of_a_turned_image(self):
    for orientation in (1, 3, 6):
      self.assertAllClose(
          self._boxes([0, 0, 10, 5], (20, 10), orientation), [[0, 0, .5, .5]])

  def test_annotation_of_the_stored_image_is_turned(self):
    # Stored 10 high and 20 wide; clockwise, its left edge becomes the top and
    # its top the right.
    self.assertAllClose(self._boxes([0, 0, 4, 5], (10, 20), orientation=6),
                        [[0, .6, .25, 1]])

  def test_exchanged_sides_are_pixels_of_the_image(self):
    self.assertAllClose(self._boxes([0, 0, 20, 10], (10, 20)), [[0, 0, 1, 1]])

  def test_no_frame(self):
    self.assertAllClose(self._boxes([0, 0, 20, 5], None), [[0, 0, 1, .5]])

  def test_hair_outside_is_clipped(self):
    self.assertAllClose(self._boxes([-1, 0, 21, 12], None), [[0, 0, 1, 1]])

  def test_other_size_and_outside(self):
    with self.assertRaisesRegex(errors.InputError, "a.xml: x.jpg: .*30 x 20"):
      self._boxes([0, 0, 1, 1], (20, 30))
    with self.assertRaisesRegex(errors.InputError, "10 x 20 .*object 1"):
      self._boxes([0, 0, 23, 5], None)


if __name__ == "__main__":
  tf.test.main()
