"""The student's losses against Caffe's arithmetic, in NumPy float64."""

import itertools
import math
import sys
import warnings

from absl.testing import parameterized
import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import student_losses
from tests import environment

_SATURATED = np.float32([[-1e4, 1e4, -1e4, 1e4, 0.0]])
_SATURATED_LABELS = np.float32([[1, 1, 0, 0, 1]])


def _caffe_sigmoid_cross_entropy(logits, targets):
  """Forward pass of Caffe's SigmoidCrossEntropyLoss, one row an image."""
  x, t = np.float64(logits), np.float64(targets)
  losses = np.zeros(len(x))
  for b, c in np.ndindex(x.shape):
    positive = float(x[b, c] >= 0)
    losses[b] -= (x[b, c] * (t[b, c] - positive)
                  - np.log(1 + np.exp(x[b, c] - 2 * x[b, c] * positive)))
  return losses


def _caffe_euclidean(first, second):
  """Forward pass of Caffe's EuclideanLoss; N is the first axis."""
  difference = (np.float64(first) - np.float64(second)).ravel()
  return np.dot(difference, difference) / len(first) / 2


def _numpy_focal(logits, labels, alpha, gamma):
  p = 1 / (1 + np.exp(-np.float64(logits)))
  p_t = np.where(labels == 1, p, 1 - p)
  alpha_t = np.where(labels == 1, alpha, 1 - alpha)
  return -alpha_t * (1 - p_t) ** gamma * np.log(p_t)


def _numpy_asymmetric(logits, labels, gamma_positive, gamma_negative, clip):
  """The authors' steps: (losses, focusing weights), both [B, C]."""
  p = 1 / (1 + np.exp(-np.float64(logits)))
  p_negative = np.minimum(1 - p + clip, 1.0)
  p_t = np.where(labels == 1, p, p_negative)
  gamma = np.where(labels == 1, gamma_positive, gamma_negative)
  weights = (1 - p_t) ** gamma
  return -weights * np.log(np.maximum(p_t, 1e-8)), weights


def _labels_and_logits(seed, shape=(4, 6), scale=3.0):
  random = np.random.RandomState(seed)
  return (np.float32(random.rand(*shape) < 0.4),
          np.float32(scale * random.randn(*shape)))


def _gradient(function, inputs):
  inputs = tf.constant(inputs)
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    value = function(inputs)
  return tape.gradient(value, inputs).numpy()


def _without_addons():
  """Hides tensorflow-addons, until its `undo`."""
  patch = pytest.MonkeyPatch()
  patch.setitem(sys.modules, "tensorflow_addons", None)
  return patch


class HardLossTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(*student_losses.HARD_LOSSES)
  def test_unknown_labels_cost_nothing_and_pull_nowhere(self, name):
    loss = student_losses.hard_loss(name)
    labels, logits = _labels_and_logits(0)
    weights = np.ones_like(labels)
    weights[:, 2] = 0
    known = [0, 1, 3, 4, 5]
    self.assertAllClose(loss(labels[:, known], logits[:, known]),
                        loss(labels, logits, weights))
    flipped = labels.copy()
    flipped[:, 2] = 1 - flipped[:, 2]
    self.assertAllEqual(loss(labels, logits, weights),
                        loss(flipped, logits, weights))
    gradient = _gradient(lambda z: loss(labels, z, weights), logits)
    self.assertAllEqual(np.zeros(4), gradient[:, 2])

  @parameterized.parameters(*student_losses.HARD_LOSSES)
  def test_saturated_logits_are_finite(self, name):
    loss = student_losses.hard_loss(name)
    value = loss(_SATURATED_LABELS, _SATURATED)
    gradient = _gradient(lambda z: loss(_SATURATED_LABELS, z), _SATURATED)
    self.assertAllInRange(value, 1.0, 3e4)
    self.assertAllInRange(gradient, -1.0, 1.0)
    # The dead positive comes back, the right ones stay.
    self.assertLess(gradient[0, 0], -0.2)
    self.assertAllEqual([0.0, 0.0], gradient[0, 1:3])

  @parameterized.parameters(*student_losses.HARD_LOSSES)
  def test_float16_logits_give_float32(self, name):
    loss = student_losses.hard_loss(name)
    labels, logits = _labels_and_logits(1)
    half = tf.cast(logits, tf.float16)
    value = loss(tf.cast(labels, tf.float16), half, tf.cast(labels, tf.float16))
    self.assertEqual(tf.float32, value.dtype)
    self.assertAllEqual([4], value.shape)
    self.assertAllEqual(
        loss(labels, tf.cast(half, tf.float32), labels), value)

  @parameterized.parameters(*student_losses.HARD_LOSSES)
  def test_two_replicas_see_what_one_sees(self, name):
    loss = student_losses.hard_loss(name)
    strategy = environment.two_replicas()
    labels, logits = _labels_and_logits(2)

    def of_replica(context):
      rows = slice(2 * context.replica_id_in_sync_group, None)
      return (labels[rows][:2], logits[rows][:2], np.ones([2, 6], np.float32))

    inputs = [strategy.experimental_distribute_values_from_function(
        lambda context, i=i: tf.constant(of_replica(context)[i]))
        for i in range(3)]

    @tf.function
    def step():
      return strategy.run(loss, args=inputs)

    parts = strategy.experimental_local_results(step())
    self.assertAllClose(loss(labels, logits), tf.concat(parts, 0))

  def test_names_stand_for_the_functions_with_their_settings(self):
    labels, logits = _labels_and_logits(3)
    self.assertAllEqual(
        student_losses.sigmoid_cross_entropy(labels, logits),
        student_losses.hard_loss("sigmoid", focal_gamma=7)(labels, logits))
    self.assertAllEqual(
        student_losses.focal(labels, logits, alpha=0.4, gamma=3.0),
        student_losses.hard_loss(
            "focal", focal_alpha=0.4, focal_gamma=3.0)(labels, logits))
    self.assertAllEqual(
        student_losses.asymmetric(labels, logits, gamma_positive=1.0,
                                  gamma_negative=2.0, clip=0.1),
        student_losses.hard_loss(
            "asymmetric", gamma_positive=1.0, gamma_negative=2.0, clip=0.1)(
                labels, logits))

  @parameterized.parameters(
      ("hinge", {}, "expected one of sigmoid, focal, asymmetric"),
      ("focal", {"focal_alpha": 1.0}, "focal_alpha: expected at least 0"),
      ("focal", {"focal_gamma": 0.5}, "focal_gamma: expected 0, or 1 or more"),
      ("asymmetric", {"gamma_negative": -1}, "gamma_negative: expected 0"),
      ("asymmetric", {"clip": 1.0}, "clip: expected at least 0, below 1"))
  def test_what_is_wrong_is_told(self, name, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      student_losses.hard_loss(name, **settings)


class SigmoidCrossEntropyTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(0.1, 3.0, 100.0)
  def test_is_caffes_layer(self, scale):
    labels, logits = _labels_and_logits(4, scale=scale)
    self.assertAllClose(
        _caffe_sigmoid_cross_entropy(logits, labels),
        student_losses.sigmoid_cross_entropy(labels, logits))

  def test_by_hand(self):
    # Logit 0 costs log 2 whatever the target; log 3 is a probability of 3/4.
    loss = student_losses.sigmoid_cross_entropy(
        [[0.3, 1.0]], [[0.0, math.log(3.0)]])
    self.assertAllClose([math.log(2.0) - math.log(0.75)], loss)

  def test_is_least_at_the_soft_target(self):
    targets = np.float32([[0.2, 0.7]])
    best = np.log(targets / (1 - targets))
    gradient = _gradient(lambda z: student_losses.sigmoid_cross_entropy(
        targets, z), best)
    self.assertAllClose(np.zeros([1, 2]), gradient, atol=1e-6)

  def test_agrees_with_finite_differences(self):
    labels, logits = _labels_and_logits(5, scale=1.0)
    theoretical, numerical = tf.test.compute_gradient(
        lambda z: student_losses.sigmoid_cross_entropy(labels, z),
        [tf.constant(logits)])
    self.assertAllClose(theoretical, numerical, atol=5e-3)


class FocalTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters((0.25, 2.0), (0.5, 1.0), (0.9, 5.0))
  def test_matches_numpy(self, alpha, gamma):
    labels, logits = _labels_and_logits(6)
    weights = np.float32(np.random.RandomState(6).rand(*labels.shape))
    losses = weights * _numpy_focal(logits, labels, alpha, gamma)
    self.assertAllClose(
        losses.sum(axis=1),
        student_losses.focal(labels, logits, weights, alpha=alpha,
                             gamma=gamma))

  @parameterized.parameters(0, None)
  def test_without_focus_and_balance_is_cross_entropy(self, alpha):
    labels, logits = _labels_and_logits(7)
    self.assertAllClose(
        student_losses.sigmoid_cross_entropy(labels, logits),
        student_losses.focal(labels, logits, alpha=alpha, gamma=0))

  def test_agrees_with_finite_differences(self):
    labels, logits = _labels_and_logits(8, scale=1.0)
    theoretical, numerical = tf.test.compute_gradient(
        lambda z: student_losses.focal(labels, z), [tf.constant(logits)])
    self.assertAllClose(theoretical, numerical, atol=5e-3)


  @parameterized.parameters(0, 1, 2.0)
  def test_extreme_logits_have_finite_gradients(self, gamma):
    logits = np.float32([[0, 20, 90, 1e4, -20, -90, -1e4]])
    for labels in (np.zeros_like(logits), np.ones_like(logits)):
      gradient = _gradient(lambda z, labels=labels: student_losses.focal(
          labels, z, gamma=gamma), logits)
      self.assertAllInRange(gradient, -1.5, 1.5)


class FocalFormulaTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(
      *itertools.product((0, 0.25, 0.9), (0, 1, 2.0, 5.0), (tf.float32,)),
      *itertools.product((0.25,), (0, 2.0), (tf.float16, tf.bfloat16)))
  def test_our_formula_is_the_addons(self, alpha, gamma, dtype):
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      addons = pytest.importorskip(
          "tensorflow_addons.losses",
          reason="needs tensorflow-addons, of TensorFlow up to 2.15")
    labels, logits = _labels_and_logits(12, shape=(5, 40), scale=5.0)
    extreme = [0.0, 20.0, 90.0, 1e4]
    logits[0, :16] = 2 * [*extreme, *np.negative(extreme)]
    labels[0, :16] = np.repeat([1, 0], 8)
    weights = np.float32(np.random.RandomState(12).rand(*labels.shape) < 0.7)
    logits, weights = tf.cast(logits, dtype), tf.cast(weights, dtype)

    def theirs(logits):
      losses = addons.SigmoidFocalCrossEntropy(
          from_logits=True, alpha=alpha, gamma=gamma, reduction="none")(
              tf.constant(labels)[..., tf.newaxis],
              tf.cast(logits, tf.float32)[..., tf.newaxis])
      return tf.reduce_sum(losses * tf.cast(weights, tf.float32), axis=1)

    value, gradient = theirs(logits), _gradient(theirs, logits)
    self.addCleanup(_without_addons().undo)

    def ours(logits):
      return student_losses.focal(labels, logits, weights, alpha=alpha,
                                  gamma=gamma)

    self.assertAllClose(value, ours(logits), rtol=2e-6, atol=1e-6)
    self.assertAllClose(gradient, _gradient(ours, logits), rtol=2e-6, atol=5e-7)


class FocalWithoutAddonsTest(FocalTest):
  """The same of our own formula, also where the addons are installed."""

  def setUp(self):
    super().setUp()
    self.addCleanup(_without_addons().undo)

class AsymmetricTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters((0.0, 4.0, 0.05), (1.0, 4.0, 0.05),
                            (0.0, 2.0, 0.0), (2.0, 0.0, 0.2))
  def test_matches_numpy(self, gamma_positive, gamma_negative, clip):
    labels, logits = _labels_and_logits(9)
    weights = np.float32(np.random.RandomState(9).rand(*labels.shape))
    losses, _ = _numpy_asymmetric(
        logits, labels, gamma_positive, gamma_negative, clip)
    self.assertAllClose(
        (weights * losses).sum(axis=1),
        student_losses.asymmetric(
            labels, logits, weights, gamma_positive=gamma_positive,
            gamma_negative=gamma_negative, clip=clip))

  def test_without_focus_and_clip_is_cross_entropy(self):
    labels, logits = _labels_and_logits(10)
    self.assertAllClose(
        student_losses.sigmoid_cross_entropy(labels, logits),
        student_losses.asymmetric(labels, logits, gamma_positive=0,
                                  gamma_negative=0, clip=0))

  def test_by_hand(self):
    # Present at 1/2: log 2. Absent at 1/2, shifted to 0.45: 0.45^4 times
    # - log 0.55. Absent at 1 / (1 + e^4) = 0.018, below the clip: nothing.
    loss = student_losses.asymmetric([[1.0, 0.0, 0.0]], [[0.0, 0.0, -4.0]])
    self.assertAllClose(
        [math.log(2.0) - 0.45 ** 4 * math.log(0.55)], loss)

  @parameterized.parameters(0.0, 0.05)
  def test_gradient_is_that_of_constant_weights(self, clip):
    labels, logits = _labels_and_logits(11, scale=1.0)
    _, weights = _numpy_asymmetric(logits, labels, 1.0, 4.0, clip)
    settings = dict(gamma_positive=1.0, gamma_negative=4.0, clip=clip)
    step = 1e-4
    numerical = np.zeros_like(logits)
    for b, c in np.ndindex(*logits.shape):
      ends = []
      for sign in (1, -1):
        moved = np.float64(logits)
        moved[b, c] += sign * step
        # No focus: the weights are multiplied in, as they were at the start.
        losses, _ = _numpy_asymmetric(moved, labels, 0.0, 0.0, clip)
        ends.append((weights * losses)[b, c])
      numerical[b, c] = (ends[0] - ends[1]) / (2 * step)
    self.assertAllClose(numerical, _gradient(
        lambda z: student_losses.asymmetric(labels, z, **settings), logits),
        atol=1e-5)

  def test_the_floor_bounds_the_value_not_the_gradient(self):
    loss = student_losses.asymmetric([[1.0]], [[-30.0]])
    self.assertAllClose([-math.log(1e-8)], loss)
    gradient = _gradient(
        lambda z: student_losses.asymmetric([[1.0]], z), [[-30.0]])
    self.assertAllClose([[-1.0]], gradient)


class PredictionDistillationTest(tf.test.TestCase):

  def _inputs(self, seed):
    random = np.random.RandomState(seed)
    return (np.float32(3 * random.randn(4, 6)), np.float32(random.rand(4, 6)),
            np.float32(random.uniform(0.1, 0.6, 6)))

  def test_is_caffes_layers(self):
    logits, scores, inverse_temperature = self._inputs(0)
    scaled = np.float64(logits) * np.float64(inverse_temperature)
    self.assertAllClose(
        _caffe_sigmoid_cross_entropy(scaled, scores),
        student_losses.prediction_distillation(
            logits, scores, inverse_temperature))

  def test_gradients_agree_with_finite_differences(self):
    logits, scores, inverse_temperature = self._inputs(1)
    theoretical, numerical = tf.test.compute_gradient(
        lambda z, s: student_losses.prediction_distillation(z, scores, s),
        [tf.constant(logits), tf.constant(inverse_temperature)])
    self.assertLen(theoretical, 2)
    for one, other in zip(theoretical, numerical):
      self.assertAllClose(one, other, atol=5e-3)

  def test_teacher_is_a_constant(self):
    logits, scores, inverse_temperature = self._inputs(2)
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
      tape.watch(scores)
      loss = student_losses.prediction_distillation(
          logits, scores, inverse_temperature)
    self.assertIsNone(tape.gradient(loss, scores))

  def test_saturated_logits_are_finite(self):
    loss = student_losses.prediction_distillation(
        _SATURATED, _SATURATED_LABELS, np.full(5, 0.2, np.float32))
    # Two wrong ones at 1e4 / 5, and log 2.
    self.assertAllClose([4000.0 + math.log(2.0)], loss)

  def test_float16_gives_float32(self):
    logits, scores, inverse_temperature = (
        tf.cast(value, tf.float16) for value in self._inputs(3))
    loss = student_losses.prediction_distillation(
        logits, scores, inverse_temperature)
    self.assertEqual(tf.float32, loss.dtype)
    self.assertAllClose(
        _caffe_sigmoid_cross_entropy(
            np.float64(logits) * np.float64(inverse_temperature), scores),
        loss)


class FeatureDistillationTest(tf.test.TestCase, parameterized.TestCase):

  def _features(self, seed, shape):
    random = np.random.RandomState(seed)
    return np.float32(random.randn(*shape)), np.float32(random.randn(*shape))

  @parameterized.parameters(((3, 5, 8),), ((3, 5, 7, 7, 2),), ((3, 5),))
  def test_mean_over_images_is_caffes_layer(self, shape):
    student, teacher = self._features(0, shape)
    rois = (15, *shape[2:])
    loss = student_losses.feature_distillation(
        student, teacher, np.ones([3, 5], bool))
    self.assertAllEqual([3], loss.shape)
    self.assertAllClose(
        _caffe_euclidean(student.reshape(rois), teacher.reshape(rois)),
        tf.reduce_mean(loss))

  def test_padding_changes_nothing(self):
    student, teacher = self._features(1, (2, 5, 4))
    clean = student_losses.feature_distillation(
        student[:, :3], teacher[:, :3], np.ones([2, 3], bool))
    valid = np.tile([True, True, True, False, False], [2, 1])
    weights = np.ones([2, 5], np.float32)
    for array in (student, teacher, weights):
      array[:, 3:] = np.nan
    for roi_weights in (None, weights):
      def loss(features, roi_weights=roi_weights):
        return student_losses.feature_distillation(
            features, teacher, valid, roi_weights)
      self.assertAllClose(clean, loss(student))
      self.assertAllEqual(np.zeros([2, 2, 4]),
                          _gradient(loss, student)[:, 3:])

  @parameterized.parameters(0, 4)
  def test_image_without_rois_costs_nothing(self, count):
    student, teacher = self._features(2, (2, count, 3))
    valid = np.zeros([2, count], bool)
    self.assertAllEqual([0.0, 0.0], student_losses.feature_distillation(
        student, teacher, valid))
    self.assertAllEqual(np.zeros_like(student), _gradient(
        lambda features: student_losses.feature_distillation(
            features, teacher, valid), student))

  def test_weights_by_hand(self):
    # Squared distances 4 and 9, weights 0.5 and 1.5: (2 + 13.5) / (2 * 2).
    loss = student_losses.feature_distillation(
        [[[2.0], [3.0]]], [[[0.0], [0.0]]], tf.constant([[True, True]]),
        [[0.5, 1.5]])
    self.assertAllClose([15.5 / 4], loss)

  @parameterized.parameters(((2, 3, 4),), ((1, 2, 2, 2, 3),))
  def test_agrees_with_finite_differences(self, shape):
    student, teacher = self._features(3, shape)
    valid = np.ones(shape[:2], bool)
    valid[0, 1] = False
    weights = np.float32(np.random.RandomState(3).rand(*shape[:2]))
    theoretical, numerical = tf.test.compute_gradient(
        lambda features: student_losses.feature_distillation(
            features, teacher, valid, weights), [tf.constant(student)])
    self.assertAllClose(theoretical, numerical, atol=5e-3)

  def test_teacher_is_a_constant(self):
    student, teacher = (
        tf.constant(array) for array in self._features(4, (2, 3, 4)))
    with tf.GradientTape() as tape:
      tape.watch(teacher)
      loss = student_losses.feature_distillation(
          student, teacher, tf.ones([2, 3], tf.bool))
    self.assertIsNone(tape.gradient(loss, teacher))

  def test_float16_is_squared_in_float32(self):
    # 300^2 is beyond float16: 90000 / 2.
    loss = student_losses.feature_distillation(
        tf.constant([[[300.0]]], tf.float16), tf.zeros([1, 1, 1], tf.float16),
        tf.constant([[True]]))
    self.assertEqual(tf.float32, loss.dtype)
    self.assertAllClose([45000.0], loss)


if __name__ == "__main__":
  tf.test.main()
