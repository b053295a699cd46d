"""Fully connected layers shared by teacher and student."""

import tensorflow as tf


def hidden(name, units, *, seed):
  """fc6 or fc7 with ReLU.

  Initialized as in the release by Caffe's "xavier": uniform within
  sqrt(3 / fan in).
  """
  xavier = tf.keras.initializers.VarianceScaling(
      1.0, mode="fan_in", distribution="uniform", seed=seed)
  return tf.keras.layers.Dense(
      units, activation="relu", kernel_initializer=xavier, name=name)


def classifier(name, num_classes, *, seed):
  """fc8: float32 logits.

  Initialized from N(0, 0.01) as in WSDDN, so that initial scores are nearly
  uniform at any width; the release uses "xavier" here as well.
  """
  normal = tf.keras.initializers.RandomNormal(stddev=0.01, seed=seed)
  return tf.keras.layers.Dense(
      num_classes, kernel_initializer=normal, dtype="float32", name=name)
