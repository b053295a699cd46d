"""Refinement branches against loops in NumPy, and by hand."""

from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import refinement
from tests.modeling import numpy_refinement


def _images(seed=0, count=40, num_padded=6, branches=3):
  """Images with two, one and no present classes; of the last two, one unknown.

  Proposals lie close enough that many have an IoU of more than 0.5.
  """
  random = np.random.RandomState(seed)
  centre = random.uniform(0.25, 0.75, [3, count, 2])
  size = random.uniform(0.08, 0.2, [3, count, 2])
  valid = np.ones([3, count], bool)
  valid[0, count - num_padded:] = valid[1, :num_padded] = False
  return {
      "logits": list(random.randn(branches, 3, count, 5).astype("f")),
      "wsddn_scores": random.rand(3, count, 4).astype("f"),
      "labels": np.float32([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]]),
      "label_weights": np.float32([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]),
      "proposals": np.concatenate([centre - size, centre + size], -1).astype(
          "f"),
      "valid": valid,
  }


def _loss_and_gradients(images, seeds):
  logits = [tf.constant(one) for one in images["logits"]]
  scores = tf.constant(images["wsddn_scores"])
  with tf.GradientTape() as tape:
    tape.watch([logits, scores])
    loss = refinement.loss(
        **{**images, "logits": logits, "wsddn_scores": scores}, seeds=seeds)
  to_logits, to_scores = tape.gradient(loss, [logits, scores])
  assert to_scores is None
  return loss.numpy(), tf.stack(to_logits).numpy()


def _expected(images, seeds):
  """Losses [B] and gradients [K, B, R, C + 1] of the loops."""
  found = [numpy_refinement.loss(
      np.float64([one[b] for one in images["logits"]]),
      np.float64(images["wsddn_scores"][b]),
      *(images[key][b] for key in (
          "labels", "label_weights", "proposals", "valid")), seeds)
           for b in range(3)]
  return (np.array([loss for loss, _ in found]),
          np.stack([gradient for _, gradient in found], axis=1))


# Nested boxes of one object, a small box apart, one between.
_BOXES = np.float32([
    [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.3], [0.6, 0.6, 1.0, 1.0],
    [0.6, 0.7, 1.0, 1.0], [0.4, 0.4, 0.6, 0.6], [0.0, 0.0, 1.0, 1.0]])


def _label(scores, labels, weights, seeds="top", valid=(True,) * 6):
  classes, found = refinement.pseudo_labels(
      scores=tf.constant([scores], tf.float32),
      labels=tf.constant([labels], tf.float32),
      label_weights=tf.constant([weights], tf.float32),
      proposals=tf.constant(_BOXES[np.newaxis]),
      valid=tf.constant([valid]), seeds=seeds)
  return classes[0].numpy().tolist(), found[0].numpy()


class RefinementTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.product(seeds=refinement.SEEDS, seed=(0, 1))
  def test_matches_numpy_loops_in_value_and_gradient(self, seeds, seed):
    images = _images(seed)
    expected, expected_gradients = _expected(images, seeds)
    loss, gradients = _loss_and_gradients(images, seeds)
    self.assertAllGreater(expected[:2], 0.1)
    self.assertAllClose(expected, loss)
    self.assertAllClose(expected_gradients, gradients, atol=1e-7)

  @parameterized.parameters(*refinement.SEEDS)
  def test_compiled_by_xla_it_is_the_same(self, seeds):
    # Arguments: XLA of TensorFlow 2.20 evaluates the constants of two branches
    # at compile time, to other values.
    @tf.function(jit_compile=True, autograph=False)
    def compiled(images):
      return refinement.loss(**images, seeds=seeds)

    for seed in (0, 1):
      images = tf.nest.map_structure(tf.constant, _images(seed))
      self.assertAllClose(
          refinement.loss(**images, seeds=seeds), compiled(images))

  @parameterized.parameters(*refinement.SEEDS)
  def test_padding_changes_nothing(self, seeds):
    images = _images()
    clean = _loss_and_gradients(images, seeds)
    padding = ~images["valid"]
    images["proposals"][padding] = np.nan
    images["wsddn_scores"][padding] = 9.0
    for one in images["logits"]:
      one[padding] = 1e4
    dirty = _loss_and_gradients(images, seeds)
    self.assertAllClose(clean[0], dirty[0])
    self.assertAllClose(clean[1], dirty[1])
    self.assertAllEqual(0 * dirty[1][:, padding], dirty[1][:, padding])

  def test_images_without_proposals_or_present_classes_cost_nothing(self):
    images = _images(num_padded=40)
    loss, gradients = _loss_and_gradients(images, "mist")
    self.assertAllEqual([0.0] * 3, loss)
    self.assertAllEqual(np.zeros_like(gradients), gradients)

  def test_the_best_proposal_is_the_only_seed_of_top(self):
    # Class 1 of three is present; box 0 is its best, and 1 has IoU 0.75 with 0.
    scores = np.full([6, 3], 0.9)
    scores[:, 1] = [0.8, 0.1, 0.7, 0.7, 0.2, 0.2]
    classes, weights = _label(scores, [0, 1, 0], [1, 1, 1])
    self.assertEqual([1, 1, 3, 3, 3, 3], classes)
    self.assertAllClose([0.8] * 6, weights)

  def test_seeds_of_mist_lie_apart(self):
    # 15 % of 6 is 1: as many as all six count here.
    scores = np.full([6, 3], 0.9)
    scores[:, 1] = [0.8, 0.75, 0.7, 0.6, 0.2, 0.3]
    with mock.patch.object(refinement, "_PERCENT", 100):
      classes, weights = _label(scores, [0, 1, 0], [1, 1, 1], "mist")
    # Seeds are 0, 2, the whole image (IoU 0.16 with either), and 4 (0.04).
    self.assertEqual([1, 1, 1, 1, 1, 1], classes)
    self.assertAllClose([0.8, 0.8, 0.7, 0.7, 0.2, 0.3], weights)
    with mock.patch.multiple(refinement, _PERCENT=100, _MOST_SEEDS=2):
      classes, weights = _label(scores, [0, 1, 0], [1, 1, 1], "mist")
    self.assertEqual([1, 1, 1, 1, 3, 3], classes)
    # The small box meets no seed: the first one counts as its nearest.
    self.assertAllClose([0.8, 0.8, 0.7, 0.7, 0.8, 0.8], weights)

  def test_share_of_seeds_is_that_of_valid_proposals_rounded_up(self):
    # Half of 3 valid proposals is 2: boxes 2 and 3, of which 3 is too close.
    scores = np.zeros([6, 1])
    scores[:, 0] = [0.9, 0.5, 0.8, 0.7, 0.9, 0.9]
    with mock.patch.object(refinement, "_PERCENT", 50):
      classes, weights = _label(
          scores, [1], [1], "mist", [False, True, True, True, False, False])
    self.assertEqual([1, 0, 0], classes[1:4])
    self.assertAllClose([0, 0.8, 0.8, 0.8, 0, 0], weights)

  def test_proposals_of_two_classes_take_that_of_the_nearest_seed(self):
    scores = np.zeros([6, 2])
    scores[0, 0], scores[1, 1], scores[2, 1] = 0.6, 0.5, 0.4
    classes, weights = _label(scores, [1, 1], [1, 1])
    # Each seed is its own nearest one; the last boxes are as far from both but
    # the whole image, of which box 0 is 0.16 and box 1 is 0.12.
    self.assertEqual([0, 1, 2, 2, 2, 2], classes)
    self.assertAllClose([0.6, 0.5, 0.6, 0.6, 0.6, 0.6], weights)

  def test_what_an_unknown_class_may_own_is_not_background(self):
    scores = np.zeros([6, 3])
    scores[0, 0], scores[2, 1], scores[4, 2] = 0.6, 0.5, 0.4
    classes, weights = _label(scores, [1, 1, 0], [1, 0, 1])
    # 2 and 3 are those that the unknown class would take.
    self.assertEqual([0, 0, 3, 3, 3, 3], classes)
    self.assertAllClose([0.6, 0.6, 0, 0, 0.6, 0.6], weights)
    # Around the seed of a present class, it does not matter.
    scores[1, 1] = 0.9
    _, weights = _label(scores, [1, 1, 0], [1, 0, 1])
    self.assertAllClose([0.6] * 6, weights)

  @mock.patch.object(refinement, "_MOST_SLOTS", 2)
  def test_with_more_classes_than_slots_nothing_is_background(self):
    scores = np.zeros([6, 3])
    scores[0, 0], scores[2, 1], scores[4, 2] = 0.6, 0.5, 0.4
    # Of three unknown or present classes, the present ones have the slots.
    for labels, weights in (([1, 0, 1], [1, 0, 1]), ([1, 1, 1], [1, 1, 1])):
      classes, found = _label(scores, labels, weights)
      second = 2 if labels[1] == 0 else 1
      near = [4] if second == 2 else [2, 3]
      self.assertEqual({second}, {classes[r] for r in near})
      self.assertAllEqual(
          [r in (0, 1, *near) for r in range(6)], found > 0)
    _, found = _label(scores, [1, 0, 1], [1, 1, 1])  # No more than slots.
    self.assertAllGreater(found, 0)

  def test_mean_of_branches_leaves_out_background_and_padding(self):
    logits = np.log(np.float32([[[[1, 2, 1], [1, 1, 2]]],
                                [[[2, 1, 1], [1, 1, 2]]]]))
    scores = refinement.mean_scores(
        list(logits), tf.constant([[True, False]]))
    self.assertAllClose([[[3 / 8, 3 / 8], [0, 0]]], scores)


if __name__ == "__main__":
  tf.test.main()
