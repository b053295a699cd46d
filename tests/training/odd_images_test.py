"""Images that data may hold, odd as they are, in every stage: never a NaN."""

import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.evaluation import detection
from kdwsd.modeling import student as student_lib
from kdwsd.modeling import wsddn
from kdwsd.training import models
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import cls
from kdwsd.training.stages import kd_feature
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import wsd
from tests.training import fake_config
from tests.training import fake_teacher

_COUNT = 6

# Each is a row of the batch: (proposals, objectness, labels).
_BOXES = [[0, 0, .5, 1], [.25, .25, 1, 1], [0, 0, 1, 1], [0, .5, .5, 1],
          [.5, 0, 1, .5], [.25, 0, .75, 1]]
_IMAGES = {
    "no proposal": ([], [], [1, 0, 0]),
    "no label": (_BOXES, [1, .5, .4, .3, .2, .1], [0, 0, 0]),
    "one proposal": (_BOXES[:1], [.5], [0, 1, 0]),
    "neither": ([], [], [0, 0, 0]),
    "scores of 0": (_BOXES, [0] * 6, [1, 1, 0]),
    "negative scores": (_BOXES, [-.1, -1, -2, -3, -4, -50], [0, 0, 1]),
    "equal scores": (_BOXES, [.3] * 6, [1, 1, 1]),
    "huge scores": (_BOXES, [1e4] * 6, [0, 1, 1]),
    "boxes without area": (
        [[.5, .5, .5, .5], [0, 0, 0, 1], [1, 1, 1, 1], [0, .3, 1, .3]],
        [.4, .3, .2, .1], [1, 0, 1]),
    "boxes twice": ([_BOXES[1]] * 6, [.6, .5, .4, .3, .2, .1], [1, 0, 0]),
}


def _batch():
  random = np.random.RandomState(0)
  count = len(_IMAGES)
  batch = {"image": random.uniform(0, 255, [count, 32, 32, 3]),
           # In the padding lies what nobody may see.
           "proposals": np.full([count, _COUNT, 4], np.nan),
           "objectness": np.full([count, _COUNT], np.nan),
           "labels": [labels for _, _, labels in _IMAGES.values()],
           "label_weights": np.ones([count, 3])}
  valid = np.zeros([count, _COUNT], bool)
  for row, (boxes, scores, _) in enumerate(_IMAGES.values()):
    valid[row, :len(boxes)] = True
    batch["objectness"][row, :len(boxes)] = scores
    batch["proposals"][row, :len(boxes)] = np.reshape(boxes, [-1, 4])
  batch["student_image"] = random.uniform(0, 255, [count, 112, 112, 3])
  batch = {key: tf.constant(value, tf.float32) for key, value in batch.items()}
  return {**batch, "valid": tf.constant(valid)}


def _row(name):
  return list(_IMAGES).index(name)


