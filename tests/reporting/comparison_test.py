"""Tests of the ablation table, on figures by hand."""

import json
import os
import tempfile

from absl.testing import absltest
import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.evaluation import prediction_files
from kdwsd.reporting import comparison


def _metrics(map_, *, detector=False, num_images=200, classes=("a", "b")):
  return {
      "split": "test", "num_images": num_images, "classes": list(classes),
      "classification": {
          "map": map_, "all": {"C-F1": map_ - .01, "O-F1": map_ - .02},
          "top3": {"C-F1": map_ - .03, "O-F1": map_ - .04}},
      "detection": {"map": .1, "voc07_map": .2} if detector else None,
      **({"corloc": {"corloc": .375}} if detector else {})}


class ComparisonTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.workdir = directory.name

  def _write(self, stage, content, name="metrics.json"):
    files.write_json(os.path.join(
        self.workdir, stage, "evaluation", "test", name), content)

  def _write_all(self):
    self._write("kd_prediction", _metrics(.746))
    self._write("wsd", _metrics(.786, detector=True))
    self._write("cls", _metrics(.709))
    self._write("cls", {"parameters": 2_250_000, "images_per_second": 212.34,
                        "device": "a CPU"}, comparison.COST)

  def test_rows_are_in_the_papers_order_with_figures_of_the_files(self):
    self._write_all()
    without, teacher, with_ = comparison.read(self.workdir, "test")
    self.assertEqual([r.name for r in (without, teacher, with_)],
                     ["S-Cls without KD", "T-WDet", "S-Cls with KD"])
    self.assertEqual(with_, comparison.Row(
        stage="kd_prediction", name="S-Cls with KD", num_images=200,
        images=None, map=.746, c_f1=.746 - .01, o_f1=.746 - .02,
        top3_c_f1=.746 - .03, top3_o_f1=.746 - .04, detection_map=None,
        corloc=None, parameters=None, images_per_second=None, device=None))
    self.assertEqual((teacher.detection_map, teacher.corloc), (.2, .375))
    self.assertEqual((without.parameters, without.images_per_second,
                      without.device), (2_250_000, 212.34, "a CPU"))

  def test_gain_is_in_points(self):
    self._write_all()
    rows = comparison.read(self.workdir, "test")
    self.assertAlmostEqual(comparison.gain(rows), 74.6 - 70.9)
    self.assertIn("+3.7 points", comparison.gain_text(rows))
    self.assertAlmostEqual(
        comparison.as_json(rows)["gain_map_points"], 3.7)
    self.assertIsNone(comparison.gain(rows[:2]))
    self.assertIn("not known", comparison.gain_text(rows[:2]))

  def test_table_is_in_percent_with_dashes_where_nothing_is(self):
    self._write_all()
    lines = comparison.format_table(
        comparison.read(self.workdir, "test")).splitlines()
    self.assertEqual(
        lines[2].split(),
        "S-Cls without KD 70.9 69.9 68.9 67.9 66.9 - - 2.2 M 212.3 200".split())
    self.assertEqual(
        lines[3].split(),
        "T-WDet 78.6 77.6 76.6 75.6 74.6 20.0 37.5 - - 200".split())
    self.assertLen({line.index("200") for line in lines[2:5]}, 1)
    self.assertIn("Throughput measured on: a CPU.", lines)

  def test_json_holds_the_rows(self):
    self._write_all()
    rows = comparison.read(self.workdir, "test")
    content = json.loads(json.dumps(comparison.as_json(rows)))
    self.assertEqual(comparison.Row(**content["models"][1]), rows[1])

  def test_students_alone_have_no_columns_of_detection(self):
    self._write("cls", _metrics(.5))
    rows = comparison.read(self.workdir, "test")
    self.assertLen(rows, 1)
    self.assertNotIn("CorLoc", comparison.cells(rows)[0])
    self.assertNotIn("det mAP", comparison.cells(rows)[0])

  def test_no_positive_image_has_no_figure(self):
    metrics = _metrics(.5)
    metrics["classification"].update(map=None)
    self._write("cls", metrics)
    self._write("kd_prediction", _metrics(.5))
    rows = comparison.read(self.workdir, "test")
    self.assertEqual(comparison.cells(rows)[1][:2], ["S-Cls without KD", "-"])
    self.assertIsNone(comparison.gain(rows))

  def test_nothing_measured_is_an_error_that_names_what_is_wanted(self):
    self._write("kd_feature", {})
    with self.assertRaisesRegex(
        errors.InputError, "cls, wsd, kd_prediction. Received: none"):
      comparison.read(self.workdir, "test")

  def test_other_classes_are_an_error(self):
    self._write("cls", _metrics(.5))
    self._write("wsd", _metrics(.5, classes=("a", "c")))
    with self.assertRaisesRegex(errors.InputError, "wsd.*Received: a, c"):
      comparison.read(self.workdir, "test")

  def test_other_images_are_said(self):
    self._write("cls", _metrics(.5))
    self._write("wsd", _metrics(.5, num_images=100))
    self.assertIn("cannot be compared", comparison.format_table(
        comparison.read(self.workdir, "test")))

  def test_as_many_other_images_are_said(self):
    for others, said in (("xy", True), ("ba", False)):
      for stage, ids in (("cls", "ab"), ("wsd", others)):
        self._write(stage, _metrics(.5, num_images=2))
        prediction_files.write(
            os.path.join(comparison.evaluation_directory(
                self.workdir, stage, "test"), prediction_files.FILE),
            prediction_files.Predictions(
                image_ids=np.array(list(ids)),
                image_scores=np.zeros([2, 2], np.float32),
                labels=np.zeros([2, 2], np.int8)))
      table = comparison.format_table(comparison.read(self.workdir, "test"))
      self.assertEqual("cannot be compared" in table, said)

  def test_models_that_are_not_measured_are_named(self):
    self._write("cls", _metrics(.5))
    self._write("kd_prediction", _metrics(.5))
    self.assertIn("not measured on this split: T-WDet.",
                  comparison.format_table(
                      comparison.read(self.workdir, "test")))
    self._write("wsd", _metrics(.5))
    self.assertNotIn("not measured on this split", comparison.format_table(
        comparison.read(self.workdir, "test")))


if __name__ == "__main__":
  absltest.main()
