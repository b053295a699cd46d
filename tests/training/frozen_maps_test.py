"""What frozen stages make of images, kept: the losses stay the same."""

import glob
import os
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.training import models
from kdwsd.training import run
from tests.training import fake_config
from tests.training import fake_teacher

_SEEDS = np.array([[0, 1], [0, 2]], np.int32)


class FrozenMapsTest(tf.test.TestCase, parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.data = directory.name
    self.train_set = fake_teacher.write_records(self.data, "trainval", [3, 2])

  def _batches(self, stage, config, count=4):
    dataset = input_pipeline.training_batches(
        self.train_set, global_batch_size=2, sizes=stage.sizes,
        num_proposals=config.num_proposals, seed=0)
    return list(stage.add_to_batches(dataset).take(count))

  def _stage(self, name, **changes):
    config = fake_config.make(**{
        "stage": name, "data": self.data, "frozen_cache": True,
        "frozen_stages": 2, "fc_units": 4 if name == "wsd" else 0, **changes})
    return run.STAGES[name].make(config, self.train_set), config

  @parameterized.product(name=["wsd", "cls"], frozen_stages=[1, 2, 4])
  def test_losses_are_those_without(self, name, frozen_stages):
    stage, config = self._stage(name, frozen_stages=frozen_stages)
    key = "frozen_map" if name == "wsd" else "student_frozen_map"
    mirrored = []
    for batch in self._batches(stage, config):
      mirrored.extend(batch["mirrored"].numpy())
      images = batch["image" if name == "wsd" else "student_image"]
      frozen = (stage.model if name == "wsd"
                else stage.model.student).backbone.frozen(images)
      self.assertAllClose(batch[key], frozen, rtol=1e-3, atol=1e-3)
      kept = stage.step(batch, _SEEDS)["loss"]
      without = {k: v for k, v in batch.items() if k != key}
      self.assertAllClose(kept, stage.step(without, _SEEDS)["loss"], rtol=1e-3)
    self.assertLen(set(mirrored), 2)

  def test_the_map_is_what_is_used(self):
    stage, config = self._stage("wsd")
    batch = self._batches(stage, config, count=1)[0]
    other = {**batch, "frozen_map": 2.0 * batch["frozen_map"]}
    self.assertNotAllClose(stage.step(batch, _SEEDS)["loss"],
                           stage.step(other, _SEEDS)["loss"])
    blind = {**batch, "image": tf.zeros_like(batch["image"])}
    self.assertAllEqual(stage.step(batch, _SEEDS)["loss"],
                        stage.step(blind, _SEEDS)["loss"])

  def test_only_what_is_behind_gets_a_gradient(self):
    stage, config = self._stage("wsd", frozen_stages=2)
    batch = self._batches(stage, config, count=1)[0]
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(stage.step(batch, _SEEDS)["loss"])
    names = [variable.name for variable in stage.variables]
    self.assertTrue(any("conv5/" in name for name in names))
    self.assertFalse(any("conv4/" in name for name in names))
    for gradient in tape.gradient(loss, stage.variables):
      self.assertIsNotNone(gradient)

  def test_other_weights_sides_or_stages_have_maps_of_their_own(self):
    stage, config = self._stage("wsd")
    self._batches(stage, config, count=1)
    self._batches(stage, config, count=1)
    self.assertLen(self._folders(), 1)
    first = stage.model.backbone.frozen_variables[0]
    first.assign(first + 0.1)
    self._batches(stage, config, count=1)
    self.assertLen(self._folders(), 2)
    self._batches(*self._stage("wsd", train_sizes=(48,)), count=1)
    self.assertLen(self._folders(), 3)
    self._batches(*self._stage("wsd", frozen_stages=1), count=1)
    self.assertLen(self._folders(), 4)
    self._batches(*self._stage("cls"), count=1)
    self.assertLen(self._folders(), 5)

  def test_a_shard_is_computed_once(self):
    stage, config = self._stage("wsd")
    self._batches(stage, config, count=1)
    paths = sorted(glob.glob(os.path.join(self._folders()[0], "*.npy")))
    self.assertLen(paths, 2)
    os.remove(paths[1])
    before = os.stat(paths[0]).st_mtime_ns
    self._batches(stage, config, count=1)
    self.assertTrue(os.path.exists(paths[1]))
    self.assertEqual(os.stat(paths[0]).st_mtime_ns, before)

  def test_what_float16_cannot_hold_is_refused(self):
    stage, config = self._stage("wsd")
    first = stage.model.backbone.frozen_variables[0]
    first.assign(first * 1e6)
    with self.assertRaisesRegex(errors.InputError, "float16.*image 0 of"):
      self._batches(stage, config, count=1)

  @parameterized.parameters(
      ({"frozen_stages": 0}, "--frozen_stages of 1 or more. Received: 0"),
      ({"train_sizes": (32, 48)}, "Received: 32, 48"),
      ({"stage": "cls", "fc_units": 0, "cutout_size": 4}, "--cutout_size"))
  def test_what_cannot_be_kept_is_refused(self, changes, message):
    config = fake_config.make(**{
        "frozen_cache": True, "frozen_stages": 2, "data": self.data, **changes})
    with self.assertRaisesRegex(errors.InputError, message):
      run.STAGES[config.stage].make(config, self.train_set)

  def test_teacher_does_not_take_the_students_map(self):
    teacher = models.build(fake_config.make())
    batch = {"image": tf.fill([1, 32, 32, 3], 9.0),
             "proposals": tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
             "objectness": tf.ones([1, 1]), "valid": tf.ones([1, 1], tf.bool)}
    other = {**batch, "student_frozen_map": tf.zeros([1, 1, 1, 1])}
    self.assertAllEqual(teacher(batch)["image_scores"],
                        teacher(other)["image_scores"])

  def _folders(self):
    return [path for path in glob.glob(
        os.path.join(self.data, "frozen_maps", "*")) if os.path.isdir(path)]


if __name__ == "__main__":
  tf.test.main()
