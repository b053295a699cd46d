"""Tests of kdwsd.reporting.cost."""

import types
from unittest import mock

import tensorflow as tf

from kdwsd.reporting import cost


class _Clock:
  """The time that models have taken, in seconds."""

  def __init__(self):
    self.now = 0.0


class _Slow(tf.keras.Model):
  """A dense layer that takes its time, by a clock."""

  def __init__(self, seconds, clock):
    super().__init__()
    self.dense = tf.keras.layers.Dense(3)
    self.seconds, self.clock = seconds, clock

  def call(self, inputs):
    def wait(values):
      self.clock.now += self.seconds
      return values
    return self.dense(tf.ensure_shape(
        tf.numpy_function(wait, [inputs], tf.float32), [1, 4]))


class CostTest(tf.test.TestCase):

  def test_counts_parameters_and_images_a_second(self):
    inputs, clock = tf.ones([1, 4]), _Clock()
    models = {name: (_Slow(seconds, clock), inputs)
              for name, seconds in (("slow", 0.04), ("fast", 0.01))}
    for model, _ in models.values():
      model(inputs)
    with mock.patch.object(cost, "time", types.SimpleNamespace(
        perf_counter=lambda: clock.now)):
      figures = cost.measure(models)
    self.assertEqual(figures["slow"]["parameters"], 4 * 3 + 3)
    self.assertAlmostEqual(figures["slow"]["images_per_second"], 25.0)
    self.assertAlmostEqual(figures["fast"]["images_per_second"], 100.0)
    self.assertNotEmpty(figures["fast"]["device"])


if __name__ == "__main__":
  tf.test.main()
