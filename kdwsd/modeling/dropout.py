"""Dropout with one seed per image, independent of process and replica.

Masks of Keras's own dropout come from a stateful generator and depend on the
number of earlier draws and on the replica. With a seed per image, a resumed run
and a batch split over replicas drop the same units.
"""

import tensorflow as tf


def drop(inputs, *, rate, seeds, salt):
  """Zeroes units at random and scales the others by 1 / (1 - rate).

  Args:
    inputs: [B, R, D] float.
    rate: share of units dropped, in [0, 1).
    seeds: [B, 2] int32, one seed per image.
    salt: int that differs between the layers of a model.

  Returns:
    [B, R, D] of the inputs' dtype.
  """
  if rate == 0:
    return inputs
  shape = tf.shape(inputs)[1:]

  def mask(seed):
    # Set explicitly, because the default algorithm depends on the device.
    uniform = tf.random.stateless_uniform(
        shape, tf.random.fold_in(seed, salt), alg="philox")
    return uniform >= rate

  kept = tf.map_fn(mask, seeds, fn_output_signature=tf.bool)      # [B, R, D]
  scale = tf.cast(1.0 / (1.0 - rate), inputs.dtype)
  return tf.where(tf.ensure_shape(kept, inputs.shape), inputs * scale,
                  tf.zeros([], inputs.dtype))
