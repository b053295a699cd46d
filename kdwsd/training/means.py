"""Means over the steps of a loop, summed on the devices."""

import numpy as np
import tensorflow as tf


class Means(tf.Module):
  """Means of several figures, in one variable per replica.

  Each Keras metric has two variables, and reading or resetting one of them
  copies it from each device to the host.
  """

  def __init__(self, names, strategy):
    """Makes the means; call it in the strategy's scope.

    Args:
      names: names of the figures.
      strategy: `tf.distribute.Strategy`.
    """
    super().__init__(name="means")
    self._names = tuple(names)
    self._strategy = strategy
    self._sums = tf.Variable(
        tf.zeros([2, len(self._names)]), trainable=False, name="sums",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM)          # of values, of counts

  def reset(self):
    """Starts anew."""
    self._sums.assign(tf.zeros(self._sums.shape), read_value=False)

  def update(self, figures, *, finite_only=False):
    """Adds the values of a step; called on each replica.

    Args:
      figures: {name: float tensor of any shape}, with all names.
      finite_only: whether to leave out NaN and infinity.
    """
    totals, counts = [], []
    for name in self._names:
      values = tf.cast(figures[name], tf.float32)
      if finite_only:
        finite = tf.math.is_finite(values)
        values = tf.where(finite, values, tf.zeros_like(values))
        counts.append(tf.reduce_sum(tf.cast(finite, tf.float32)))
      else:
        counts.append(tf.cast(tf.size(values), tf.float32))
      totals.append(tf.reduce_sum(values))
    self._sums.assign_add(tf.stack([tf.stack(totals), tf.stack(counts)]))

  def read(self):
    """The means over all replicas: {name: float}, NaN of no values."""
    if isinstance(self._strategy, tf.distribute.MirroredStrategy):
      # Added up here: TensorFlow would do so in a graph of its own.
      totals, counts = sum(
          part.numpy()
          for part in self._strategy.experimental_local_results(self._sums))
    else:
      totals, counts = self._sums.numpy()
    with np.errstate(invalid="ignore"):
      means = totals / np.where(counts, counts, np.float32(np.nan))
    return dict(zip(self._names, map(float, means)))
