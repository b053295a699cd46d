"""The teacher's step: its losses, its weights of labels, its dropout."""

import numpy as np
import tensorflow as tf

from kdwsd.modeling import losses
from kdwsd.modeling import wsddn
from kdwsd.training.stages import wsd

_SEEDS = np.array([[0, 1], [0, 2]], np.int32)


def _batch(count=6):
  """Two images whose proposals are nearly one box."""
  random = np.random.RandomState(0)
  corners = np.array([0.1, 0.1, 0.8, 0.9]) + random.uniform(
      0, 0.02, [2, count, 4])
  return {
      "image": tf.constant(random.uniform(0, 255, [2, 32, 32, 3]), tf.float32),
      "proposals": tf.constant(corners, tf.float32),
      "objectness": tf.constant(random.uniform(0.5, 1, [2, count]), tf.float32),
      "valid": tf.ones([2, count], tf.bool),
      "labels": tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
      "label_weights": tf.constant([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
  }


class WsdStepTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.model = wsddn.build(wsddn.WSDDNConfig(
        num_classes=3, backbone="small", fc_units=6, dropout_rate=0.5))
    for index, layer in enumerate((self.model.fc8_c, self.model.fc8_d)):
      random = np.random.RandomState(index)
      layer.kernel.assign(random.normal(size=layer.kernel.shape))

  def _outputs(self, batch):
    return self.model(batch, training=True, dropout_seeds=_SEEDS)

  def test_loss_is_that_of_the_labels_that_are_known(self):
    batch = _batch()
    found = wsd.make_step(self.model)(batch, _SEEDS)
    scores = np.clip(self._outputs(batch)["image_scores"], 1e-4, 1 - 1e-4)
    labels, weights = batch["labels"].numpy(), batch["label_weights"].numpy()
    terms = labels * np.log(scores) + (1 - labels) * np.log(1 - scores)
    self.assertAllClose(found["loss"], -(weights * terms).sum(axis=1))
    self.assertAllClose(found["classification_loss"], found["loss"])
    self.assertAllEqual(found["spatial_loss"], [0.0, 0.0])

  def test_spatial_regulariser_is_added_by_its_weight(self):
    batch = _batch()
    found = wsd.make_step(self.model, spatial_weight=0.25)(batch, _SEEDS)
    outputs = self._outputs(batch)
    spatial = losses.spatial_regularizer(
        labels=batch["labels"], proposals=batch["proposals"],
        valid=batch["valid"], features=outputs["layers"]["fc7"],
        proposal_scores=outputs["proposal_scores"]).numpy()
    plain = wsd.make_step(self.model)(batch, _SEEDS)["loss"].numpy()
    self.assertAllGreater(spatial, 1e-6)
    self.assertAllClose(found["spatial_loss"], spatial)
    # In exact terms: a small loss must not pass for rounding.
    self.assertAllClose(
        (found["loss"].numpy() - plain) / spatial, [0.25, 0.25], rtol=1e-2)

  def test_dropout_follows_the_seeds(self):
    batch, step = _batch(), wsd.make_step(self.model)
    once = step(batch, _SEEDS)["loss"]
    self.assertAllEqual(step(batch, _SEEDS)["loss"], once)
    self.assertNotAllClose(step(batch, _SEEDS + 1)["loss"], once)


if __name__ == "__main__":
  tf.test.main()
