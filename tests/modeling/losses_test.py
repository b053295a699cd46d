"""Losses against NumPy, finite differences and hand arithmetic."""

import math
from unittest import mock

import numpy as np
import tensorflow as tf

from kdwsd import boxes
from kdwsd.modeling import losses


def _numpy_regularizer(labels, proposals, valid, features, scores):
  """WSDDN's spatial regulariser of one image, as loops in float64."""
  total = 0.0
  for c in np.flatnonzero(labels):
    order = [r for r in np.argsort(-scores[:, c], kind="stable") if valid[r]]
    for r in order[1:10]:
      best = order[0]
      if boxes.pairwise_iou(proposals[best], proposals[r])[0, 0] > 0.6:
        difference = np.float64(features[r]) - features[best]
        total += 0.5 * np.sum((scores[r, c] * difference) ** 2)
  return total


def _image_of_proposals(seed, count=30, num_padded=4):
  random = np.random.RandomState(seed)
  centre = random.uniform(0.45, 0.55, [2, count, 2])
  size = random.uniform(0.2, 0.3, [2, count, 2])
  valid = np.ones([2, count], bool)
  valid[:, count - num_padded:] = False
  scores = random.rand(2, count, 3) * valid[..., None]
  return {
      "labels": np.float32([[1, 0, 1], [0, 0, 0]]),
      "proposals": np.float32(
          np.concatenate([centre - size, centre + size], -1)),
      "valid": valid,
      "features": np.float32(random.randn(2, count, 5)),
      "proposal_scores": np.float32(scores),
  }


class MilCrossEntropyTest(tf.test.TestCase):

  def test_by_hand(self):
    # Image 1: present at 0.8, absent at 0.5: -log 0.8 - log 0.5.
    # Image 2: unknown; absent at 0: 0.
    loss = losses.mil_cross_entropy(
        tf.constant([[1.0, 0.0], [1.0, 0.0]]),
        tf.constant([[0.8, 0.5], [0.3, 0.0]]),
        tf.constant([[1.0, 1.0], [0.0, 1.0]]))
    self.assertEqual(tf.float32, loss.dtype)
    self.assertAllClose([-math.log(0.8) - math.log(0.5), 0.0], loss)

  def test_agrees_with_finite_differences(self):
    random = np.random.RandomState(0)
    labels = tf.constant(random.rand(3, 4) < 0.5, tf.float32)
    scores = tf.constant(random.uniform(0.2, 0.8, [3, 4]), tf.float32)
    theoretical, numerical = tf.test.compute_gradient(
        lambda s: losses.mil_cross_entropy(labels, s), [scores])
    self.assertAllClose(theoretical, numerical, atol=2e-3, rtol=2e-3)

  def test_gradient_at_the_floor_is_that_of_the_floor(self):
    scores = tf.constant([[0.0, 1.0, 0.0, 1.0]])
    with tf.GradientTape() as tape:
      tape.watch(scores)
      loss = losses.mil_cross_entropy(
          tf.constant([[1.0, 0.0, 0.0, 1.0]]), scores)
    self.assertAllClose([-2 * math.log(1e-4)], loss)
    # The two right ones have probability 1: -1 / 1 and 1 / 1.
    self.assertAllClose([[-1e4, 1e4, 1.0, -1.0]], tape.gradient(loss, scores))


class SpatialRegularizerTest(tf.test.TestCase):

  def test_matches_numpy_loops(self):
    image = _image_of_proposals(1)
    expected = [_numpy_regularizer(*(image[key][b] for key in (
        "labels", "proposals", "valid", "features", "proposal_scores")))
                for b in range(2)]
    self.assertGreater(expected[0], 0.0)
    self.assertAllClose(expected, losses.spatial_regularizer(
        **{key: tf.constant(value) for key, value in image.items()}))

  @mock.patch.object(losses, "MOST_PRESENT", 2)
  def test_of_many_classes_those_that_are_present_count(self):
    image = _image_of_proposals(1)
    image["labels"] = np.float32([[0, 1, 1], [1, 0, 0]])
    expected = [_numpy_regularizer(*(image[key][b] for key in (
        "labels", "proposals", "valid", "features", "proposal_scores")))
                for b in range(2)]
    self.assertGreater(expected[0], 0.0)
    self.assertAllClose(expected, losses.spatial_regularizer(**image))

  def test_gradient_is_that_of_the_features_only(self):
    image = {key: tf.constant(value)
             for key, value in _image_of_proposals(2).items()}
    features, scores = image.pop("features"), image.pop("proposal_scores")
    with tf.GradientTape() as tape:
      tape.watch([features, scores])
      loss = losses.spatial_regularizer(
          features=features, proposal_scores=scores, **image)
    to_features, to_scores = tape.gradient(loss, [features, scores])
    self.assertIsNone(to_scores)
    self.assertGreater(np.abs(to_features[0]).max(), 0.0)
    # What pulls the others pulls the best one back.
    self.assertAllClose(np.zeros([2, 5]), tf.reduce_sum(to_features, 1),
                        atol=1e-4)

  def test_padding_changes_nothing(self):
    image = _image_of_proposals(3)
    clean = losses.spatial_regularizer(**image)
    padding = ~image["valid"]
    image["proposals"][padding] = np.nan
    image["proposal_scores"][padding] = 9.0
    self.assertAllClose(clean, losses.spatial_regularizer(**image))

  def test_image_without_proposals_costs_nothing(self):
    image = _image_of_proposals(4, count=4, num_padded=4)
    self.assertAllEqual([0.0, 0.0], losses.spatial_regularizer(**image))
    none = _image_of_proposals(4, count=0, num_padded=0)
    self.assertAllEqual([0.0, 0.0], losses.spatial_regularizer(**none))


if __name__ == "__main__":
  tf.test.main()
