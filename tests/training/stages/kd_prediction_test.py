"""Stage 2 of the distillation: its loss, its teacher, what it trains."""

import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.modeling import student as student_lib
from kdwsd.modeling import student_losses
from kdwsd.training import config as config_lib
from kdwsd.training import run
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import students
from tests.training import fake_config
from tests.training import fake_teacher

_SEEDS = np.array([[0, 1], [0, 2]], np.int32)


def _sigmoid_cross_entropy(targets, logits):
  """Caffe's SigmoidCrossEntropyLoss in float64, summed over classes."""
  z, t = np.float64(logits), np.float64(targets)
  terms = z * (t - (z >= 0)) - np.log(1 + np.exp(z - 2 * z * (z >= 0)))
  return -terms.sum(axis=1)


def _batch(config, directory):
  record_set = fake_teacher.write_records(directory, "trainval", [2, 2])
  dataset = input_pipeline.training_batches(
      record_set, global_batch_size=2, sizes=(config.eval_size,),
      num_proposals=config.num_proposals, seed=0)
  dataset = students.add_images(
      dataset, config, None, record_set, augmented=False, for_teacher=True)
  return next(iter(dataset)), record_set


class KdPredictionTest(tf.test.TestCase, parameterized.TestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def setUp(self):
    super().setUp()
    self.directory = self._directory()
    self.teacher = fake_teacher.make(self.directory)
    self.config = fake_config.make(
        stage="kd_prediction", fc_units=0, dropout_rate=0.2,
        data=self.directory)
    self.student = student_lib.build(student_lib.StudentConfig(
        num_classes=len(self.config.classes), image_size=32, backbone="small",
        fc_units=0, dropout_rate=0.2))
    self.trainee = trainee_lib.Trainee(self.student, student_temperature=5.0)

  def _step(self, teacher, **options):
    return kd_prediction.make_step(
        self.trainee, teacher, student_losses.hard_loss("sigmoid"), **options)

  def test_loss_is_hard_plus_soft(self):
    batch, _ = _batch(self.config, self.directory)
    self.trainee.inverse_temperature.assign(
        np.linspace(0.1, 0.4, len(self.config.classes)))
    found = self._step(self.teacher, hard_weight=0.5, soft_weight=2.0)(
        batch, _SEEDS)
    logits = self.student(
        batch["student_image"], training=True, dropout_seeds=_SEEDS)
    scores = teacher_lib.image_scores(self.teacher, batch, temperature=0.5)
    scale = self.trainee.inverse_temperature.numpy()
    hard = _sigmoid_cross_entropy(batch["labels"], logits)
    soft = _sigmoid_cross_entropy(scores, logits.numpy() * scale)
    self.assertAllClose(found["hard_loss"], hard, rtol=1e-5)
    self.assertAllClose(found["soft_loss"], soft, rtol=1e-5)
    self.assertAllClose(found["loss"], 0.5 * hard + 2 * soft, rtol=1e-5)

  def test_labels_that_are_unknown_are_left_out_of_the_hard_loss(self):
    batch, _ = _batch(self.config, self.directory)
    step = self._step(self.teacher)
    known = step(batch, _SEEDS)
    batch["label_weights"] = tf.constant([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = step(batch, _SEEDS)
    logits = self.student(
        batch["student_image"], training=True, dropout_seeds=_SEEDS)
    first = _sigmoid_cross_entropy(batch["labels"][:, :1], logits[:, :1])
    self.assertAllClose(found["hard_loss"], [first[0], 0.0], rtol=1e-5)
    self.assertAllEqual(found["soft_loss"], known["soft_loss"])

  def test_teacher_scores_have_logits_doubled(self):
    batch, _ = _batch(self.config, self.directory)
    outputs = self.teacher.model(batch)
    valid = batch["valid"].numpy()
    classes = np.exp(2 * np.float64(outputs["class_logits"]))
    classes /= classes.sum(axis=2, keepdims=True)
    # The fake teacher was trained with detection temperature 2.
    regions = np.exp(2 * np.float64(outputs["detection_logits"]) / 2.0)
    regions *= valid[..., np.newaxis]
    regions /= regions.sum(axis=1, keepdims=True)
    self.assertAllClose(
        teacher_lib.image_scores(self.teacher, batch, temperature=0.5),
        (classes * regions).sum(axis=1), rtol=1e-4)

  def test_image_without_proposals_has_no_soft_loss(self):
    batch, _ = _batch(self.config, self.directory)
    batch["valid"] = tf.constant(
        [[True] * self.config.num_proposals,
         [False] * self.config.num_proposals])
    found = self._step(self.teacher)(batch, _SEEDS)
    self.assertEqual(found["soft_loss"][1], 0.0)
    self.assertGreater(found["soft_loss"][0], 0.0)
    self.assertGreater(found["hard_loss"][1], 0.0)

  def test_cache_gives_the_same_losses_as_the_teacher_online(self):
    workdir = self._teacher_run()
    record_set = fake_teacher.write_records(self.directory, "trainval", [3, 2])
    losses = {}
    for cache in ("on", "off"):
      config = fake_config.make(
          stage="kd_prediction", fc_units=0, data=self.directory,
          teacher=workdir, teacher_checkpoint="last", teacher_cache=cache,
          dropout_rate=0.0)
      stage = kd_prediction.make(config, record_set)
      dataset = stage.add_to_batches(input_pipeline.training_batches(
          record_set, global_batch_size=2, sizes=stage.sizes,
          num_proposals=config.num_proposals, seed=3))
      losses[cache] = [
          stage.step(batch, _SEEDS)["loss"] for batch in dataset.take(5)]
      self.assertEqual("image" in dataset.element_spec, cache == "off")
    self.assertAllClose(losses["on"], losses["off"], rtol=1e-5)
    self.assertGreater(np.std(losses["on"]), 1e-3)

  def test_teacher_is_in_no_checkpoint_and_gets_no_gradient(self):
    workdir = self._teacher_run()
    record_set = fake_teacher.write_records(self.directory, "trainval", [2])
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, data=self.directory,
        teacher=workdir, teacher_checkpoint="last", teacher_cache="off")
    self.assertEmpty(teacher_lib.load(
        workdir, "last", config.classes).model.trainable_variables)
    stage = kd_prediction.make(config, record_set)
    path = tf.train.Checkpoint(model=stage.model).write(
        self._directory() + "/model")
    names = [name for name, _ in tf.train.list_variables(path)]
    self.assertFalse([name for name in names if "fc8_d" in name])
    self.assertTrue([name for name in names if "inverse_temperature" in name])
    batch, _ = _batch(config, self.directory)
    with tf.GradientTape() as tape:
      tape.watch(self.teacher.model.variables)
      loss = self._step(self.teacher)(batch, _SEEDS)["loss"]
    gradients = tape.gradient(loss, self.teacher.model.variables)
    self.assertAllEqual([g is None for g in gradients], [True] * len(gradients))

  def test_inverse_temperature_learns_fast_and_does_not_decay(self):
    for optimizer in ("sgd", "adam"):
      multipliers = run._multipliers(fake_config.make(optimizer=optimizer))
      self.assertEqual(
          multipliers(self.trainee.inverse_temperature.name.split(":")[0]),
          (10.0, 0.0))
    self.assertAllClose(self.trainee.inverse_temperature,
                        [0.2] * len(self.config.classes))

  @parameterized.parameters(
      ({"teacher": ""}, "--teacher: expected the work directory"),
      ({"teacher": "nowhere"}, "nowhere: expected the work directory"))
  def test_missing_teacher_is_a_clear_error(self, changes, message):
    config = fake_config.make(stage="kd_prediction", fc_units=0, **changes)
    with self.assertRaisesRegex(errors.InputError, message):
      kd_prediction.make(config, None)

  def test_cache_of_a_random_teacher_is_refused(self):
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, teacher_cache="on",
        teacher_dropout=True)
    with self.assertRaisesRegex(errors.InputError, "noteacher_dropout"):
      kd_prediction.make(config, None)

  def test_teacher_of_other_classes_is_refused(self):
    workdir = self._teacher_run(classes=("ship", "plane", "car"))
    config = fake_config.make(
        stage="kd_prediction", fc_units=0, teacher=workdir)
    with self.assertRaisesRegex(errors.InputError, "number 1 is ship, not red"):
      kd_prediction.make(config, None)

  def _teacher_run(self, **changes):
    """A work directory as a run of stage wsd leaves it."""
    workdir = self._directory()
    teacher = fake_teacher.make(workdir, **changes)
    config_lib.write(teacher.config, workdir)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=teacher.model), workdir + "/checkpoints",
        max_to_keep=1).save(checkpoint_number=1)
    return workdir


if __name__ == "__main__":
  tf.test.main()
