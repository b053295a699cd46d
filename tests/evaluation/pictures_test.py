"""Tests of pictures: overlays, and sheets of records."""

import numpy as np
import tensorflow as tf

from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import pictures
from tests.data import fake_records


class OverlayTest(tf.test.TestCase):

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


class NamesTest(tf.test.TestCase):

  def test_of_many_unknown_labels_some_are_named(self):
    classes = [f"c{number}" for number in range(50)]
    about = records.LabelledImage(
        "x", 9, 9, np.array([49]), np.arange(30))
    names = pictures._names(about, classes)
    self.assertStartsWith(names, "c49, (c0?), (c1?)")
    self.assertEndsWith(names, "(c19?), 10 more")
    about = records.LabelledImage("x", 9, 9, np.array([1]), np.arange(2))
    self.assertEqual(pictures._names(about, classes), "c1, (c0?), (c1?)")


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
