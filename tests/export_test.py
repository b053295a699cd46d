"""The binary, on untrained models."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import inference
from kdwsd.serving import saved_model
from kdwsd.serving import warmup
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run_folder
from tests import programs
from tests.data import fake_records
from tests.data import odd_records
from tests.training import fake_config


def _export(*commands):
  """What each command complains of; empty for a success."""
  answers = []
  for arguments in commands:
    done = programs.run("kdwsd.export", *arguments)
    complaint = re.search(r"^error: (.*)\Z", done.stderr, re.M | re.S)
    assert done.returncode == (2 if complaint else 0), done.stderr
    answers.append(complaint[1].rstrip("\n") if complaint else "")
  return answers


def _run(directory, data, *, seed=0, **changes):
  """A run whose only checkpoint is the model's initial state, spread out."""
  settings = dict(data=data, eval_size=48, num_proposals=4, fc_units=0)
  config = fake_config.make(**{**settings, **changes, "seed": seed})
  config_lib.write(config, directory)
  model = models.build(config)
  random = np.random.RandomState(seed)
  for variable in model.trainable_variables:
    if "fc8" in variable.name:
      variable.assign(random.normal(size=variable.shape))
  tf.train.CheckpointManager(
      tf.train.Checkpoint(model=models.as_saved(model, config)),
      run_folder.RunFolder(directory).checkpoints, max_to_keep=1).save(7)
  return directory


@pytest.fixture(scope="module", name="place")
def fixture_place(tmp_path_factory):
  """A directory with records, runs, and their exports."""
  place = tmp_path_factory.mktemp("place")
  data = str(place / "records")
  os.makedirs(data)
  fake_records.write(data, "trainval", 4)
  fake_records.write(data, "test", 3, seed=1)
  _run(str(place / "student"), data, stage="cls",
       mixed_precision="mixed_bfloat16")
  _run(str(place / "teacher"), data, stage="wsd", fc_units=4, score_bias=1.0,
       refinement_branches=2)
  _run(str(place / "feature"), data, stage="kd_feature")
  _run(str(place / "other"), data, stage="cls", seed=1,
       classes=("cat", "dog", "emu"))
  _run(str(place / "lonely"), str(place / "gone"), stage="kd_prediction")
  files.write_json(
      str(place / "student" / "evaluation" / "test" / "metrics.json"),
      {"num_images": 3, "settings": {}, "classification": {"map": 0.25}})
  answers = _export(
      [f"--workdir=file://{place}/student",  # By way of a copy.
       f"--output={place}/models/student", "--warmup=1,2"],
      [f"--workdir={place}/teacher", f"--output={place}/models/teacher",
       "--version=20"],
      [f"--workdir={place}/lonely", f"--output={place}/models/lonely",
       "--checkpoint=last", "--warmup="])
  assert answers == [""] * 3
  return place


def _contents(place):
  record_set = record_files.open_split(str(place / "records"), "test")
  parsed = [records.parse_for_training(content)
            for content in tf.data.TFRecordDataset(list(record_set.paths))]
  return record_set, parsed


@pytest.mark.parametrize("name, version", [("student", 1), ("teacher", 20)])
def test_scores_are_those_that_are_measured(place, name, version):
  record_set, parsed = _contents(place)
  tf.keras.mixed_precision.set_global_policy("float32")
  model, config = run_folder.RunFolder(place / name).load_model()
  measured = list(inference.predict(
      models.scorer(model), record_set, sizes=(48,), num_proposals=4,
      progress=False))
  served = tf.saved_model.load(
      str(place / "models" / name / str(version))).signatures[
          "serving_default"]
  inputs = {"image_bytes": tf.stack([image["encoded"] for image in parsed])}
  if config.stage == "wsd":
    inputs["proposals"] = tf.stack(
        [image["proposals"][:4] for image in parsed])
    inputs["objectness"] = tf.stack(
        [image["objectness"][:4] for image in parsed])
  answer = served(**inputs)
  np.testing.assert_allclose(
      answer["probabilities"], [p.image_scores for p in measured], atol=1e-5)
  assert np.ptp(answer["probabilities"]) > 0.1
  if config.stage == "wsd":
    np.testing.assert_allclose(
        answer["proposal_scores"], [p.proposal_scores for p in measured],
        atol=1e-5)


def test_a_version_has_all_its_parts(place):
  path = str(place / "models" / "student" / "1")
  assert set(os.listdir(path)) == {
      "saved_model.pb", "variables", "assets", "assets.extra", "export.json"}
  assert saved_model.read_classes(path) == fake_records.CLASSES
  assert [name for name, _ in warmup.read(path)] == [
      "serving_default", "per_image", "images", "classify"] * 2
  assert os.listdir(place / "models" / "student") == ["1"]
  assert warmup.read(str(place / "models" / "lonely" / "1")) == []


