"""Tests of kdwsd.reporting.cost."""

import time

import tensorflow as tf

from kdwsd.reporting import cost


class _Slow(tf.keras.Model):
  """A dense layer that takes its time."""

  def __init__(self, seconds):
    super().__init__()
    self.dense = tf.keras.layers.Dense(3)
    self.seconds = seconds

  def call(self, inputs):
    def wait(values):
      time.sleep(self.seconds)
      return values
    return self.dense(tf.ensure_shape(
        tf.numpy_function(wait, [inputs], tf.float32), [1, 4]))


class CostTest(tf.test.TestCase):

  def test_counts_parameters_and_images_a_second(self):
    inputs = tf.ones([1, 4])
    models = {name: (_Slow(seconds), inputs)
              for name, seconds in (("slow", 0.04), ("fast", 0.0))}
    for model, _ in models.values():
      model(inputs)
    figures = cost.measure(models)
    self.assertEqual(figures["slow"]["parameters"], 4 * 3 + 3)
    self.assertLess(figures["slow"]["images_per_second"], 25.0)
    self.assertGreater(figures["slow"]["images_per_second"], 1.0)
    self.assertGreater(figures["fast"]["images_per_second"],
                       figures["slow"]["images_per_second"])
    self.assertNotEmpty(figures["fast"]["device"])


if __name__ == "__main__":
  tf.test.main()
