"""Tests of contact sheets: pixels where boxes and texts are."""

import os

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.evaluation import contact_sheets
from kdwsd.evaluation import pictures


def _grey(height=40, width=60):
  return np.full([height, width, 3], 128, np.uint8)


def _overlay(boxes, caption="", **style):
  return contact_sheets.Overlay(
      np.array(boxes, np.float32).reshape(-1, 4),
      ((255, 0, 0),) * len(boxes), (caption,) * len(boxes), **style)


def _draw(image, overlays, pixels):
  """What a contact sheet shows of one image."""
  sheet = contact_sheets.contact_sheet(
      [contact_sheets.Tile(image, tuple(overlays))], tile_pixels=pixels)
  width = round(pixels * image.shape[1] / max(image.shape[:2]))
  return sheet[8:-8, 8:8 + width]


class OverlayTest(parameterized.TestCase, tf.test.TestCase):

  def test_lines_lie_just_inside_the_box(self):
    # Rows 10 to 20 and columns 15 to 45: the last pixels inside are 19, 44.
    drawn = _draw(_grey(), [_overlay([[0.25, 0.25, 0.5, 0.75]], width=1)], 60)
    rows, columns = np.nonzero(np.any(drawn != 128, axis=2))
    self.assertEqual((rows.min(), rows.max()), (10, 19))
    self.assertEqual((columns.min(), columns.max()), (15, 44))
    self.assertAllEqual(drawn[12:18, 17:42], _grey()[12:18, 17:42])

  def test_scaled_first_drawn_after(self):
    drawn = _draw(_grey(), [_overlay([[0.25, 0.25, 0.5, 0.75]], width=1)], 120)
    self.assertEqual(drawn.shape, (80, 120, 3))
    red = np.all(drawn == (255, 0, 0), axis=2)
    # One pixel wide, not two.
    self.assertEqual(np.count_nonzero(red[30]), 2)

  @parameterized.parameters(False, True)
  def test_any_box_and_image_can_be_drawn(self, dashed):
    boxes = [[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [0.9, 0.9, 1, 1]]
    for image, shape in ((_grey(), (40, 60, 3)), (_grey(1, 1), (60, 60, 3)),
                         (_grey(3, 200), (1, 60, 3))):
      plain = _draw(image, [], 60)
      self.assertAllEqual(np.unique(plain), [128])
      drawn = _draw(
          image, [_overlay(boxes, "name", dashed=dashed, width=3)], 60)
      self.assertEqual(drawn.shape, shape)
      self.assertNotAllEqual(drawn, plain)

  def test_dashes_are_of_two_colours(self):
    drawn = _draw(_grey(), [_overlay([[0, 0, 1, 1]], width=2, dashed=True)], 60)
    for line in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
      colours = {tuple(colour) for colour in line.tolist()}
      self.assertContainsSubset([(255, 0, 0), (0, 0, 0)], colours)

  def test_no_box_changes_nothing(self):
    for overlay in (pictures.truth_overlay(None, ()),
                    pictures.proposal_overlay(np.zeros([0, 4]))):
      self.assertAllEqual(_draw(_grey(), [overlay], 60), _grey())

  def test_captions_stay_inside_the_picture(self):
    for box in ([0.9, 0.9, 1, 1], [0, 0, 0.1, 0.1], [0, 0.5, 1, 1]):
      sheet = contact_sheets.contact_sheet([contact_sheets.Tile(
          _grey(100, 100), (_overlay([box], "name " * 9),))], tile_pixels=100)
      inside = np.zeros(sheet.shape[:2], bool)
      inside[8:108, 8:108] = True
      self.assertAllEqual(np.unique(sheet[~inside]), [255])
      self.assertGreater(
          np.count_nonzero(np.all(sheet == (255, 0, 0), axis=2)), 300)

  def test_the_image_given_is_left_alone(self):
    image = _grey()
    _draw(image, [_overlay([[0, 0, 1, 1]], "name")], 60)
    self.assertAllEqual(image, _grey())


class SheetTest(parameterized.TestCase, tf.test.TestCase):

  @parameterized.parameters((0, 1), (1, 1), (3, 2), (5, 3))
  def test_size(self, count, columns):
    tile = contact_sheets.Tile(_grey(), (), ("a line", "another"))
    sheet = contact_sheets.contact_sheet([tile] * count, tile_pixels=100)
    self.assertEqual(sheet.shape[1], 8 + columns * 108)
    self.assertEqual(sheet.dtype, np.uint8)

  def test_long_lines_are_cut(self):
    def sheet(line):
      return contact_sheets.contact_sheet(
          [contact_sheets.Tile(_grey(), (), (line,))], tile_pixels=100)
    long = sheet("name " * 50)
    self.assertAllEqual(long[:, -7:], sheet("")[:, -7:])
    self.assertNotAllEqual(long, sheet(""))

  def test_names_of_any_script_can_be_drawn(self):
    contact_sheets.contact_sheet([
        contact_sheets.Tile(_grey(), (), ("chaise longue é Ж",))])

  def test_png_holds_the_pixels(self):
    path = os.path.join(self.get_temp_dir(), "new", "sheet.png")
    image = np.random.default_rng(0).integers(0, 255, [9, 7, 3], np.uint8)
    contact_sheets.write_png(path, image)
    self.assertAllEqual(np.asarray(Image.open(path)), image)
    self.assertEqual(os.listdir(os.path.dirname(path)), ["sheet.png"])


if __name__ == "__main__":
  tf.test.main()