def test_metadata_says_what_it_is(place):
  metadata = saved_model.read_metadata(str(place / "models/student/1"))
  assert metadata["stage"] == "cls"
  assert metadata["step"] == 7
  assert metadata["checkpoint"] == "checkpoints/ckpt-7"
  assert metadata["trained_in"] == "mixed_bfloat16"
  assert metadata["classes"] == list(fake_records.CLASSES)
  assert metadata["metrics"] == {
      "test": {"num_images": 3, "classification/map": 0.25}}
  assert metadata["checked"]["images"] == "records"
  assert max(metadata["checked"]["max_difference"].values()) < 1e-5
  signature = metadata["signatures"]["serving_default"]
  assert signature["inputs"] == {
      "image_bytes": {"dtype": "string", "shape": [None]}}
  assert signature["outputs"]["probabilities"] == {
      "dtype": "float32", "shape": [None, 3]}
  assert len(metadata["preprocessing"]["steps"]) == 4
  teacher = saved_model.read_metadata(str(place / "models/teacher/20"))
  assert teacher["num_proposals"] == 4
  assert teacher["metrics"] is None
  assert set(teacher["signatures"]["images"]["inputs"]) == {
      "images", "proposals", "objectness"}


def test_variables_are_float32_whatever_the_run_computed_in(place):
  path = str(place / "models/student/1/variables/variables")
  names = dict(tf.train.list_variables(path))
  reader = tf.train.load_checkpoint(path)
  types = {reader.get_variable_to_dtype_map()[name] for name in names
           if name.startswith("weights/")}
  assert types == {tf.float32}


def test_without_records_images_are_drawn(place):
  metadata = saved_model.read_metadata(str(place / "models/lonely/1"))
  assert metadata["checked"]["images"] == "drawn"


def test_bad_input_is_told_and_leaves_nothing(place, tmp_path):
  os.makedirs(tmp_path / "empty")
  (tmp_path / "file").write_text("x", encoding="utf-8")
  student, new = f"--workdir={place}/student", f"--output={tmp_path}/new"
  cases = (
      ((f"--workdir={tmp_path}/empty", new),
       "expected the work directory of a training run"),
      ((student, new, "--checkpoint=nothing"), "--checkpoint: expected best"),
      ((student, new, f"--checkpoint={place}/feature/checkpoints/ckpt-7"),
       "expected the stage of"),
      ((student, new, f"--checkpoint={place}/other/checkpoints/ckpt-7"),
       "red, green, blue. Received: cat, dog, emu."),
      ((student, new, f"--data={tmp_path}"),
       "trainval.json: expected the card"),
      ((student, new, "--formats=pdf"),
       "tflite_int16x8, onnx. Received: 'pdf'"),
      ((f"--workdir={place}/teacher", new, "--formats=tflite_int8"),
       "--formats: expected a student"),
      ((student, new, "--warmup=1,64"),
       "--warmup: expected at most 32 images a request"),
      ((student, new, "--warmup=" + ",".join(["1"] * 400)),
       "at most 1000 requests"),
      ((student, f"--output={place}/models/student", "--version=1"),
       "expected a version that does not exist yet"),
      ((student, f"--output={tmp_path}/file"),
       "file: expected a writable directory"),
  )
  answers = _export(*(arguments for arguments, _ in cases))
  for (arguments, message), answer in zip(cases, answers):
    assert message in answer, (arguments, answer)
    assert "Received: " in answer
    assert "\n" not in answer
  assert sorted(os.listdir(tmp_path)) == ["empty", "file"]
  assert os.listdir(place / "models" / "student") == ["1"]


@pytest.mark.parametrize("fault", [
    "half a JPEG", pytest.param("no image", marks=pytest.mark.slow)])
def test_damaged_record_is_named(place, tmp_path, fault):
  change, words = odd_records.IN_TRAINING[fault]
  data = str(tmp_path / "records")
  os.makedirs(data)
  fake_records.write(data, "trainval", 2)
  fake_records.write(data, "test", 3, seed=1)
  odd_records.spoil(record_files.open_split(data, "test"), 1, change)
  answer, = _export([f"--workdir={place}/student", f"--data={data}",
                     f"--output={tmp_path}/new"])
  assert "record 1 (counted from 0)" in answer
  assert words in answer
  assert not os.path.exists(tmp_path / "new")


def test_student_without_classifier_is_refused_in_one_line(place, tmp_path):
  done = programs.run("kdwsd.export", f"--workdir={place}/feature",
                      f"--output={tmp_path}/new")
  assert done.returncode == 2
  assert done.stderr.startswith("error: --workdir: ")
  assert "Received: stage kd_feature" in done.stderr
  assert "Traceback" not in done.stderr
  assert os.listdir(tmp_path) == []
