"""Dropout with one seed per image, independent of process and replica.

Masks of Keras's own dropout come from a stateful generator and depend on the
number of earlier draws and on the replica. With a seed per image, a resumed run
and a batch split over replicas drop the same units.
"""

import contextlib
import contextvars
import math

import numpy as np
import tensorflow as tf

from kdwsd.modeling import philox

# `tf.random.stateless_uniform` makes a float32 of this many bits, the low ones.
_MANTISSA = 23

_compiled = contextvars.ContextVar("compiled", default=False)


@contextlib.contextmanager
def compilable():
  """Within it, masks are drawn in a form that XLA compiles well; bit-equal."""
  token = _compiled.set(True)
  try:
    yield
  finally:
    _compiled.reset(token)


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
    # `tf.random.stateless_uniform` in fewer operations; set explicitly, because
    # the default algorithm depends on the device.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(
        seed=tf.random.fold_in(seed, salt))
    uniform = tf.raw_ops.StatelessRandomUniformV2(
        shape=shape, key=key, counter=counter,
        alg=tf.random.Algorithm.PHILOX.value)
    return uniform >= rate

  if _compiled.get():
    kept = _masks(shape, rate, philox.fold_in(seeds, salt))       # [B, R, D]
  elif inputs.shape[0]:
    # A loop in the graph would draw for one image after another.
    kept = tf.stack([mask(seed) for seed in tf.unstack(
        seeds, num=inputs.shape[0])])
  else:
    kept = tf.map_fn(mask, seeds, fn_output_signature=tf.bool)
  scale = tf.cast(1.0 / (1.0 - rate), inputs.dtype)
  return tf.where(tf.ensure_shape(kept, inputs.shape), inputs * scale,
                  tf.zeros([], inputs.dtype))


def _masks(shape, rate, seeds):
  """Where `stateless_uniform` of each seed is at least `rate`; integers only.

  Args:
    shape: [2] int32, R and D.
    rate: as in `drop`.
    seeds: [B, 2] int32.

  Returns:
    [B, R, D] bool.
  """
  lowest = math.ceil(float(np.float32(rate)) * 2 ** _MANTISSA)
  bits = philox.bits(seeds, shape[0] * shape[1])
  mantissas = tf.bitwise.bitwise_and(
      bits, tf.constant(2 ** _MANTISSA - 1, tf.uint32))
  # int32, because not every device compares unsigned numbers.
  kept = tf.cast(mantissas, tf.int32) >= lowest
  return tf.reshape(kept, tf.concat([[-1], shape], 0))
