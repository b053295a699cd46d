"""A small run for tests of optimizers, on one replica or two."""

import numpy as np
import tensorflow as tf

from kdwsd.training import loss_scaling as loss_scaling_lib
from kdwsd.training import optimizers
from kdwsd.training import schedules
from tests import environment


def _strategy(replicas):
  """One or two replicas on the CPU."""
  if replicas == 1:
    return tf.distribute.OneDeviceStrategy("CPU:0")
  return environment.two_replicas()


def make(name, learning_rate=0.01, **kwargs):
  kwargs = {"weight_decay": 0.02, "clip_norm": 3.0,
            "multipliers": optimizers.caffe_multipliers, **kwargs}
  return optimizers.make(name, learning_rate=learning_rate, **kwargs)


class Run:
  """A model of two layers, trained on data that depends on the step.

  `by_keras` updates by `apply_gradients` and Keras's `LossScaleOptimizer`;
  `select` is that of `update_if`.
  """

  def __init__(self, replicas, name, loss_scaling=False, seed=0,
               by_keras=False, select=False, **kwargs):
    self.strategy = strategy = _strategy(replicas)
    self.loss_scaling = loss_scaling
    self.by_keras = by_keras
    self.select = select
    with strategy.scope():
      self.model = tf.keras.Sequential([
          tf.keras.layers.Dense(
              5, "relu", name="fc7", kernel_initializer=_initializer(seed)),
          tf.keras.layers.Dense(
              3, name="fc8_c", kernel_initializer=_initializer(seed + 1),
              dtype="float32"),
      ])
      self.model(tf.zeros([1, 4]))
      self.schedule = schedules.make(
          "plateau", base_rate=0.003, warmup_steps=3, patience=2)
      self.optimizer = make(name, self.schedule, **kwargs)
      if loss_scaling and by_keras:
        self.optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
            self.optimizer)
      elif loss_scaling:
        self.optimizer.loss_scale = loss_scaling_lib.LossScale()
    self.checkpoint = tf.train.Checkpoint(
        model=self.model, optimizer=self.optimizer)
    self._step = tf.function(
        lambda inputs: strategy.run(self._replica_step, args=(inputs,)))

  def weights(self):
    return [v.numpy() for v in self.model.trainable_variables]

  def train(self, steps, poison=0.0):
    with self.strategy.scope():
      self.optimizer.build(self.model.trainable_variables)
    for _ in range(steps):
      step = int(self.optimizer.iterations.numpy())
      inputs = np.random.RandomState(step).normal(size=[4, 4])
      inputs[0] += poison
      parts = np.split(
          inputs.astype(np.float32), self.strategy.num_replicas_in_sync)
      self._step(self.strategy.experimental_distribute_values_from_function(
          lambda context, parts=parts: tf.constant(
              parts[context.replica_id_in_sync_group])))

  def _replica_step(self, inputs):
    optimizer, variables = self.optimizer, self.model.trainable_variables
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(tf.square(self.model(inputs) - 1.0)) / 4
      if self.loss_scaling:
        loss = (optimizer.get_scaled_loss(loss) if self.by_keras
                else optimizer.loss_scale.scale(loss))
    gradients = tape.gradient(loss, variables)
    if self.loss_scaling:
      gradients = (optimizer.get_unscaled_gradients(gradients) if self.by_keras
                   else optimizer.loss_scale.unscale(gradients))
    if self.by_keras:
      optimizer.apply_gradients(zip(gradients, variables))
      return
    gradients = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm(gradients)
    if self.loss_scaling:
      finite = tf.math.is_finite(norm)
      optimizer.loss_scale.update(finite)
      optimizer.update_if(finite, gradients, variables, norm,
                          select=self.select)
    else:
      optimizer.update(gradients, variables, norm)


def _initializer(seed):
  return tf.keras.initializers.GlorotUniform(seed=seed)
