"""Tests of kdwsd.training.loss_scaling: one of two replicas overflows."""

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import loss_scaling
from tests import environment

_START = 2.0 ** 15


class _Loop:
  """Steps on two replicas as the inner loop takes them.

  The gradient is 1, but infinite on one replica in the steps told.
  """

  def __init__(self):
    self.strategy = environment.two_replicas()
    with self.strategy.scope():
      self.weight = tf.Variable(0.0)
      self.optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
          tf.keras.optimizers.SGD(1.0))
      self.optimizer.build([self.weight])
      self.skipped = loss_scaling.SkippedSteps(self.optimizer)
      self.loss = tf.keras.metrics.Mean("loss", dtype=tf.float32)
    self.step = 0
    self._run = tf.function(self._distributed)

  def _distributed(self, huge):
    self.strategy.run(self._replica, args=(huge,))

  def _replica(self, huge):
    context = tf.distribute.get_replica_context()
    mine = tf.cast(context.replica_id_in_sync_group, tf.int32) == 1
    factor = tf.where(huge & mine, 3e38, 0.5)
    with tf.GradientTape() as tape:
      loss = self.weight * factor * tf.where(huge & mine, 1e9, 1.0)
      scaled = self.optimizer.get_scaled_loss(loss)
    gradients = self.optimizer.get_unscaled_gradients(
        tape.gradient(scaled, [self.weight]))
    gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    self.optimizer.apply_gradients(
        zip(gradients, [self.weight]), skip_gradients_aggregation=True)
    self.skipped.update_state(gradients)
    loss_scaling.update_mean(self.loss, loss[tf.newaxis])

  def run(self, huge):
    """Takes a step for each bool; returns the figures."""
    self.skipped.reset_state()
    self.loss.reset_state()
    first = self.step + 1
    for is_huge in huge:
      self._run(tf.constant(is_huge))
      self.step += 1
    return self.skipped.figures(first, self.step)


@pytest.fixture(scope="module", name="shared")
def fixture_shared():
  return _Loop()


def test_overflow_on_one_replica_skips_on_both_and_is_counted(shared):
  loop = shared
  assert loop.run([False, False]) == {"skipped_steps": 0, "loss_scale": _START}
  assert loop.run([False, True, False, True]) == {
      "skipped_steps": 2, "loss_scale": _START / 4}
  assert loop.run([True]) == {"skipped_steps": 1, "loss_scale": _START / 8}
  assert loop.run([False]) == {"skipped_steps": 0, "loss_scale": _START / 8}
  # Of both replicas, the weight being -4.
  assert loss_scaling.mean(loop.loss) == -2.0
  loop.run([True])  # Of one replica alone, the other's being infinite.
  assert loss_scaling.mean(loop.loss) == -2.5
  # 5 steps were applied; the gradient is 1/2 a replica.
  for weight in loop.strategy.experimental_local_results(loop.weight):
    assert weight.numpy() == -5.0
  assert loop.optimizer.iterations.numpy() == 9


def test_run_that_skips_everything_ends(shared):
  loop = shared
  assert loop.run([False])["skipped_steps"] == 0
  start = loop.step
  for _ in range(3):  # 15 in a row: the scale is at its least.
    assert loop.run([True] * 5)["skipped_steps"] == 5
  with pytest.raises(errors.InputError, match=(
      f"^steps {start + 1} to {start + 20}: expected gradients that float16")):
    loop.run([True] * 5)
  assert loop.run([False, True]) == {"skipped_steps": 1, "loss_scale": 1.0}
  for _ in range(19):
    assert loop.run([True])["skipped_steps"] == 1
  with pytest.raises(errors.InputError, match="all of which were skipped"):
    loop.run([True])


def test_means_are_of_what_is_finite():
  mean = tf.keras.metrics.Mean(dtype=tf.float32)
  assert np.isnan(loss_scaling.mean(mean))
  loss_scaling.update_mean(mean, tf.constant([np.nan, np.inf]))
  assert np.isnan(loss_scaling.mean(mean))
  loss_scaling.update_mean(mean, tf.constant([1.0, -np.inf, 2.0]))
  loss_scaling.update_mean(mean, tf.constant(6.0))
  assert loss_scaling.mean(mean) == 3.0
