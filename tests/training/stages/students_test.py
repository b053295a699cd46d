"""Where a student starts, and the images it sees."""

import os
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.modeling import student as student_lib
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import students
from tests.training import fake_config
from tests.training import fake_teacher


class StudentsTest(tf.test.TestCase, parameterized.TestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def _feature_run(self, *, step=10, **changes):
    """A work directory as a run of stage kd_feature leaves it."""
    workdir = self._directory()
    config = fake_config.make(
        stage="kd_feature", fc_units=0, seed=7, **changes)
    student = models.build(config)
    config_lib.write(config, workdir)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=trainee_lib.Trainee(student)),
        os.path.join(workdir, "checkpoints"), max_to_keep=1
    ).save(checkpoint_number=step)
    return workdir, student

  def test_stage_1_gives_all_but_the_classifier(self):
    workdir, before = self._feature_run()
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, feature_student=workdir)
    student = models.build(config)
    fresh = student.fc8.kernel.numpy()
    students.initialize(student, config)
    for ours, theirs in zip(student.backbone.variables,
                            before.backbone.variables):
      self.assertAllEqual(ours, theirs)
    self.assertAllEqual(student.fc8.kernel, fresh)
    self.assertNotAllClose(fresh, before.fc8.kernel)

  def test_frozen_stages_do_not_mix_up_variables(self):
    workdir, before = self._feature_run(frozen_stages=2)
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, feature_student=workdir)
    student = models.build(config)
    students.initialize(student, config)
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
      students.initialize(models.build(config), config)

  def test_another_stage_or_nothing_is_refused(self):
    workdir, _ = self._feature_run()
    config_lib.write(fake_config.make(stage="cls", fc_units=0), workdir)
    for path, message in ((workdir, "Received: stage cls"),
                          ("nowhere", "nowhere: expected the work directory")):
      config = fake_config.make(
          stage="kd_prediction", fc_units=0, feature_student=path)
      with self.assertRaisesRegex(errors.InputError, message):
        students.initialize(models.build(config), config)

  def _batches(self, config, *, augmented=True, for_teacher=False):
    directory = self._directory()
    record_set = fake_teacher.write_records(directory, "trainval", [3])
    dataset = input_pipeline.training_batches(
        record_set, global_batch_size=2, sizes=(48,), num_proposals=4, seed=0)
    added = students.add_images(
        dataset, config, augmented=augmented, for_teacher=for_teacher)
    return [(plain, more) for plain, more in zip(dataset.take(3),
                                                 added.take(3))]

  def test_teacher_and_student_see_the_same_image(self):
    for plain, more in self._batches(fake_config.make(), for_teacher=True):
      self.assertAllEqual(plain["image"], more["image"])
      self.assertAllClose(
          more["student_image"], student_lib.resize(plain["image"], 32))

  def test_augmentation_goes_by_seed_and_place_in_the_run(self):
    config = fake_config.make(randaugment_layers=2, cutout_size=12)
    once = self._batches(config)
    twice = self._batches(config)
    for (plain, first), (_, second) in zip(once, twice):
      self.assertNotIn("image", first)
      self.assertAllEqual(first["student_image"], second["student_image"])
      self.assertNotAllClose(first["student_image"],
                             student_lib.resize(plain["image"], 32))
    other = self._batches(fake_config.make(
        randaugment_layers=2, cutout_size=12, seed=1))
    self.assertTrue(any(
        np.any(a[1]["student_image"] != b[1]["student_image"])
        for a, b in zip(once, other)))

  def test_regions_keep_their_images_as_they_are(self):
    config = fake_config.make(randaugment_layers=2, cutout_size=12)
    for plain, more in self._batches(config, augmented=False):
      self.assertAllClose(
          more["student_image"], student_lib.resize(plain["image"], 32))


if __name__ == "__main__":
  tf.test.main()
