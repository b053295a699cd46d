"""What a run starts from."""

import os
import tempfile

from absl.testing import parameterized
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training.stages import start
from tests.training import fake_config


class StartTest(tf.test.TestCase, parameterized.TestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def _run(self, *, step=10, **changes):
    """A work directory as a run leaves it, and its model."""
    workdir = self._directory()
    config = fake_config.make(seed=7, **changes)
    model = models.build(config)
    config_lib.write(config, workdir)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=models.as_saved(model, config)),
        os.path.join(workdir, "checkpoints"), max_to_keep=1
    ).save(checkpoint_number=step)
    return workdir, model

  def _feature_run(self, **changes):
    return self._run(stage="kd_feature", fc_units=0, **changes)

  def test_stage_1_gives_all_but_the_classifier(self):
    workdir, before = self._feature_run()
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, feature_student=workdir)
    student = models.build(config)
    fresh = student.fc8.kernel.numpy()
    start.initialize(student, config)
    for ours, theirs in zip(student.backbone.variables,
                            before.backbone.variables):
      self.assertAllEqual(ours, theirs)
    self.assertAllEqual(student.fc8.kernel, fresh)
    self.assertNotAllClose(fresh, before.fc8.kernel)

  def test_averages_of_stage_1_go_before_its_last_weights(self):
    workdir, averaged = self._feature_run()
    for variable in averaged.trainable_variables:
      variable.assign(variable + 1.0)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(
            model=models.as_saved(averaged, config_lib.read(workdir))),
        os.path.join(workdir, "best"), max_to_keep=1).save(checkpoint_number=10)
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, feature_student=workdir)
    student = models.build(config)
    start.initialize(student, config)
    for ours, theirs in zip(student.backbone.variables,
                            averaged.backbone.variables):
      self.assertAllEqual(ours, theirs)

  def test_frozen_stages_do_not_mix_up_variables(self):
    workdir, before = self._feature_run(frozen_stages=2)
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, feature_student=workdir)
    student = models.build(config)
    start.initialize(student, config)
    for name in ("conv1", "conv7"):
      ours, theirs = (
          next(variable for variable in model.backbone.variables
               if f"{name}/kernel" in variable.name)
          for model in (student, before))
      self.assertAllEqual(ours, theirs)

  @parameterized.parameters(
      ({"step": 5}, {}, "expected a finished run. Received: one at step 5 of"),
      ({}, {"student_size": 64}, "--student_size was 32, is 64"),
      ({}, {"fc_units": 4, "student_size": 56}, "--fc_units was 0, is 4"))
  def test_stage_1_that_does_not_fit_is_refused(self, before, after, message):
    workdir, _ = self._feature_run(**before)
    config = fake_config.make(**{
        "stage": "kd_prediction", "fc_units": 0, "feature_student": workdir,
        **after})
    with self.assertRaisesRegex(errors.InputError, message):
      start.initialize(models.build(config), config)

  def test_another_stage_or_nothing_is_refused(self):
    workdir, _ = self._feature_run()
    config_lib.write(fake_config.make(stage="cls", fc_units=0), workdir)
    for path, message in ((workdir, "Received: stage cls"),
                          ("nowhere", "nowhere: expected the work directory")):
      config = fake_config.make(
          stage="kd_prediction", fc_units=0, feature_student=path)
      with self.assertRaisesRegex(errors.InputError, message):
        start.initialize(models.build(config), config)

  def test_only_stage_2_starts_from_stage_1(self):
    workdir, _ = self._feature_run()
    config = fake_config.make(stage="cls", fc_units=0, feature_student=workdir)
    model = models.build(config)
    before = model.get_weights()
    start.initialize(model, config)
    for ours, theirs in zip(model.get_weights(), before):
      self.assertAllEqual(ours, theirs)

  def test_two_runs_to_start_from_are_refused(self):
    config = fake_config.make(
        stage="kd_prediction", init_from="a", feature_student="b")
    with self.assertRaisesRegex(errors.InputError, "Received: a and b"):
      start.check(config)

  @parameterized.parameters(
      ("wsd", "wsd", 4), ("cls", "cls", 0), ("kd_prediction", "cls", 0))
  def test_another_run_gives_all_weights(self, before, after, fc_units):
    workdir, other = self._run(stage=before, fc_units=fc_units)
    config = fake_config.make(
        stage=after, fc_units=fc_units, init_from=workdir)
    model = models.build(config)
    start.initialize(model, config)
    self.assertNotEmpty(model.variables)
    for ours, theirs in zip(model.variables, other.variables):
      self.assertAllEqual(ours, theirs)

  @parameterized.parameters((0, 2), (1, 2), (2, 0))
  def test_teachers_may_differ_in_their_branches(self, before, after):
    workdir, other = self._run(refinement_branches=before)
    config = fake_config.make(refinement_branches=after, init_from=workdir)
    model = models.build(config)
    fresh = {layer.name: layer.get_weights() for layer in model.layers}
    given = {layer.name: layer.get_weights() for layer in other.layers}
    start.initialize(model, config)
    for layer in model.layers:
      expected = given.get(layer.name, fresh[layer.name])
      self.assertNotEmpty(expected)
      for ours, theirs in zip(layer.get_weights(), expected):
        self.assertAllEqual(ours, theirs)
    self.assertNotAllClose(given["fc6"][0], fresh["fc6"][0])
    self.assertLen(fresh.keys() - given.keys(), max(0, after - before))

  @parameterized.parameters(
      ({"stage": "cls", "fc_units": 0}, {}, "stage wsd. Received: stage cls"),
      ({}, {"stage": "cls"}, "a student. Received: stage wsd"),
      ({}, {"fc_units": 5}, "--fc_units was 4, is 5"),
      ({"classes": ("a",)}, {}, "--classes was"))
  def test_a_run_of_another_model_is_refused(self, before, after, message):
    workdir, _ = self._run(**before)
    config = fake_config.make(**{"init_from": workdir, **after})
    with self.assertRaisesRegex(errors.InputError, message):
      start.check(config)

  def test_a_run_without_checkpoint_is_refused(self):
    workdir = self._directory()
    config_lib.write(fake_config.make(), workdir)
    with self.assertRaisesRegex(errors.InputError, "Received: none"):
      start.check(fake_config.make(init_from=workdir))


if __name__ == "__main__":
  tf.test.main()
