"""Tests of kdwsd.training.teacher_cache."""

import dataclasses
import os
import shutil
import tempfile
import types
from unittest import mock

from absl.testing import parameterized
import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.evaluation import device_batches
from kdwsd.training import cached_arrays
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import teacher_cache
from tests import environment
from tests.training import fake_teacher

_COUNTS = (4, 3, 2)
_NUM_IMAGES = sum(_COUNTS)
_SIZE, _NUM_PROPOSALS = 32, 8  # Records have 6 proposals: 2 are padding.
_TEMPERATURE = 0.5
_LAYERS = ("pool", "fc6", "fc7")
# Another value for each field of the config that decides the answers.
_SHAPING = {
    "classes": ("a", "b", "c"), "backbone": "vgg16", "backbone_width": 0.5,
    "fc_units": 7, "roi_pooling": "max", "score_scale": 10.0, "score_bias": 1.0,
    "class_temperature": 2.0, "detection_temperature": 1.0}


class TeacherCacheTest(tf.test.TestCase, parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    directory = tempfile.TemporaryDirectory()
    cls.addClassCleanup(directory.cleanup)
    cls.root = directory.name
    cls.records = fake_teacher.write_records(cls.root, "train", _COUNTS)
    # The first images of the other split.
    cls.few = fake_teacher.write_records(cls.root, "few", (3,))
    cls.teacher = fake_teacher.make(cls.root)
    cls.scores, cls.features = cls._scores(), cls._rois()
    cls.table = cls.scores.read()                                 # [9, 2, C]

  @classmethod
  def _scores(cls, teacher=None, **options):
    return teacher_cache.image_scores(teacher or cls.teacher, **{
        "record_set": cls.records, "size": _SIZE, "temperature": _TEMPERATURE,
        "num_proposals": _NUM_PROPOSALS, **options})

  @classmethod
  def _rois(cls, teacher=None, **options):
    return teacher_cache.roi_features(teacher or cls.teacher, **{
        "record_set": cls.records, "size": _SIZE, "top_k": 4,
        "num_proposals": _NUM_PROPOSALS, "layers": _LAYERS, **options})

  def _elsewhere(self, record_set=None):
    """The same records, with caches in an empty folder."""
    return dataclasses.replace(
        record_set or self.records, directory=tempfile.mkdtemp(dir=self.root))

  def _training_batches(self, seed=3, **options):
    return input_pipeline.training_batches(
        self.records, global_batch_size=4, sizes=(_SIZE,),
        num_proposals=_NUM_PROPOSALS, seed=seed, shuffle_buffer=5, **options)

  def _online(self, batch):
    return teacher_lib.image_scores(
        self.teacher, batch, temperature=_TEMPERATURE)

  def _folder(self, make, *arguments, **options):
    """Where an array would lie, without computing it."""
    with mock.patch.object(
        cached_arrays.CachedArray, "fill", autospec=True) as fill:
      make(*arguments, **options)
    return fill.call_args.args[0].folder

  @pytest.mark.slow
  def test_answers_from_kept_maps_are_the_same(self):
    teacher = fake_teacher.make(self.root, frozen_stages=2, frozen_cache=True)
    plain = dataclasses.replace(teacher, config=dataclasses.replace(
        teacher.config, frozen_cache=False))
    expected = self._scores(plain).read()
    self.assertAllClose(self._scores(teacher).read(), expected, atol=1e-4)
    found, online = self._rois(teacher).read(), self._rois(plain).read()
    self.assertAllEqual(found["indices"], online["indices"])
    self.assertAllClose(found["fc7"], online["fc7"], rtol=5e-3, atol=5e-3)
    # Were the whole teacher run, spoilt maps would do no harm.
    take = cached_arrays.CachedArray.take
    with mock.patch.object(cached_arrays.CachedArray, "take",
                           lambda *where: 0.0 * take(*where)):
      spoilt = self._scores(teacher, record_set=self._elsewhere())
    self.assertNotAllClose(spoilt.read(), expected, atol=1e-4)

  def test_scores_of_the_fake_tell_images_and_mirrors_apart(self):
    rows = self.table.reshape(-1, self.table.shape[-1])
    distances = np.abs(rows[:, np.newaxis] - rows).max(axis=-1)
    self.assertAllGreater(distances + np.eye(len(rows)), 1e-3)

  @parameterized.product(mirror=[False, True], batch_size=[1, 4])
  def test_scores_are_those_of_the_teacher_online(self, mirror, batch_size):
    batches = input_pipeline.evaluation_batches(
        self.records, size=_SIZE, num_proposals=_NUM_PROPOSALS,
        batch_size=batch_size)
    if mirror:
      batches = batches.map(input_pipeline.mirrored)
    for batch in batches:
      self.assertAllClose(
          self.table[batch["record_index"], int(mirror)], self._online(batch),
          rtol=1e-5, atol=1e-6)

  def test_scores_made_under_a_strategy_are_the_same(self):
    strategy = environment.two_replicas()
    with strategy.scope(), tempfile.TemporaryDirectory() as directory:
      mirrored = fake_teacher.make(directory)
      scores = self._scores(
          mirrored, record_set=self._elsewhere(self.few))
    self.assertAllClose(scores.read(), self.table[:3], rtol=1e-5, atol=1e-6)

  @parameterized.parameters(1, 3, 8)
  def test_batches_of_a_gpu_give_the_same_with_one_trace(self, batch_size):
    # Copied as to a GPU, to the second of the tests' two logical devices.
    with mock.patch.multiple(
        device_batches, on_gpu=lambda: True,
        _GPU=tf.config.list_logical_devices()[-1].name,
        default_size=lambda *_, **__: batch_size), mock.patch.object(
            teacher_lib, "image_scores",
            wraps=teacher_lib.image_scores) as run:
      scores = self._scores(record_set=self._elsewhere())
    self.assertEqual(run.call_count, 1)
    self.assertAllClose(scores.read(), self.table, rtol=1e-5, atol=1e-6)

  def test_kept_scores_need_no_teacher(self):
    with mock.patch.object(
        teacher_lib, "image_scores", side_effect=AssertionError):
      self.assertAllEqual(self._scores().read(), self.table)

  def test_only_lost_shards_are_computed_again(self):
    copied = self._elsewhere()
    shutil.copytree(os.path.join(self.root, "teacher_cache"),
                    os.path.join(copied.directory, "teacher_cache"))
    folder = self._folder(self._scores, record_set=copied)
    shards = sorted(p for p in os.listdir(folder) if p.endswith(".npy"))
    self.assertLen(shards, len(_COUNTS))
    os.remove(os.path.join(folder, shards[0]))
    os.truncate(os.path.join(folder, shards[2]), 140)
    with mock.patch.object(teacher_lib, "image_scores",
                           wraps=teacher_lib.image_scores) as run:
      self.assertAllClose(
          self._scores(record_set=copied).read(), self.table)
    self.assertEqual(run.call_count, 1)  # One trace for all of 12 images.
    # A shard computed with this is full of zeros.
    os.remove(os.path.join(folder, shards[1]))
    with mock.patch.object(teacher_lib, "image_scores",
                           side_effect=lambda *_, **__: tf.zeros([1, 3])):
      changed = self._scores(record_set=copied).read()
    self.assertAllEqual(changed[4:7], np.zeros([3, 2, 3]))
    self.assertAllClose(np.delete(changed, [4, 5, 6], axis=0),
                        np.delete(self.table, [4, 5, 6], axis=0))

  @parameterized.parameters(
      {"size": 48}, {"num_proposals": 7}, {"temperature": 1.0})
  def test_other_settings_have_another_folder(self, **change):
    self.assertNotEqual(self._folder(self._scores),
                        self._folder(self._scores, **change))

  @parameterized.parameters(
      {"size": 48}, {"num_proposals": 7}, {"top_k": 3}, {"layers": ("fc7",)})
  def test_other_settings_of_rois_have_another_folder(self, **change):
    self.assertNotEqual(self._folder(self._rois),
                        self._folder(self._rois, **change))

  def test_other_weights_have_another_folder(self):
    with tempfile.TemporaryDirectory() as directory:
      other = fake_teacher.make(directory, spread=2.0)
      for make in (self._scores, self._rois):
        self.assertNotEqual(self._folder(make), self._folder(make, other))

  @parameterized.parameters(*_SHAPING.items(), ("refinement_branches", 2))
  def test_teacher_built_otherwise_has_another_folder(self, name, value):
    config = dataclasses.replace(self.teacher.config, **{name: value})
    other = dataclasses.replace(self.teacher, config=config)
    for make in (self._scores, self._rois):
      self.assertNotEqual(self._folder(make), self._folder(make, other))

  def test_every_field_that_shapes_the_teacher_is_tested(self):
    self.assertCountEqual(_SHAPING, teacher_cache._SHAPING)

  def test_teacher_of_another_precision_has_another_folder(self):
    model = types.SimpleNamespace(
        compute_dtype="float16", backbone=self.teacher.model.backbone)
    other = dataclasses.replace(self.teacher, model=model)
    for make in (self._scores, self._rois):
      self.assertNotEqual(self._folder(make), self._folder(make, other))

  def test_how_the_teacher_was_trained_is_of_no_account(self):
    config = dataclasses.replace(
        self.teacher.config, learning_rate=1.0, cache="memory", eval_size=64)
    other = dataclasses.replace(self.teacher, config=config)
    self.assertEqual(self._folder(self._scores),
                     self._folder(self._scores, other))

  def test_copy_of_the_teacher_finds_the_same_folder(self):
    with tempfile.TemporaryDirectory() as directory:
      for name in os.listdir(self.root):
        if name.startswith("ckpt-1"):
          shutil.copy(os.path.join(self.root, name), directory)
      other = dataclasses.replace(
          self.teacher, checkpoint=os.path.join(directory, "ckpt-1"))
      self.assertEqual(self._folder(self._scores),
                       self._folder(self._scores, other))

  def test_other_records_have_another_folder(self):
    with tempfile.TemporaryDirectory() as directory:
      other = fake_teacher.write_records(directory, "train", _COUNTS, seed=1)
      self.assertNotEqual(self._folder(self._scores),
                          self._folder(self._scores, record_set=other))

  def test_scores_that_are_not_finite_name_the_image(self):
    batches = list(input_pipeline.evaluation_batches(
        self.records, size=_SIZE, num_proposals=_NUM_PROPOSALS
    ).map(input_pipeline.mirrored))

    def diverged(teacher, batch, temperature):
      del teacher, temperature
      same = tf.reduce_all(batch["proposals"] == batches[5]["proposals"])
      return tf.where(same, np.nan, 0.0) + tf.zeros([1, 3])

    with mock.patch.object(teacher_lib, "image_scores", diverged):
      with self.assertRaisesRegex(
          errors.InputError, "infinity for image 5 of the split"):
        self._scores(record_set=self._elsewhere())

  @parameterized.parameters("none", "memory")
  def test_targets_of_a_run_are_those_of_the_teacher_online(self, cache):
    batches = self.scores.join(self._training_batches(cache=cache))
    plain = self._training_batches()
    mirrored = []
    for batch, before in zip(batches.take(7), plain.take(7)):  # 28 of 9 images.
      self.assertAllClose(batch["teacher_image_scores"], self._online(before),
                          rtol=1e-5, atol=1e-6)
      self.assertAllEqual(batch["image"], before["image"])
      self.assertEqual(set(batch) - set(before), {"teacher_image_scores"})
      mirrored += list(batch["mirrored"].numpy())
    self.assertBetween(sum(mirrored), 4, 24)

  def test_resumed_run_has_the_targets_of_an_undisturbed_one(self):
    undisturbed, resumed = [
        list(self.scores.join(
            self._training_batches(start_step=start)).take(take))
        for start, take in ((0, 6), (4, 2))]
    for one, other in zip(undisturbed[4:], resumed):
      self.assertAllEqual(
          one["teacher_image_scores"], other["teacher_image_scores"])

  def test_a_large_array_is_read_from_disk_and_equal(self):
    with mock.patch.object(cached_arrays, "MOST_IN_MEMORY", 1):
      on_disk = self._scores()
    with mock.patch.object(on_disk, "read", side_effect=AssertionError):
      rows = on_disk.join(self._training_batches())
    for one, other in zip(
        rows.take(5), self.scores.join(self._training_batches())):
      self.assertEqual(one["teacher_image_scores"].dtype, tf.float32)
      self.assertAllEqual(
          one["teacher_image_scores"], other["teacher_image_scores"])

  def test_two_replicas_get_their_own_targets(self):
    strategy = environment.two_replicas()

    def batches(context):
      dataset = self._training_batches(input_context=context)
      return self.features.join(self.scores.join(dataset))

    seen = []
    for batch, _ in zip(
        strategy.distribute_datasets_from_function(batches), range(5)):
      for replica in range(2):
        part = tf.nest.map_structure(
            lambda values: values.values[replica],  # noqa: B023
            batch)
        self.assertAllClose(
            part["teacher_image_scores"], self._online(part), rtol=1e-5,
            atol=1e-6)
        self._check_rois(part)
        seen += list(part["record_index"].numpy())
    self.assertLen(seen, 20)
    self.assertEqual(set(seen), set(range(_NUM_IMAGES)))

  def _check_rois(self, batch):
    """Against the teacher online and a sort in NumPy."""
    outputs = self.teacher.model(batch, training=False)
    scores = outputs["proposal_scores"].numpy().max(axis=-1)      # [B, R]
    for row, count in enumerate(batch["valid"].numpy().sum(axis=1)):
      best = np.argsort(-scores[row, :count], kind="stable")[:4]
      self.assertAllEqual(batch["roi_indices"][row], best)
      self.assertAllEqual(batch["roi_valid"][row], np.ones(4, bool))
      self.assertAllClose(batch["roi_scores"][row], scores[row][best],
                          rtol=1e-5)
      for name in _LAYERS:
        self.assertAllClose(
            batch["teacher_layers"][name][row],
            outputs["layers"][name].numpy()[row][best], rtol=1e-3, atol=1e-3)

  def test_best_rois_are_those_of_the_teacher_online(self):
    batches = self.features.join(self._training_batches())
    for batch in batches.take(7):
      self._check_rois(batch)

  def test_features_of_the_fake_are_not_all_zero(self):
    rows = self.features.read()
    for name in _LAYERS:
      self.assertGreater(np.abs(rows[name].astype(np.float32)).max(), 0.1)

  def test_shapes_of_roi_features_are_known(self):
    batch = self.features.join(self._training_batches()).element_spec
    channels = self.teacher.model.backbone.num_channels
    expected = {
        "roi_indices": ([4, 4], tf.int32), "roi_scores": ([4, 4], tf.float32),
        "roi_valid": ([4, 4], tf.bool)}
    self.assertEqual(
        {key: (batch[key].shape.as_list(), batch[key].dtype)
         for key in expected}, expected)
    self.assertEqual(
        {name: spec.shape.as_list()
         for name, spec in batch["teacher_layers"].items()},
        {"pool": [4, 4, 7, 7, channels], "fc6": [4, 4, 6], "fc7": [4, 4, 6]})

  def test_missing_rois_are_not_valid_and_zero(self):
    rows = self._rois(record_set=self.few, top_k=20, layers=("fc6",)).read()
    self.assertEqual(rows["valid"].shape, (3, 2, _NUM_PROPOSALS))
    self.assertAllEqual(rows["valid"], np.tile(np.arange(8) < 6, [3, 2, 1]))
    self.assertAllEqual(rows["scores"][..., 6:], np.zeros([3, 2, 2]))
    self.assertAllEqual(rows["fc6"][..., 6:, :], np.zeros([3, 2, 2, 6]))
    self.assertAllEqual(
        np.sort(rows["indices"]), np.tile(np.arange(8), [3, 2, 1]))

  def test_of_equal_scores_the_first_come_first(self):
    with tempfile.TemporaryDirectory() as directory:
      flat = fake_teacher.make(directory, spread=0.0)
      rows = self._rois(
          flat, record_set=self.few, layers=("fc7",)).read()      # [3, 2]
    self.assertAllEqual(rows["indices"], np.tile(np.arange(4), [3, 2, 1]))
    self.assertAllClose(rows["scores"], np.full([3, 2, 4], 1 / 3 / 6))

  def test_kept_features_are_not_computed_again(self):
    before = self.features.read()
    with mock.patch.object(
        input_pipeline, "evaluation_batches", side_effect=AssertionError):
      np.testing.assert_array_equal(self._rois().read(), before)

  def test_unknown_layer_is_named(self):
    with self.assertRaisesRegex(
        errors.InputError, "out of fc6, fc7, pool. Received: fc9"):
      self._rois(layers=("fc7", "fc9"))

  def test_too_little_space_is_told_before_the_teacher_runs(self):
    disk = types.SimpleNamespace(total=10 ** 9, used=0, free=1000)
    with mock.patch.object(shutil, "disk_usage", return_value=disk):
      with mock.patch.object(
          input_pipeline, "evaluation_batches", side_effect=AssertionError):
        with self.assertRaisesRegex(errors.InputError, "free disk"):
          self._rois(record_set=self._elsewhere())

  def test_features_beyond_float16_are_an_error(self):
    with tempfile.TemporaryDirectory() as directory:
      huge = fake_teacher.make(directory)
      huge.model.fc7.bias.assign(tf.fill([6], 1e5))
      with self.assertRaisesRegex(errors.InputError, "infinity for image 0"):
        self._rois(huge, layers=("fc7",), record_set=self._elsewhere())


if __name__ == "__main__":
  tf.test.main()
