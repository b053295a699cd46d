"""The images a student sees."""

import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.data import input_pipeline
from kdwsd.modeling import student as student_lib
from kdwsd.training.stages import students
from tests.training import fake_config
from tests.training import fake_teacher


class StudentsTest(tf.test.TestCase, parameterized.TestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def _batches(self, config, *, augmented=True, for_teacher=False):
    directory = self._directory()
    record_set = fake_teacher.write_records(directory, "trainval", [3])
    dataset = input_pipeline.training_batches(
        record_set, global_batch_size=2, sizes=(48,), num_proposals=4, seed=0)
    added = students.add_images(
        dataset, config, None, record_set, augmented=augmented,
        for_teacher=for_teacher)
    return [(plain, more) for plain, more in zip(dataset.take(3),
                                                 added.take(3))]

  def test_teacher_and_student_see_the_same_image(self):
    for plain, more in self._batches(fake_config.make(), for_teacher=True):
      self.assertAllEqual(plain["image"], more["image"])
      self.assertAllClose(
          more["student_image"], student_lib.resize(plain["image"], 32))

  def test_augmentation_goes_by_seed_and_place_in_the_run(self):
    config = fake_config.make(randaugment_layers=1, cutout_size=12)
    once = self._batches(config)
    twice = self._batches(config)
    for (plain, first), (_, second) in zip(once, twice):
      self.assertNotIn("image", first)
      self.assertAllEqual(first["student_image"], second["student_image"])
      self.assertNotAllClose(first["student_image"],
                             student_lib.resize(plain["image"], 32))
    other = self._batches(fake_config.make(
        randaugment_layers=1, cutout_size=12, seed=1))
    self.assertTrue(any(
        np.any(a[1]["student_image"] != b[1]["student_image"])
        for a, b in zip(once, other)))

  def test_regions_keep_their_images_as_they_are(self):
    config = fake_config.make(randaugment_layers=1, cutout_size=12)
    for plain, more in self._batches(config, augmented=False):
      self.assertAllClose(
          more["student_image"], student_lib.resize(plain["image"], 32))


if __name__ == "__main__":
  tf.test.main()
