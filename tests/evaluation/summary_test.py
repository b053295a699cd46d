import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.data import records
from kdwsd.evaluation import device_batches
from kdwsd.evaluation import inference
from kdwsd.evaluation import metrics as metrics_lib
from kdwsd.evaluation import summary
from kdwsd.evaluation import table
from tests.data import fake_records
from tests.evaluation import fakes


def _oracle(batch):
  """Knows colours: the last proposal of the fakes is the object itself."""
  label = tf.argmax(tf.reduce_mean(batch["image"], axis=(1, 2)), axis=1)
  image_scores = 0.9 * tf.one_hot(label, 3)                       # [B, 3]
  num_valid = tf.reduce_sum(tf.cast(batch["valid"], tf.int32), axis=1)
  is_object = tf.one_hot(num_valid - 1, tf.shape(batch["valid"])[1])
  return {"image_scores": image_scores,
          "proposal_scores": is_object[..., None] * image_scores[:, None]}


def _results(predictions, images, **options):
  return metrics_lib.collect(predictions, images, num_classes=2, **options)


class MeasureTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.directory = directory.name
    self.records = fake_records.write(self.directory, "test", 61)
    self.options = {"sizes": (32,), "num_proposals": 8, "batch_size": 8,
                    "progress": False}

  def test_an_oracle_gets_full_marks(self):
    metrics, _ = summary.measure(
        _oracle, self.records, corloc=True, coco=True, **self.options)
    for group, names in (
        ("classification", ("map", "voc07_map", "map_area", "map_frequent")),
        ("detection", ("map", "voc07_map", "map_area", "voc07_map_frequent")),
        ("corloc", ("corloc", "corloc_frequent")),
        ("coco", ("AP", "AP50", "AR1"))):
      for name in names:
        self.assertAlmostEqual(metrics[group][name], 1.0, msg=name)
    self.assertEqual(metrics["classification"]["all"]["O-F1"], 1.0)
    # Three labels given to each image of one.
    self.assertAlmostEqual(metrics["classification"]["top3"]["O-P"], 1 / 3)
    self.assertEqual(metrics["classification"]["top3_at_0.5"]["O-P"], 1.0)
    self.assertEqual(metrics["num_positive_images"], [21, 20, 20])
    self.assertEqual(metrics["corloc"]["split"], "test")
    alone, _ = summary.measure_corloc(_oracle, self.records, **self.options)
    self.assertEqual(alone, metrics["corloc"])
    self.assertEqual(alone["kinds"], {
        "hit": 61, "group": 0, "part": 0, "around": 0, "elsewhere": 0})

  def test_threads_beside_the_device_change_nothing(self):
    def rough(batch):
      """Many detections, of which suppression leaves some."""
      return {"image_scores": tf.reduce_mean(batch["image"], axis=(1, 2)) / 255,
              "proposal_scores": tf.abs(tf.sin(
                  99.0 * batch["proposals"][..., :3]))}

    seen = []
    for num_threads in (0, 3):
      with mock.patch.object(
          device_batches, "num_threads", return_value=num_threads):
        metrics, results = summary.measure(
            rough, self.records, corloc=True, **self.options)
        corloc, counts = summary.measure_corloc(
            rough, self.records, **self.options)
        seen.append((metrics, corloc, repr(counts.examples)))
      found = [(one.boxes.tolist(), one.class_ids.tolist(), one.scores.tolist())
               for one in results.detections]
      seen[-1] += (found, results.image_scores.tolist())
    self.assertEqual(*seen)
    # Some of 6 boxes for each of 3 classes are suppressed.
    counts = [len(one) for one, _, _ in seen[0][3]]
    self.assertBetween(sum(counts), 61 * 3 * 2, 61 * 3 * 6 - 61)
    self.assertGreater(seen[0][0]["corloc"]["corloc"], 0)

  def test_figures_are_the_scalars(self):
    metrics = summary.evaluate(_oracle, self.records, **self.options)
    figures = summary.figures(metrics)
    self.assertEqual(figures["detection/voc07_map"],
                     metrics["detection"]["voc07_map"])
    self.assertEqual(figures["classification/all/C-F1"],
                     metrics["classification"]["all"]["C-F1"])
    self.assertTrue(all(isinstance(v, float) for v in figures.values()))

  def test_files_are_written(self):
    metrics, results = summary.measure(
        _oracle, self.records, corloc=True, coco=True, **self.options)
    output = os.path.join(self.directory, "new", "place")
    paths = summary.write(metrics, results, self.records, output)
    self.assertCountEqual(map(os.path.basename, paths), os.listdir(output))
    with open(os.path.join(output, "metrics.json"), encoding="utf-8") as file:
      self.assertEqual(json.load(file), metrics)
    for path in paths:
      if path.endswith(".png"):
        with Image.open(path) as picture:
          self.assertGreater(min(picture.size), 200)
    text = summary.table(metrics)
    for word in (*fake_records.CLASSES, "100.0", "CorLoc", "C-F1_mean", "AP50",
                 "the whole image", "best proposal (the ceiling)",
                 "mean of 3 with 20+ images"):
      self.assertIn(word, text)


