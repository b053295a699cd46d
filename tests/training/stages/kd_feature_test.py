"""Stage 1 of the distillation: which regions, which layers, which weights."""

import dataclasses
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import student as student_lib
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import kd_feature
from tests.training import fake_config
from tests.training import fake_teacher

_SEEDS = np.array([[0, 1], [0, 2]], np.int32)


def _batch(count=6):
  random = np.random.RandomState(0)
  corners = np.sort(random.rand(2, count, 2, 2), axis=2)
  valid = np.ones([2, count], bool)
  valid[1, count - 2:] = False
  image = random.uniform(0, 255, [2, 48, 48, 3])
  return {
      "image": tf.constant(image, tf.float32),
      "student_image": student_lib.resize(tf.constant(image), 112),
      "proposals": tf.constant(corners.reshape(2, count, 4), tf.float32),
      "objectness": tf.constant(random.uniform(0.2, 1, [2, count]), tf.float32),
      "valid": tf.constant(valid),
  }


class KdFeatureTest(tf.test.TestCase, parameterized.TestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def setUp(self):
    super().setUp()
    self.teacher = fake_teacher.make(
        self._directory(), score_scale=2.0, score_bias=0.5)
    self.student = student_lib.build(student_lib.StudentConfig(
        num_classes=3, image_size=112, backbone="small", fc_units=6,
        dropout_rate=0.0, seed=1))
    self.trainee = trainee_lib.Trainee(self.student)

  def _step(self, **options):
    return kd_feature.make_step(self.trainee, self.teacher, **options)

  def test_loss_is_half_the_mean_squared_distance(self):
    batch = _batch()
    outputs = teacher_lib.run(self.teacher, batch)
    found = self.student.regions(
        batch["student_image"], batch["proposals"],
        tf.where(batch["valid"], 2 * batch["objectness"] + 0.5, 0.0))
    distances = np.square(np.float64(outputs["layers"]["fc7"])
                          - np.float64(found["fc7"])).sum(axis=2)   # [2, R]
    expected = [distances[0].mean() / 2, distances[1, :4].mean() / 2]
    self.assertAllClose(
        self._step()(batch, _SEEDS)["loss"], expected, rtol=1e-4)

  @parameterized.parameters(0, 6)
  def test_factor_may_be_that_of_an_image(self, top_k):
    student = student_lib.build(dataclasses.replace(
        self.student.config, feature_scale=0.25))
    batch = _batch()
    targets = teacher_lib.run(self.teacher, batch)["layers"]["fc7"]
    found = student.regions(
        batch["student_image"], batch["proposals"],
        tf.where(batch["valid"], 0.25, 0.0))["fc7"]
    distances = np.square(np.float64(targets) - np.float64(found)).sum(axis=2)
    step = kd_feature.make_step(
        trainee_lib.Trainee(student), self.teacher, student_factor="image",
        top_k=top_k)
    self.assertAllClose(
        step(batch, _SEEDS)["loss"],
        [distances[0].mean() / 2, distances[1, :4].mean() / 2], rtol=1e-4)

  def test_all_rois_as_best_rois_are_all_rois(self):
    batch = _batch()
    self.assertAllClose(self._step(top_k=6)(batch, _SEEDS)["loss"],
                        self._step()(batch, _SEEDS)["loss"], rtol=1e-5)

  def test_best_rois_go_by_score_and_padding_comes_last(self):
    scores = tf.constant([[0.1, 0.9, 0.9, 0.0, 0.7]])
    valid = tf.constant([[True, True, True, True, False]])
    self.assertAllEqual(
        teacher_lib.best_rois(scores, valid, 4), [[1, 2, 0, 3]])
    self.assertAllEqual(teacher_lib.best_rois(scores, valid, 9).shape, [1, 5])

  def test_uniform_scores_weigh_like_no_weights(self):
    teacher = fake_teacher.make(self._directory(), spread=0.0)
    batch = _batch()
    losses = [
        kd_feature.make_step(self.trainee, teacher, roi_weight=kind)(
            batch, _SEEDS)["loss"] for kind in ("uniform", "teacher")]
    self.assertAllClose(losses[0], losses[1], rtol=1e-5)
    other = self._step(roi_weight="teacher")(batch, _SEEDS)["loss"]
    self.assertNotAllClose(other, self._step()(batch, _SEEDS)["loss"])

  def test_several_layers_add_up(self):
    found = self._step(layers=("fc7", "fc6", "pool"))(_batch(), _SEEDS)
    self.assertAllEqual(
        sorted(found), ["fc6_loss", "fc7_loss", "loss", "pool_loss"])
    self.assertAllClose(
        found["loss"],
        found["fc7_loss"] + found["fc6_loss"] + found["pool_loss"])
    self.assertAllClose(
        found["fc7_loss"], self._step()(_batch(), _SEEDS)["loss"])

  def test_adapter_maps_to_the_teachers_width(self):
    compact = student_lib.build(student_lib.StudentConfig(
        num_classes=3, image_size=64, backbone="small", fc_units=0))
    teacher = self.teacher.model
    with self.assertRaisesRegex(errors.InputError, "width, 6, or.*with 128"):
      kd_feature._adapters(compact, teacher, ("fc7",), "none")
    with self.assertRaisesRegex(errors.InputError, "Received: 'fc6'"):
      kd_feature._adapters(compact, teacher, ("fc6",), "linear")
    adapters = kd_feature._adapters(compact, teacher, ("fc7",), "linear")
    self.assertEqual(adapters["fc7"].kernel.shape, [128, 6])
    self.assertEqual(adapters["fc7"].kernel.name, "adapter_fc7/kernel:0")

  @parameterized.parameters(
      (("fc7",), {"fc8"}), (("fc6",), {"fc7", "fc8"}),
      (("pool",), {"fc6", "fc7", "fc8"}))
  def test_every_trained_variable_gets_a_gradient(self, layers, untrained):
    variables = kd_feature._trained(self.trainee, layers)
    with tf.GradientTape() as tape:
      loss = self._step(layers=layers)(_batch(), _SEEDS)["loss"]
    gradients = tape.gradient(loss, variables)
    self.assertFalse([v.name for v, g in zip(variables, gradients)
                      if g is None])
    trained = {v.name.split("/")[-2] for v in variables}
    everything = {v.name.split("/")[-2]
                  for v in self.student.trainable_variables}
    self.assertEqual(everything - trained, untrained)

  def test_a_frozen_backbone_alone_is_refused(self):
    student = student_lib.build(dataclasses.replace(
        self.student.config, frozen_stages=4))
    trainee = trainee_lib.Trainee(student)
    with self.assertRaisesRegex(
        errors.InputError, "frozen_stages=4.*feature_layers=pool"):
      kd_feature._trained(trainee, ["pool"])
    self.assertNotEmpty(kd_feature._trained(trainee, ["fc6"]))

  def test_cache_of_all_regions_or_of_a_random_teacher_is_refused(self):
    workdir = self._directory()
    for changes, message in (
        ({"top_k_rois": 0}, "expected --top_k_rois"),
        ({"top_k_rois": 2, "teacher_dropout": True}, "noteacher_dropout")):
      config = fake_config.make(
          stage="kd_feature", teacher=workdir, teacher_cache="on", **changes)
      with self.assertRaisesRegex(errors.InputError, message):
        kd_feature.check(config)


if __name__ == "__main__":
  tf.test.main()
