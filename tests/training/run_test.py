"""What a run makes of its settings."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run
from kdwsd.training import run_folder
from tests.data import fake_records
from tests.training import fake_config


def test_rates_of_zero_leave_backbone_and_classifiers_alone(tmp_path):
  fake_records.write(str(tmp_path), "trainval", 4)
  values = dataclasses.asdict(fake_config.make(
      data=str(tmp_path), eval_split="", train_steps=1, deterministic="off",
      backbone_rate=0.0, classifier_rate=0.0))
  del values["classes"]
  workdir = tmp_path / "run"
  run.run(str(workdir), strategy=tf.distribute.OneDeviceStrategy("CPU:0"),
          **values)
  before, after = [
      tf.train.load_checkpoint(str(workdir / "checkpoints" / name))
      for name in ("ckpt-0", "ckpt-1")]
  moved, total = set(), 0
  for name in before.get_variable_to_shape_map():
    if name.startswith("model/"):
      total += 1
      if np.any(before.get_tensor(name) != after.get_tensor(name)):
        moved.add("/".join(name.split("/")[1:3]))
  assert moved == {"fc6/kernel", "fc6/bias", "fc7/kernel", "fc7/bias"}
  assert total > 20


@pytest.mark.one_lane
@pytest.mark.parametrize("eval_split", ["validation", ""])
def test_a_finished_run_is_measured_on_the_test_split(eval_split, tmp_path):
  for split, count in (("trainval", 4), ("validation", 3), ("test", 5)):
    fake_records.write(str(tmp_path), split, count)
  values = dataclasses.asdict(fake_config.make(
      stage="cls", data=str(tmp_path), train_steps=1, eval_split=eval_split,
      test_split="test", student_size=56, deterministic="off"))
  del values["classes"]
  folder = run_folder.RunFolder(tmp_path / "run")
  metrics = run.run(
      folder.path, strategy=tf.distribute.OneDeviceStrategy("CPU:0"), **values)
  assert {split: of_split["num_images"] for split, of_split in metrics.items()
          } == {**({"validation": 3} if eval_split else {}), "test": 5}
  assert folder.measured_splits() == sorted(metrics)
  # Only what the run chooses on is in its history.
  validated = [entry for entry in folder.read_history() if "figures" in entry]
  assert len(validated) == (1 if eval_split else 0)


def _teacher(directory):
  """The work directory of a teacher that is not trained."""
  config = fake_config.make()
  config_lib.write(config, directory)
  tf.train.CheckpointManager(
      tf.train.Checkpoint(model=models.build(config)),
      run_folder.RunFolder(directory).checkpoints, max_to_keep=1).save(10)
  return directory


def _weights(path):
  reader = tf.train.load_checkpoint(path)
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name.startswith("model/")}


@pytest.mark.parametrize("stage", ["cls", "kd_feature"])
def test_run_without_validation_ends_with_averages_of_its_weights(
    stage, tmp_path):
  fake_records.write(str(tmp_path), "trainval", 4)
  values = dataclasses.asdict(fake_config.make(
      stage=stage, data=str(tmp_path), train_steps=2, student_size=56,
      eval_split="" if stage == "cls" else "test", ema_decay=0.75,
      deterministic="off",
      learning_rate=0.1, teacher=_teacher(str(tmp_path / "teacher"))))
  del values["classes"]
  folder = run_folder.RunFolder(tmp_path / "run")
  run.run(folder.path, strategy=tf.distribute.OneDeviceStrategy("CPU:0"),
          **values)
  start, first, last = [
      _weights(f"{folder.checkpoints}/ckpt-{step}") for step in (0, 1, 2)]
  assert folder.find("best") == f"{folder.best}/ckpt-2"
  best = _weights(folder.find("best"))
  assert best.keys() == last.keys()
  assert any(np.any(best[name] != last[name]) for name in best)
  for name in best:
    np.testing.assert_allclose(
        best[name], 0.75 ** 2 * start[name] + 0.75 * 0.25 * first[name]
        + 0.25 * last[name], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("optimizer, expected", [
    # Caffe's multipliers times 3 for the backbone, times 5 for classifiers.
    ("sgd", {"backbone/conv1_1/kernel": (3, 1), "backbone/conv1_1/bias": (6, 0),
             "fc6/kernel": (1, 1), "adapter_fc7/bias": (2, 0),
             "fc8_c/kernel": (50, 10), "fc8/bias": (100, 0)}),
    ("adam", {"backbone/conv1_1/kernel": (3, 1), "fc7/bias": (1, 0),
              "fc8_d/kernel": (5, 1), "fc8/bias": (5, 0)})])
def test_rates_multiply_those_of_the_optimizer(optimizer, expected):
  multipliers = run._multipliers(fake_config.make(  # pylint: disable=protected-access
      optimizer=optimizer, backbone_rate=3.0, classifier_rate=5.0))
  assert {name: multipliers(name) for name in expected} == expected
