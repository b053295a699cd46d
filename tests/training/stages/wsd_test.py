"""The teacher's step: its losses, its weights of labels, its dropout."""

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.modeling import losses
from kdwsd.modeling import refinement
from kdwsd.modeling import wsddn
from kdwsd.training.stages import wsd
from tests import environment
from tests.training import fake_steps

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


def _model(branches=0):
  """A teacher whose scores differ between classes and proposals."""
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=3, backbone="small", fc_units=6, dropout_rate=0.5,
      refinement_branches=branches))
  for variable in model.trainable_variables:
    if "fc8" in variable.name and "kernel" in variable.name:
      random = np.random.RandomState(ord(variable.name.split("/")[-2][-1]))
      variable.assign(random.normal(size=variable.shape))
  return model


class WsdStepTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.model = _model()

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

  def test_loss_of_the_branches_is_added(self):
    batch, model = _batch(), _model(branches=2)
    plain = wsd.make_step(self.model, spatial_weight=0.25)(batch, _SEEDS)
    outputs = model(batch, training=True, dropout_seeds=_SEEDS)
    for seeds in refinement.SEEDS:
      found = wsd.make_step(
          model, spatial_weight=0.25, refinement_seeds=seeds)(batch, _SEEDS)
      refined = refinement.loss(
          logits=outputs["refinement_logits"], seeds=seeds,
          wsddn_scores=outputs["wsddn_scores"], **{key: batch[key] for key in (
              "labels", "label_weights", "proposals", "valid")})
      self.assertCountEqual(wsd.loss_names(2), found)
      self.assertAllGreater(refined, 1e-3)
      self.assertAllClose(found["refinement_loss"], refined)
      # The other losses are those of WSDDN alone.
      for name in ("classification_loss", "spatial_loss"):
        self.assertAllClose(found[name], plain[name])
      self.assertAllClose(found["loss"], plain["loss"] + refined)
      weighted = wsd.make_step(
          model, spatial_weight=0.25, refinement_seeds=seeds,
          refinement_weight=3.0)(batch, _SEEDS)
      self.assertAllClose(weighted["refinement_loss"], refined)
      self.assertAllClose(weighted["loss"], plain["loss"] + 3 * refined)

  @pytest.mark.one_lane
  def test_two_replicas_with_branches_are_one(self):
    one = fake_steps.make("wsd_refined")
    two = fake_steps.make(
        "wsd_refined", strategy=environment.two_replicas())
    alone, together = one.train(2), two.train(2)
    self.assertAllClose(two.weights(), one.weights(), rtol=1e-4, atol=1e-5)
    self.assertGreater(alone["refinement_loss"], 0)
    for name in ("loss", "refinement_loss"):
      self.assertAllClose(together[name], alone[name])

  def test_dropout_follows_the_seeds(self):
    batch, step = _batch(), wsd.make_step(self.model)
    once = step(batch, _SEEDS)["loss"]
    self.assertAllEqual(step(batch, _SEEDS)["loss"], once)
    self.assertNotAllClose(step(batch, _SEEDS + 1)["loss"], once)


if __name__ == "__main__":
  tf.test.main()
