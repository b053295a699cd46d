"""The binary, in processes of its own, on an untrained model."""

import json
import os

import pytest
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.modeling import wsddn
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run_folder
from tests import programs
from tests.data import fake_records
from tests.training import fake_config


@pytest.fixture(scope="module", name="workdir")
def fixture_workdir(tmp_path_factory):
  """A run whose only checkpoint is the model's initial state."""
  workdir = str(tmp_path_factory.mktemp("run"))
  data = os.path.join(workdir, "records")
  os.makedirs(data)
  fake_records.write(data, "trainval", 4)
  fake_records.write(data, "test", 3, seed=1)
  config = fake_config.make(data=data, eval_size=48, fc_units=8)
  config_lib.write(config, workdir)
  model = wsddn.build(models.wsddn_config(config))
  tf.train.CheckpointManager(
      tf.train.Checkpoint(model=model),
      run_folder.RunFolder(workdir).checkpoints, max_to_keep=1).save()
  return workdir


def _evaluate(*arguments):
  return programs.run("kdwsd.evaluate", *arguments)


def test_measures_prints_and_writes(workdir):
  done = _evaluate(
      f"--workdir={workdir}", "--corloc_split=trainval", "--mirror", "--coco",
      "--test_scales=32,48", "--batch_size=2")
  assert done.returncode == 0, done.stderr
  for text in (*fake_records.CLASSES, "CorLoc is of split trainval", "AP50"):
    assert text in done.stdout
  output = os.path.join(workdir, "evaluation", "test")
  with open(os.path.join(output, "metrics.json"), encoding="utf-8") as file:
    metrics = json.load(file)
  assert metrics["num_images"] == 3
  assert metrics["settings"]["sizes"] == [32, 48]
  assert metrics["settings"]["mirror"] is True
  assert metrics["corloc"]["split"] == "trainval"
  assert set(os.listdir(output)) == {
      "metrics.json", "table.txt", "predictions.npz", "precision_recall.png",
      "average_precision.png", "detections.png", "localization.png"}


def test_other_classes_than_the_models_are_named(workdir, tmp_path):
  other = fake_records.write(str(tmp_path), "test", 1)
  files.write_json(record_files.card_path(str(tmp_path), "test"),
                   {**other.card, "classes": ["cat", "dog", "emu"]})
  done = _evaluate(f"--workdir={workdir}", f"--data={tmp_path}")
  assert done.returncode == 2
  assert "classes that the model was trained on" in done.stderr
  assert "Received: 3 classes, of which number 1 is cat, not red." in (
      done.stderr)
  assert "Traceback" not in done.stderr


def test_bad_flags_are_told_at_once(workdir):
  done = _evaluate(f"--workdir={workdir}", "--test_scales=480,big")
  assert done.returncode != 0
  assert "--test_scales" in done.stderr
  assert "separated by commas" in done.stderr


def _student_run(directory, data, stage):
  """A run of a student's stage whose only checkpoint is its initial state."""
  config = fake_config.make(stage=stage, data=data, eval_size=48, fc_units=0)
  config_lib.write(config, directory)
  tf.train.CheckpointManager(
      tf.train.Checkpoint(
          model=models.as_saved(models.build(config), config)),
      run_folder.RunFolder(directory).checkpoints, max_to_keep=1).save()
  return directory


def test_student_is_measured_as_a_classifier(workdir, tmp_path):
  data = os.path.join(workdir, "records")
  student = _student_run(str(tmp_path), data, "cls")
  done = _evaluate(f"--workdir=file://{student}", "--mirror")
  assert done.returncode == 0, done.stderr
  assert f"Written: file://{student}/evaluation/test/metrics.json" in (
      done.stdout)
  assert "Detection not measured" in done.stdout
  output = os.path.join(student, "evaluation", "test")
  with open(os.path.join(output, "metrics.json"), encoding="utf-8") as file:
    metrics = json.load(file)
  assert metrics["num_images"] == 3
  assert metrics["detection"] is None
  assert 0 <= metrics["classification"]["map"] <= 1
  assert "detections.png" not in os.listdir(output)
  done = _evaluate(f"--workdir={student}", "--corloc_split=trainval")
  assert done.returncode == 2
  assert "only a detector has boxes" in done.stderr


def test_student_without_classifier_is_refused(workdir, tmp_path):
  student = _student_run(
      str(tmp_path), os.path.join(workdir, "records"), "kd_feature")
  done = _evaluate(f"--workdir={student}")
  assert done.returncode == 2
  assert "Received: stage kd_feature" in done.stderr
