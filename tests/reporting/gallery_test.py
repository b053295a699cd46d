"""Tests of the gallery: which images, and what is right."""

import io

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.data import records
from kdwsd.evaluation import prediction_files
from kdwsd.reporting import gallery
from tests.data import fake_records
from tests.training import fake_chain


class ChooseTest(parameterized.TestCase):

  def test_half_disagree_most_and_the_rest_is_evenly_spaced(self):
    first = np.zeros([20, 2])
    second = np.zeros([20, 2])
    second[7], second[3], second[11] = (.3, .3), (-.5, .0), (.0, .55)
    chosen = gallery.choose(first, second, count=6)
    self.assertEqual(chosen[:3], [(7, "disagree"), (11, "disagree"),
                                  (3, "disagree")])
    # 17 others; places 17 * (0.5, 1.5, 2.5) / 3 = 2, 8, 14 among them.
    others = [i for i in range(20) if i not in (3, 7, 11)]
    self.assertEqual(chosen[3:], [(others[i], "spaced") for i in (2, 8, 14)])

  @parameterized.parameters((0, 0), (1, 1), (5, 5), (12, 12), (40, 12))
  def test_no_image_comes_twice(self, count, expected):
    scores = np.random.default_rng(0).random([2, count, 3])
    for second in (scores[1], None):
      chosen = [i for i, _ in gallery.choose(scores[0], second)]
      self.assertLen(set(chosen), expected)
      self.assertLen(chosen, expected)
      self.assertTrue(all(0 <= i < count for i in chosen))


class MakeTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.records = fake_records.write(self.get_temp_dir(), "test", 14)
    images = records.read_labelled_images(self.records.paths)
    self.predictions = {
        stage: prediction_files.from_results(
            fake_chain.results(stage, images))
        for stage in ("cls", "wsd", "kd_prediction")}

  def _make(self, predictions, **options):
    return gallery.make(
        self.records, predictions, fake_records.CLASSES, **options)

  def test_right_and_wrong_by_the_labels(self):
    for picture in self._make(self.predictions):
      index = int(picture.image_id)
      label = fake_records.CLASSES[index % 3]
      self.assertEqual(picture.labels, [label])
      self.assertEqual(list(picture.guesses), ["cls", "kd_prediction"])
      for guesses in picture.guesses.values():
        self.assertEqual([guess.right for guess in guesses],
                         [guess.name == label for guess in guesses])
        self.assertEqual([guess.probability for guess in guesses],
                         [.75, .125, .125])
      self.assertFalse(picture.guesses["cls"][0].right)
      self.assertEqual(picture.guesses["kd_prediction"][0].right, index < 10)
      if picture.why == gallery.DISAGREE:
        self.assertLess(index, 10)

  def test_pictures_are_those_of_the_ids(self):
    for picture in self._make(self.predictions):
      pixels = np.asarray(Image.open(io.BytesIO(picture.jpeg)), np.int32)
      self.assertEqual(pixels.shape[:2], (picture.height, picture.width))
      # The square of the fakes is of the label's colour.
      coloured = pixels.max(axis=2) - pixels.min(axis=2) > 100
      self.assertEqual(pixels[coloured].mean(axis=0).argmax(),
                       fake_records.CLASSES.index(picture.labels[0]))
      best, second = picture.boxes
      self.assertEqual((best.name, best.score), (picture.labels[0], .5))
      self.assertEqual((second.name, second.score), ("red", .25))

  def test_unknown_labels_are_neither_right_nor_wrong(self):
    labels = self.predictions["cls"].labels
    labels[:] = -1
    for picture in self._make({"cls": self.predictions["cls"]}):
      self.assertEqual([guess.right for guess in picture.guesses["cls"]],
                       [None] * 3)
      self.assertEqual(picture.labels, [])

  def test_without_a_teacher_there_are_no_boxes(self):
    del self.predictions["wsd"]
    self.assertIsNone(self._make(self.predictions)[0].boxes)

  def test_a_teacher_alone_is_shown(self):
    made = self._make({"wsd": self.predictions["wsd"]}, count=2)
    self.assertEqual([list(p.guesses) for p in made], [["wsd"]] * 2)
    self.assertEqual({p.why for p in made}, {gallery.SPACED})

  def test_other_records_are_noticed(self):
    self.predictions["cls"].image_ids[:] = "other"
    self.assertIsNone(self._make(self.predictions))

  def test_thumbnails_are_never_larger_than_the_image(self):
    for shape, size in (((100, 640, 3), (320, 50)), ((40, 30, 3), (30, 40)),
                        ((1, 2000, 3), (320, 1))):
      jpeg, got = gallery.thumbnail(np.zeros(shape, np.uint8))
      self.assertEqual(got, size)
      self.assertEqual(Image.open(io.BytesIO(jpeg)).size, size)


if __name__ == "__main__":
  tf.test.main()