class ManyClassesTest(absltest.TestCase):

  def test_the_terminal_gets_some_classes_and_the_file_all(self):
    num_classes = 130
    images = [fakes.image(np.zeros([0, 4]), [])]
    scores = np.zeros([1, num_classes], np.float32)
    metrics = metrics_lib.score(
        metrics_lib.Results(images, scores, None, None))
    metrics.update(split="test", num_images=1, classes=[
        f"name{number:03d}" for number in range(num_classes)])
    metrics["num_positive_images"][120] = 7
    metrics["classification"]["per_class"]["ap"][120] = 0.5
    text = summary.table(metrics)
    self.assertIn("name120", text)
    self.assertIn("of 130 classes: the most frequent, then the lowest", text)
    self.assertLess(text.count("name"), 105)
    full = table.format_metrics(metrics)
    self.assertEqual(full.count("name"), num_classes)
    self.assertNotIn("lists all", full)


class ScoreTest(absltest.TestCase):

  def test_rare_classes_are_left_out_of_the_frequent_mean(self):
    images = [fakes.image([[0, 0, .5, .5]], [0])] * 20
    images += [fakes.image([[0, 0, .5, .5]], [1])] * 19
    # Class 0 is always found; class 1 always at the wrong place.
    right, wrong = [[0, 0, .5, .5]], [[.6, .6, 1, 1]]
    predictions = [inference.Prediction(
        np.float32([1, 0]), np.float32(right), np.float32([[1, 0]]),
        np.float32([1]))] * 20
    predictions += [inference.Prediction(
        np.float32([0, 1]), np.float32(wrong), np.float32([[0, 1]]),
        np.float32([1]))] * 19
    metrics = metrics_lib.score(_results(predictions, images, corloc=True))
    self.assertAlmostEqual(metrics["detection"]["map"], (1 + 0) / 2)
    self.assertAlmostEqual(metrics["detection"]["map_frequent"], 1.0)
    self.assertAlmostEqual(metrics["corloc"]["corloc"], (1 + 0) / 2)
    self.assertAlmostEqual(metrics["corloc"]["corloc_frequent"], 1.0)

  def test_without_boxes_there_is_only_classification(self):
    nothing = np.zeros([0], np.int64)
    images = [records.LabelledImage("a", 9, 9, np.array([0]), nothing, None)]
    predictions = [inference.Prediction(
        np.float32([.9, .1]), np.zeros([0, 4]), np.zeros([0, 2]),
        np.zeros([0]))]
    metrics = metrics_lib.score(
        _results(predictions, images, corloc=True), coco=True)
    self.assertIsNone(metrics["detection"])
    self.assertNotIn("corloc", metrics)
    self.assertEqual(metrics["classification"]["per_class"]["ap"], [1.0, None])
    metrics.update(split="s", num_images=1, classes=["a", "b"])
    self.assertIn("Detection not measured", summary.table(metrics))
    json.dumps(metrics, allow_nan=False)

  def test_an_empty_split_has_no_figure(self):
    metrics = metrics_lib.score(_results([], []))
    self.assertIsNone(metrics["classification"]["map"])
    json.dumps(metrics, allow_nan=False)

  def test_images_without_proposals_and_without_labels_pass(self):
    images = [fakes.image([], []), fakes.image([[0, 0, 1, 1]], [1])]
    predictions = [inference.Prediction(
        np.zeros([2], np.float32), np.zeros([0, 4], np.float32),
        np.zeros([0, 2], np.float32), np.zeros([0], np.float32))] * 2
    metrics = metrics_lib.score(
        _results(predictions, images, corloc=True), coco=True)
    self.assertEqual(metrics["detection"]["per_class"]["ap"], [None, 0.0])
    self.assertEqual(metrics["corloc"]["per_class"], [None, 0.0])
    self.assertEqual(metrics["coco"]["AP"], 0.0)


if __name__ == "__main__":
  absltest.main()
