"""Tests of what a report is gathered from."""

import os
import shutil

import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.evaluation import prediction_files
from kdwsd.reporting import page_data
from kdwsd.training import chain_report
from tests.training import fake_chain


class ReportDataTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), "chain")
    self.data = fake_chain.write(self.workdir)

  def _collect(self):
    return page_data.collect(
        self.workdir, "test", chain_report.read_stages(self.workdir),
        versions={}, command="", made="")

  def _predictions(self, stage):
    return os.path.join(self.workdir, stage, "evaluation", "test",
                        prediction_files.FILE)

  def test_classes_go_by_frequency_in_training(self):
    report = self._collect()
    self.assertEqual([(row.name, row.num_images) for row in report.class_rows],
                     [("green", 30), ("blue", 20), ("red", 10)])
    self.assertEqual(report.counts_of, "images of training split trainval")
    # Always wrong: AP is far from that of the teacher, who is always right.
    for row in report.class_rows:
      self.assertEqual(row.ap["wsd"], 1.0)
      self.assertLess(row.ap["cls"], row.ap["kd_prediction"])

  def test_curves_go_by_the_same_order_as_the_classes(self):
    report = self._collect()
    # Of 14 images, 5 are red, 5 green, 4 blue.
    self.assertEqual(
        [curve.num_positives for curve in report.curves["cls"]], [5, 4, 5])
    self.assertEqual(set(report.curves), {"cls", "wsd", "kd_prediction"})

  def test_without_the_card_the_measured_split_counts(self):
    os.remove(record_files.card_path(self.data, "trainval"))
    report = self._collect()
    self.assertEqual([(row.name, row.num_images) for row in report.class_rows],
                     [("red", 5), ("green", 5), ("blue", 4)])
    self.assertIn("evaluated split test", report.counts_of)

  def test_without_records_all_but_the_gallery_is_there(self):
    shutil.rmtree(self.data)
    report = self._collect()
    self.assertEmpty(report.gallery)
    self.assertIn("expected a directory of records", report.gallery_note)
    self.assertLen(report.curves, 3)
    self.assertLen(report.rows, 3)

  def test_records_that_came_along_are_found(self):
    os.rename(self.data, os.path.join(self.workdir, "records"))
    self.assertLen(self._collect().gallery, 12)

  def test_other_records_are_not_shown(self):
    other = prediction_files.read(self._predictions("cls"))
    other.image_ids[:] = "x"
    for stage in ("cls", "wsd", "kd_prediction"):
      prediction_files.write(self._predictions(stage), other)
    report = self._collect()
    self.assertIn("are not the evaluated ones", report.gallery_note)
    other.image_ids[:] = "y"
    prediction_files.write(self._predictions("wsd"), other)
    self.assertIn("different images", self._collect().gallery_note)

  def test_runs_measured_before_predictions_were_kept(self):
    for stage in ("cls", "wsd", "kd_prediction"):
      os.remove(self._predictions(stage))
    report = self._collect()
    self.assertEmpty(report.curves)
    self.assertIn("predictions.npz", report.gallery_note)

  def test_a_model_that_is_missing_is_left_out(self):
    shutil.rmtree(os.path.join(self.workdir, "wsd"))
    report = self._collect()
    self.assertEqual([row.stage for row in report.rows],
                     ["cls", "kd_prediction"])
    self.assertIsNone(report.gallery[0].boxes)
    self.assertEqual([stage.name for stage in report.stages],
                     ["cls", "kd_feature", "kd_prediction"])

  def test_nothing_measured_is_an_error(self):
    for stage in ("cls", "wsd", "kd_prediction"):
      shutil.rmtree(os.path.join(self.workdir, stage))
    with self.assertRaisesRegex(errors.InputError, "Received: none"):
      self._collect()

  def test_a_broken_card_of_another_data_set_is_passed_over(self):
    files.write_json(record_files.card_path(self.data, "trainval"),
                     {"images_per_class": {"cat": 1}})
    self.assertIn("evaluated split", self._collect().counts_of)


if __name__ == "__main__":
  tf.test.main()
