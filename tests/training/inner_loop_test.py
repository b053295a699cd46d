"""Tests of kdwsd.training.inner_loop under mixed_float16's loss scaling.

Whole runs, and stopped ones, are in loop_test.py and in tests/train_test.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import inner_loop
from kdwsd.training import loss_scaling
from kdwsd.training import optimizers
from kdwsd.training import strategies
from tests import environment

_START = 2.0 ** 15


def _trainer(overflows, *, scaling=True):
  """Trains one weight, whose gradient is 1, on two replicas with an image each.

  Args:
    overflows: function of an image's index: whether its loss is infinite.
    scaling: whether there is a loss scale.

  Returns:
    The trainer, the weight and the optimizer.
  """
  strategy = environment.two_replicas()
  with strategy.scope():
    weight = tf.Variable(1.0, name="fc/kernel")
    optimizer = optimizers.make(
        "sgd", learning_rate=0.125, momentum=0.0, weight_decay=0.0)
    if scaling:
      optimizer.loss_scale = loss_scaling.LossScale()
    optimizer.build([weight])
    step_variable = tf.Variable(
        0, trainable=False, dtype=tf.int64,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)

  def step(batch, unused_seeds):
    factor = tf.where(overflows(batch["example_index"]), np.inf, 1.0)  # [1]
    return {"loss": weight * factor}

  def batches(context):
    return tf.data.Dataset.range(1000).batch(1).map(
        lambda index: {"example_index": index}).shard(
            context.num_input_pipelines, context.input_pipeline_id)

  return inner_loop.Trainer(
      strategy=strategy, variables=[weight], optimizer=optimizer, step=step,
      loss_names=("loss",),
      dataset=strategies.distribute(strategy, batches),
      global_batch_size=2, seed=0, global_step=step_variable
  ), weight, optimizer


def test_overflow_on_one_replica_skips_the_step_and_the_run_goes_on():
  # Steps 2 and 4, on the second replica.
  trainer, weight, optimizer = _trainer(lambda i: (i == 3) | (i == 7))
  figures = trainer.train(tf.constant(5))
  assert figures["skipped_steps"] == 2
  assert figures["loss_scale"] == _START / 4
  assert optimizer.loss_scale.current_loss_scale.numpy() == _START / 4
  assert weight.numpy() == 1 - 3 * 0.125
  # Of the images whose loss is finite, two a step but one in those skipped.
  losses = [1, 1, .875, .875, .875, .75, .75, .75]
  assert figures["loss"] == pytest.approx(np.mean(losses))
  assert figures["gradient_norm"] == 1.0
  figures = trainer.train(tf.constant(2))
  assert (figures["skipped_steps"], figures["loss_scale"]) == (0, _START / 4)


def test_run_that_skips_every_step_ends():
  trainer, weight, _ = _trainer(lambda i: i % 2 == 1)
  for _ in range(3):
    assert trainer.train(tf.constant(6))["skipped_steps"] == 6
  with pytest.raises(errors.InputError, match=(
      "^steps 1 to 24: expected gradients that float16 can hold")):
    trainer.train(tf.constant(6))
  assert weight.numpy() == 1.0


def test_without_scaling_the_first_loss_that_is_not_finite_ends_the_run():
  trainer, _, _ = _trainer(lambda i: i == 3, scaling=False)
  with pytest.raises(errors.InputError, match=(
      "^steps 1 to 2: expected a finite loss. Received: inf")):
    trainer.train(tf.constant(2))
