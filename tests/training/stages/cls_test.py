"""The baseline's step: its loss and its dropout."""

import numpy as np
import tensorflow as tf

from kdwsd.modeling import student as student_lib
from kdwsd.training.stages import cls
from tests.training import fake_config

_SEEDS = np.array([[0, 1], [0, 2]], np.int32)


def _batch():
  images = np.random.RandomState(0).uniform(0, 255, [2, 32, 32, 3])
  return {
      "student_image": tf.constant(images, tf.float32),
      "labels": tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
      "label_weights": tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
  }


class ClsStepTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.student = student_lib.build(student_lib.StudentConfig(
        num_classes=3, image_size=32, backbone="small", fc_units=0,
        dropout_rate=0.5))
    self.student.fc8.kernel.assign(np.random.RandomState(0).normal(
        size=self.student.fc8.kernel.shape))
    self.step = cls.make_step(
        self.student, cls.hard_loss(fake_config.make(hard_loss="sigmoid")))

  def test_loss_is_that_of_the_labels_that_are_known(self):
    batch = _batch()
    logits = np.float64(self.student(
        batch["student_image"], training=True, dropout_seeds=_SEEDS))
    labels, weights = batch["labels"].numpy(), batch["label_weights"].numpy()
    terms = np.logaddexp(0, logits) - labels * logits
    self.assertAllClose(self.step(batch, _SEEDS)["loss"],
                        (weights * terms).sum(axis=1), rtol=1e-5)

  def test_dropout_follows_the_seeds(self):
    batch = _batch()
    once = self.step(batch, _SEEDS)["loss"]
    self.assertAllEqual(self.step(batch, _SEEDS)["loss"], once)
    self.assertNotAllClose(self.step(batch, _SEEDS + 1)["loss"], once)


if __name__ == "__main__":
  tf.test.main()