class OddImagesTest(tf.test.TestCase, parameterized.TestCase):

  @classmethod
  def setUpClass(cls_):
    super().setUpClass()
    cls_.batch = _batch()
    cls_.seeds = tf.stack([tf.range(len(_IMAGES))] * 2, axis=1)

  def _teacher(self, **changes):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return fake_teacher.make(directory.name, **changes)

  def _student(self, fc_units):
    return student_lib.build(student_lib.StudentConfig(
        num_classes=3, image_size=112, backbone="small", fc_units=fc_units))

  def _losses(self, step, variables):
    """Losses of each image, all of which and whose gradients are finite."""
    with tf.GradientTape() as tape:
      losses = step(self.batch, self.seeds)
      total = tf.reduce_sum(losses["loss"])
    gradients = tape.gradient(total, variables)
    for name, values in losses.items():
      for image, value in zip(_IMAGES, values.numpy()):
        self.assertTrue(np.isfinite(value), f"{name} of {image}")
    for variable, gradient in zip(variables, gradients):
      if gradient is not None:
        self.assertTrue(np.isfinite(np.asarray(
            tf.convert_to_tensor(gradient))).all(), variable.name)
    return losses["loss"].numpy()

  @parameterized.parameters("crop_and_resize", "max")
  def test_teacher_learns_from_them(self, roi_pooling):
    teacher = self._teacher(roi_pooling=roi_pooling)
    teacher.model.trainable = True
    losses = self._losses(wsd.make_step(teacher.model, spatial_weight=1e-4),
                          teacher.model.trainable_variables)
    # A score of 0 for a class that is there costs what the floor says; and
    # nothing for one that is not.
    self.assertAllClose(losses[_row("no proposal")], -np.log(1e-4), rtol=1e-5)
    self.assertEqual(losses[_row("neither")], 0)

  def test_teacher_scores_them(self):
    scored = self._teacher().model(self.batch)
    valid = self.batch["valid"].numpy()
    for image, boxes, scores, of_proposals, keep in zip(
        _IMAGES, self.batch["proposals"].numpy(),
        scored["image_scores"].numpy(), scored["proposal_scores"].numpy(),
        valid):
      self.assertTrue(np.isfinite(of_proposals).all(), image)
      self.assertAllInRange(scores, 0, 1 + 1e-6)
      self.assertAllEqual(of_proposals[~keep], np.zeros([sum(~keep), 3]))
      found = detection.detect(boxes[keep], of_proposals[keep])
      self.assertTrue(np.isfinite(found.boxes).all(), image)

  def test_baseline_learns_from_them(self):
    student = self._student(0)
    self._losses(cls.make_step(student, cls.hard_loss(fake_config.make())),
                 student.trainable_variables)

  @parameterized.product(
      roi_weight=["uniform", "teacher"], top_k=[0, 2])
  def test_student_of_features_learns_from_them(self, roi_weight, top_k):
    teacher, student = self._teacher(), self._student(6)
    losses = self._losses(kd_feature.make_step(
        trainee_lib.Trainee(student), teacher, roi_weight=roi_weight,
        top_k=top_k, layers=("fc7", "pool")), student.trainable_variables)
    for image in ("no proposal", "neither"):
      self.assertEqual(losses[_row(image)], 0)

  def test_student_of_predictions_learns_from_them(self):
    teacher, student = self._teacher(), self._student(0)
    trainee = trainee_lib.Trainee(student, student_temperature=5.0)
    step = kd_prediction.make_step(
        trainee, teacher, cls.hard_loss(fake_config.make()))
    self._losses(step, [
        *student.trainable_variables, trainee.inverse_temperature])
    soft = step(self.batch, self.seeds)["soft_loss"].numpy()
    for image in ("no proposal", "neither"):
      self.assertEqual(soft[_row(image)], 0)

  @parameterized.parameters("wsd", "cls", "kd_feature", "kd_prediction")
  def test_weights_that_diverged_show_in_loss_or_gradient(self, stage):
    # What the inner loop looks at; tf.maximum, for one, may hide a NaN.
    teacher, student = self._teacher(), self._student(6)
    trainee = trainee_lib.Trainee(student, student_temperature=5.0)
    loss_on_labels = cls.hard_loss(fake_config.make())
    step, model = {
        "wsd": lambda: (wsd.make_step(teacher.model), teacher.model),
        "cls": lambda: (cls.make_step(student, loss_on_labels), student),
        "kd_feature": lambda: (
            kd_feature.make_step(trainee, teacher), student),
        "kd_prediction": lambda: (kd_prediction.make_step(
            trainee, teacher, loss_on_labels), student)}[stage]()
    model.trainable = True
    for value in (np.nan, np.inf):
      model.fc7.kernel.assign(tf.fill(model.fc7.kernel.shape, value))
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(step(self.batch, self.seeds)["loss"])
      norm = tf.linalg.global_norm([g for g in tape.gradient(
          loss, model.trainable_variables) if g is not None])
      self.assertFalse(np.isfinite(loss.numpy()) and np.isfinite(norm.numpy()))

  def test_5000_proposals(self):
    random = np.random.RandomState(0)
    corners = np.sort(random.rand(1, 5000, 2, 2), axis=2)
    model = wsddn.build(models.wsddn_config(fake_config.make()))
    batch = {
        "image": tf.fill([1, 32, 32, 3], 100.0),
        "proposals": tf.constant(corners.reshape(1, 5000, 4), tf.float32),
        "objectness": tf.constant(
            np.linspace(1, 0, 5000, dtype=np.float32)[np.newaxis]),
        "valid": tf.ones([1, 5000], tf.bool), "labels": tf.ones([1, 3]),
        "label_weights": tf.ones([1, 3])}
    loss = wsd.make_step(model, spatial_weight=1e-4)(
        batch, tf.zeros([1, 2], tf.int32))["loss"]
    self.assertTrue(np.isfinite(loss.numpy()).all())
    scores = model(batch)["proposal_scores"][0].numpy()
    self.assertAllClose(scores.sum(), 1.0, atol=1e-3)


if __name__ == "__main__":
  tf.test.main()
