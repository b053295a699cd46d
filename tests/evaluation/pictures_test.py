"""Tests of pictures: pixels where boxes are, sheets of records."""

import os

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import pictures
from tests.data import fake_records


def _grey(height=40, width=60):
  return np.full([height, width, 3], 128, np.uint8)


def _overlay(boxes, caption="", **style):
  return pictures.Overlay(
      np.array(boxes, np.float32).reshape(-1, 4),
      ((255, 0, 0),) * len(boxes), (caption,) * len(boxes), **style)


def _draw(image, overlays, pixels):
  """What a contact sheet shows of one image."""
  sheet = pictures.contact_sheet(
      [pictures.Tile(image, tuple(overlays))], tile_pixels=pixels)
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
      sheet = pictures.contact_sheet([pictures.Tile(
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

  def test_the_best_proposal_lies_on_top(self):
    overlay = pictures.proposal_overlay([[0, 0, 1, 1], [0, 0, 0.5, 0.5]])
    self.assertAllEqual(overlay.boxes[-1], [0, 0, 1, 1])
    self.assertGreater(overlay.colours[-1][0], overlay.colours[0][0])

  def test_captions_name_flags_and_scores(self):
    truth = records.Truth(
        np.zeros([2, 4]), np.array([0, 1]), np.array([True, False]),
        np.array([False, True]))
    self.assertEqual(pictures.truth_overlay(truth, ["cat", "dog"]).captions,
                     ("cat difficult", "dog crowd"))
    self.assertEqual(
        pictures.detection_overlay(
            np.zeros([2, 4]), [1, 0], [0.75, 0.5], ["cat", "dog"]).captions,
        ("cat 0.50", "dog 0.75"))


class SheetTest(parameterized.TestCase, tf.test.TestCase):

  @parameterized.parameters((0, 1), (1, 1), (3, 2), (5, 3))
  def test_size(self, count, columns):
    tile = pictures.Tile(_grey(), (), ("a line", "another"))
    sheet = pictures.contact_sheet([tile] * count, tile_pixels=100)
    self.assertEqual(sheet.shape[1], 8 + columns * 108)
    self.assertEqual(sheet.dtype, np.uint8)

  def test_long_lines_are_cut(self):
    def sheet(line):
      return pictures.contact_sheet(
          [pictures.Tile(_grey(), (), (line,))], tile_pixels=100)
    long = sheet("name " * 50)
    self.assertAllEqual(long[:, -7:], sheet("")[:, -7:])
    self.assertNotAllEqual(long, sheet(""))

  def test_names_of_any_script_can_be_drawn(self):
    pictures.contact_sheet([pictures.Tile(_grey(), (), ("chaise longue é Ж",))])

  def test_png_holds_the_pixels(self):
    path = os.path.join(self.get_temp_dir(), "new", "sheet.png")
    image = np.random.default_rng(0).integers(0, 255, [9, 7, 3], np.uint8)
    pictures.write_png(path, image)
    self.assertAllEqual(np.asarray(Image.open(path)), image)
    self.assertEqual(os.listdir(os.path.dirname(path)), ["sheet.png"])


class RecordsTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self._set = fake_records.write(self.get_temp_dir(), "train", 5)

  def test_reads_a_stretch_with_its_truth(self):
    everything = records.read_labelled_images(self._set.paths)
    for first, count, expected in (
        (0, 2, [0, 1]), (3, 9, [3, 4]), (5, 1, []), (0, 0, [])):
      found = list(pictures.read(self._set, range(first, first + count)))
      self.assertEqual([position for position, _, _, _ in found], expected)
      for position, image, proposals, about in found:
        self.assertEqual(about.image_id, everything[position].image_id)
        self.assertAllEqual(
            about.truth.boxes, everything[position].truth.boxes)
        self.assertEqual(image.shape, (about.height, about.width, 3))
        self.assertEqual(proposals.shape[1], 4)

  def test_reads_over_shards(self):
    twice = record_files.RecordSet(
        self._set.directory, "train", self._set.paths * 2, self._set.card)
    ids = [about.image_id for _, _, _, about in pictures.read(
        twice, range(3, 7))]
    every = [i.image_id for i in records.read_labelled_images(self._set.paths)]
    self.assertEqual(ids, [every[3], every[4], every[0], every[1]])

  def test_reads_chosen_records_over_shards(self):
    twice = record_files.RecordSet(
        self._set.directory, "train", self._set.paths * 2, self._set.card)
    one_by_one = list(pictures.read(twice, range(10)))
    self.assertLen(one_by_one, 10)
    found = list(pictures.read(twice, [7, 1, 10, 4]))
    # There is no record 10.
    self.assertEqual([position for position, _, _, _ in found], [1, 4, 7])
    for position, image, _, about in found:
      self.assertAllEqual(image, one_by_one[position][1])
      self.assertEqual(about.image_id, one_by_one[position][3].image_id)

  def test_record_sheet(self):
    sheet = pictures.record_sheet(
        self._set, num_images=3, num_proposals=2, tile_pixels=96)
    self.assertEqual(sheet.shape[1], 8 + 2 * 104)

  def test_only_good_detections_are_drawn(self):
    box = np.array([[0.1, 0.1, 0.9, 0.9]], np.float32)
    def sheet(boxes, scores):
      found = detection.Detections(
          np.reshape(boxes, [-1, 4]), np.zeros(len(scores), np.int32),
          np.array(scores, np.float32))
      return pictures.detection_sheet(
          self._set, [found], num_images=1, tile_pixels=96)
    strong = sheet(box, [0.8])
    self.assertAllEqual(sheet([box, box * 0.5], [0.8, 0.1]), strong)
    self.assertNotAllEqual(sheet([box, box * 0.5], [0.8, 0.7]), strong)
    self.assertNotAllEqual(sheet([], []), strong)


if __name__ == "__main__":
  tf.test.main()
