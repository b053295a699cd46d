"""Tests of kdwsd.training.means, and of where TensorFlow adds them up."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.training import means
from tests import environment

_NAMES = ("loss", "norm")


def _make(strategy):
  with strategy.scope():
    made = means.Means(_NAMES, strategy)
  made.reset()

  @tf.function
  def update(loss, norm, finite_only):
    strategy.run(lambda: made.update(
        {"norm": norm, "loss": loss}, finite_only=finite_only))
  return made, update


def test_means_are_those_of_keras_bit_for_bit():
  random = np.random.default_rng(0)
  made, update = _make(tf.distribute.get_strategy())
  keras = [tf.keras.metrics.Mean(dtype=tf.float32) for _ in _NAMES]
  for _ in range(20):
    values = [random.normal(size=[7]).astype(np.float32),
              np.float32(random.normal())]
    update(*map(tf.constant, values), False)
    for metric, value in zip(keras, values):
      metric.update_state(value)
  assert list(made.read().values()) == [
      float(metric.result()) for metric in keras]


@pytest.mark.parametrize("finite_only, expected", [
    (False, [np.inf, np.nan]), (True, [2.0, np.nan])])
def test_what_is_not_finite_counts_only_if_asked(finite_only, expected):
  made, update = _make(tf.distribute.get_strategy())
  update(tf.constant([1.0, np.inf, 3.0]), tf.constant(np.nan), finite_only)
  np.testing.assert_equal(list(made.read().values()), expected)
  made.reset()
  update(tf.constant([1.0]), tf.constant(4.0), finite_only)
  assert made.read() == {"loss": 1.0, "norm": 4.0}


def test_means_are_over_all_replicas():
  made, update = _make(environment.two_replicas())
  update(tf.constant([1.0, 2.0]), tf.constant(4.0), False)
  update(tf.constant([6.0, 3.0]), tf.constant(0.0), False)
  assert made.read() == {"loss": 3.0, "norm": 2.0}


def test_nothing_is_reduced_by_way_of_the_host(caplog):
  """CPU:1 is to TensorFlow's reductions what a GPU is: not the host's CPU:0.

  Each reading or resetting of a Keras metric reduces, which TensorFlow logs.
  """
  caplog.set_level(logging.INFO, "tensorflow")
  environment.two_replicas()  # Skips where there is one device.
  strategy = tf.distribute.MirroredStrategy(["CPU:1"])
  made, update = _make(strategy)
  update(tf.constant([1.0]), tf.constant(4.0), False)
  assert made.read() == {"loss": 1.0, "norm": 4.0}
  assert "Reduce to" not in caplog.text
  with strategy.scope():
    metric = tf.keras.metrics.Mean()
  metric.reset_state()
  # Of the first ten times in a process.
  assert caplog.text.count("Reduce to") in (0, 2)
