"""Dropout whose masks belong to the image, not to the process.

Keras's own dropout draws from a stateful generator: its masks depend on how
many draws went before and on the replica. Here each image brings its own seed,
so that a resumed run, and a batch split over replicas, drop the same units.
"""

import tensorflow as tf


def drop(inputs, *, rate, seeds, salt):
  """Zeroes units at random and scales up the rest by 1 / (1 - rate).

  Args:
    inputs: [B, R, D] float.
    rate: share of units dropped, in [0, 1).
    seeds: [B, 2] int32, one seed per image.
    salt: int that sets apart the layers of one model.

  Returns:
    [B, R, D] of the inputs' dtype.
  """
  if rate == 0:
    return inputs
  shape = tf.shape(inputs)[1:]

  def mask(seed):
    # Named, because the default algorithm differs between kinds of device.
    uniform = tf.random.stateless_uniform(
        shape, tf.random.fold_in(seed, salt), alg="philox")
    return uniform >= rate

  kept = tf.map_fn(mask, seeds, fn_output_signature=tf.bool)      # [B, R, D]
  scale = tf.cast(1.0 / (1.0 - rate), inputs.dtype)
  return tf.where(tf.ensure_shape(kept, inputs.shape), inputs * scale,
                  tf.zeros([], inputs.dtype))
