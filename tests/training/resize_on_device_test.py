"""Runs whose images are warped on the device: they train the same weights."""

import dataclasses
import tempfile

from absl.testing import parameterized
import numpy as np
import pytest
import tensorflow as tf

from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run
from kdwsd.training import run_folder
from tests import environment
from tests.data import mixed_records
from tests.training import fake_config

_RUNS = {
    "wsd": {"train_sizes": (32, 48)},
    "cls": {"randaugment_layers": 2, "cutout_size": 12},
    "kd_feature": {},
    "kd_feature_cached": {"teacher_cache": "on", "top_k_rois": 3},
    "kd_prediction": {"teacher_cache": "off"},
    "kd_prediction_cached": {},
    "frozen": {"stage": "cls", "frozen_cache": True, "frozen_stages": 2},
}


class ResizeOnDeviceTest(tf.test.TestCase, parameterized.TestCase):

  _kept = {}

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def _train(self, name, *, workdir=None, strategy=None, **changes):
    """Trains a run of `_RUNS`; returns its first and its last weights."""
    workdir = workdir or self._directory()
    data = self._directory()
    mixed_records.write(data, "trainval")
    stage = name.removesuffix("_cached")
    values = dataclasses.asdict(fake_config.make(**{
        "stage": stage if stage in run.STAGES else "", "data": data,
        "eval_size": 40, "student_size": 56, "eval_split": "",
        "train_steps": 4, "keep_checkpoints": 9, "deterministic": "off",
        "dropout_rate": 0.25,
        "teacher": self._teacher() if stage.startswith("kd_") else "",
        **_RUNS[name], **changes}))
    del values["classes"]
    run.run(workdir, strategy=strategy or tf.distribute.OneDeviceStrategy(
        "CPU:0"), **values)
    return [self._weights(workdir, step)
            for step in (0, values["train_steps"])]

  def _trained(self, name):
    """The last weights of a run that warps on the device, trained once."""
    if name not in self._kept:
      self._kept[name] = self._train(name, resize_on_device=True)[1]
    return self._kept[name]

  def _teacher(self):
    """The work directory of a teacher that is not trained."""
    directory = self._directory()
    config = fake_config.make(eval_size=40)
    config_lib.write(config, directory)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=models.build(config)),
        run_folder.RunFolder(directory).checkpoints, max_to_keep=1).save(10)
    return directory

  def _weights(self, workdir, step):
    reader = tf.train.load_checkpoint(
        f"{run_folder.RunFolder(workdir).checkpoints}/ckpt-{step}")
    return {name: reader.get_tensor(name)
            for name in reader.get_variable_to_shape_map()
            if name.startswith("model/")}

  def test_teacher_learns_the_same(self):
    self._check_learns_the_same("wsd")

  @parameterized.parameters("cls", "kd_prediction_cached")
  @pytest.mark.one_lane
  def test_student_learns_the_same(self, name):
    self._check_learns_the_same(name)

  @parameterized.parameters(
      "kd_feature", "kd_feature_cached", "kd_prediction", "frozen")
  @pytest.mark.slow
  def test_other_stage_learns_the_same(self, name):
    self._check_learns_the_same(name)

  def _check_learns_the_same(self, name):
    before, plain = self._train(name)
    on_device = self._trained(name)
    self.assertEqual(set(plain), set(on_device))
    learned = [key for key in plain if plain[key].dtype == np.float32]
    moved = max(np.max(np.abs(plain[key] - before[key])) for key in learned)
    self.assertGreater(moved, 1e-5)
    for key in learned:
      self.assertAllClose(on_device[key], plain[key], rtol=0,
                          atol=0.02 * moved, msg=key)

  @pytest.mark.one_lane
  def test_resumed_run_is_an_uninterrupted_one(self):
    self._check_resumed("cls")

  @pytest.mark.slow
  def test_resumed_distillation_is_an_uninterrupted_one(self):
    self._check_resumed("kd_prediction")

  def _check_resumed(self, name):
    settings = {"resize_on_device": True, "cache": "memory"}
    _, expected = self._train(name, **settings)
    workdir = self._directory()
    self._train(name, workdir=workdir, train_steps=2, **settings)
    _, resumed = self._train(name, workdir=workdir, **settings)
    for key, values in expected.items():
      np.testing.assert_array_equal(resumed[key], values, err_msg=key)

  @pytest.mark.slow
  def test_two_replicas_learn_what_one_does(self):
    one = self._trained("wsd")
    _, two = self._train("wsd", resize_on_device=True,
                         strategy=environment.two_replicas())
    for key, values in one.items():
      self.assertAllClose(two[key], values, rtol=1e-4, atol=1e-6, msg=key)


if __name__ == "__main__":
  tf.test.main()
