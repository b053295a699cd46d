"""Fully connected layers that teacher and student have in common."""

import tensorflow as tf


def hidden(name, units, *, seed):
  """fc6 or fc7: ReLU, Caffe's "xavier" (uniform within sqrt(3 / fan in)).

  The release's initialiser.
  """
  xavier = tf.keras.initializers.VarianceScaling(
      1.0, mode="fan_in", distribution="uniform", seed=seed)
  return tf.keras.layers.Dense(
      units, activation="relu", kernel_initializer=xavier, name=name)


def classifier(name, num_classes, *, seed):
  """fc8: float32 logits, from N(0, 0.01) as in WSDDN.

  So that outputs start flat whatever the width; the release has xavier here
  too.
  """
  normal = tf.keras.initializers.RandomNormal(stddev=0.01, seed=seed)
  return tf.keras.layers.Dense(
      num_classes, kernel_initializer=normal, dtype="float32", name=name)
