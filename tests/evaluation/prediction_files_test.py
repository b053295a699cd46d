"""Tests of what is kept of each image."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.evaluation import metrics as metrics_lib
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import summary
from tests.data import fake_records
from tests.evaluation import fakes


def _results(detections, **changes):
  values = {
      "images": [fakes.image([[0, 0, 1, 1]], [0], name='a <b> & "é"'),
                 fakes.image([], [], name="2", unknown=[1])],
      "image_scores": np.float32([[.9, .1], [.2, .3]]),
      "detections": detections, "corloc": None}
  return metrics_lib.Results(**{**values, **changes})


def _boxes(count):
  """[count, 4], each another box."""
  edge = np.linspace(0, 0.4, count, dtype=np.float32)
  return np.stack([edge, edge, edge + .5, edge + .5], axis=1)


class PredictionFilesTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.get_temp_dir(), "new", "p.npz")

  def test_comes_back_as_it_was(self):
    found = fakes.detections(_boxes(3), [0, 1, 1], [.5, .7, .6])
    none = fakes.detections(np.zeros([0, 4]), [], [])
    before = prediction_files.from_results(_results([found, none]))
    prediction_files.write(self.path, before)
    after = prediction_files.read(self.path)
    self.assertEqual(os.listdir(os.path.dirname(self.path)), ["p.npz"])
    self.assertEqual(after.image_ids.tolist(), ['a <b> & "é"', "2"])
    self.assertAllEqual(after.labels, [[1, 0], [0, -1]])
    self.assertAllEqual(after.image_scores, np.float32([[.9, .1], [.2, .3]]))
    self.assertAllEqual(after.scores[0], np.float32([.7, .6, .5] + [0] * 7))
    self.assertAllEqual(after.class_ids[0, :3], [1, 1, 0])
    self.assertAllEqual(after.boxes[0, :3], found.boxes)
    self.assertAllEqual(after.scores[1], np.zeros([10]))
    for name, dtype in (("image_scores", np.float32), ("boxes", np.float32),
                        ("scores", np.float32), ("labels", np.int8)):
      self.assertEqual(getattr(after, name).dtype, dtype)

  def test_a_proposal_is_kept_once_with_its_best_class(self):
    # The first box is of both classes; 12 boxes in all, of which 10 stay.
    boxes = np.concatenate([_boxes(12), _boxes(1)])
    scores = np.append(np.linspace(.9, .35, 12), .88)
    found = fakes.detections(boxes, [0] * 12 + [1], scores)
    kept = prediction_files.from_results(_results([found, found]))
    self.assertAllClose(kept.scores[0], np.linspace(.9, .35, 12)[:10])
    self.assertAllEqual(kept.boxes[0], _boxes(12)[:10])
    self.assertAllEqual(kept.class_ids[0], [0] * 10)

  def test_a_classifier_has_no_boxes(self):
    prediction_files.write(
        self.path, prediction_files.from_results(_results(None)))
    with np.load(self.path) as content:
      self.assertCountEqual(
          content.files, ["image_ids", "image_scores", "labels"])
    self.assertIsNone(prediction_files.read(self.path).boxes)

  def test_no_image_is_kept_too(self):
    kept = prediction_files.from_results(_results(
        [], images=[], image_scores=np.zeros([0, 2], np.float32)))
    prediction_files.write(self.path, kept)
    after = prediction_files.read(self.path)
    self.assertEqual(after.image_ids.shape, (0,))
    self.assertEqual(after.boxes.shape, (0, 10, 4))

  def test_no_file_is_none_and_another_file_is_named(self):
    self.assertIsNone(prediction_files.read(self.path))
    os.makedirs(os.path.dirname(self.path))
    for content in (b"", b"text", b"PK\x03\x04 cut short"):
      with open(self.path, "wb") as file:
        file.write(content)
      with self.assertRaisesRegex(errors.InputError, "p.npz: expected pred"):
        prediction_files.read(self.path)
    with open(self.path, "wb") as file:
      np.savez(file, other=np.zeros(1))
    with self.assertRaisesRegex(errors.InputError, "p.npz: expected pred"):
      prediction_files.read(self.path)

  def test_objects_are_not_unpickled(self):
    os.makedirs(os.path.dirname(self.path))
    with open(self.path, "wb") as file:
      np.savez(file, image_ids=np.array([{}], object))
    with self.assertRaisesRegex(errors.InputError, "pickled objects"):
      prediction_files.read(self.path)

  def test_arrays_that_do_not_go_together_are_named(self):
    found = fakes.detections(_boxes(3), [0, 1, 1], [.5, .7, .6])
    sound = dataclasses.asdict(
        prediction_files.from_results(_results([found, found])))
    os.makedirs(os.path.dirname(self.path))
    for name, array in (
        ("image_ids", np.array(["a"])), ("image_ids", np.arange(2)),
        ("image_scores", np.zeros([2])), ("image_scores", np.full([2, 2], "x")),
        ("image_scores", np.float32([[np.nan, 0], [0, 0]])),
        ("labels", np.zeros([2, 3], np.int8)), ("labels", np.zeros([2, 2])),
        ("labels", np.full([2, 2], 2)), ("boxes", np.zeros([2, 9, 4])),
        ("boxes", np.full([2, 10, 4], np.inf)),
        ("class_ids", np.full([2, 10], 2)), ("class_ids", np.full([2, 10], -1)),
        ("scores", np.zeros([10]))):
      with open(self.path, "wb") as file:
        np.savez(file, **{**sound, name: array})
      with self.assertRaisesRegex(errors.InputError, f"Received: {name}|lab"):
        prediction_files.read(self.path)
    with open(self.path, "wb") as file:
      np.savez(file, **{name: sound[name] for name in sound if name != "boxes"})
    with self.assertRaisesRegex(errors.InputError, "Received: arrays class_"):
      prediction_files.read(self.path)


class SummaryTest(tf.test.TestCase):

  def test_summary_writes_a_detector_and_a_classifier(self):
    directory = self.get_temp_dir()
    record_set = fake_records.write(directory, "test", 2)
    images = [fakes.image([[0, 0, 1, 1]], [index], name=str(index))
              for index in range(2)]
    found = fakes.detections([[0, 0, 1, 1]], [0], [.5])
    for name, detections in (("detector", [found] * 2), ("classifier", None)):
      results = metrics_lib.Results(
          images, np.float32([[.9, .1, .2], [.3, .4, .5]]), detections, None)
      detector = metrics_lib.Results(
          images, results.image_scores, [found] * 2, None)
      metrics = {**metrics_lib.score(detector), "split": "test",
                 "num_images": 2, "classes": list(fake_records.CLASSES)}
      if detections is None:
        metrics["detection"] = None
      output = os.path.join(directory, name)
      paths = summary.write(metrics, results, record_set, output)
      self.assertCountEqual(map(os.path.basename, paths), os.listdir(output))
      self.assertEqual("detections.png" in os.listdir(output),
                       detections is not None)
      kept = prediction_files.read(os.path.join(output, "predictions.npz"))
      self.assertEqual(kept.image_ids.tolist(), ["0", "1"])
      self.assertEqual(kept.boxes is None, detections is None)


if __name__ == "__main__":
  tf.test.main()
