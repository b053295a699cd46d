"""A small run for tests of optimizers, on one replica or two."""

import numpy as np
import tensorflow as tf

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
  """A model of two layers, trained on data that depends on the step."""

  def __init__(self, replicas, name, loss_scaling=False, seed=0):
    self.strategy = strategy = _strategy(replicas)
    self.loss_scaling = loss_scaling
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
      self.optimizer = make(name, self.schedule)
      if loss_scaling:
        self.optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
            self.optimizer)
    self.checkpoint = tf.train.Checkpoint(
        model=self.model, optimizer=self.optimizer)
    self._step = tf.function(
        lambda inputs: strategy.run(self._replica_step, args=(inputs,)))

  def weights(self):
    return [v.numpy() for v in self.model.trainable_variables]

  def train(self, steps, poison=0.0):
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
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(tf.square(self.model(inputs) - 1.0)) / 4
      scaled = self.optimizer.get_scaled_loss(
          loss) if self.loss_scaling else loss
    variables = self.model.trainable_variables
    gradients = tape.gradient(scaled, variables)
    if self.loss_scaling:
      gradients = self.optimizer.get_unscaled_gradients(gradients)
    self.optimizer.apply_gradients(zip(gradients, variables))


def _initializer(seed):
  return tf.keras.initializers.GlorotUniform(seed=seed)
