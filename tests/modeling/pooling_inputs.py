"""Maps and RoIs for tests of RoI pooling, and its value and gradient."""

import numpy as np
import tensorflow as tf

from kdwsd import boxes


def features(seed, shape, levels=None):
  """Random maps; with few `levels` most maxima are ties."""
  random = np.random.RandomState(seed)
  if levels:
    return random.randint(-levels, levels + 1, shape).astype(np.float32)
  return random.randn(*shape).astype(np.float32)


def corners(seed, batch, count, height, width):
  """Random inclusive pixel corners, among them dots and the whole image."""
  random = np.random.RandomState(seed)
  ys = np.sort(random.randint(0, height, [batch, count, 2]), axis=-1)
  xs = np.sort(random.randint(0, width, [batch, count, 2]), axis=-1)
  found = np.stack([ys[..., 0], xs[..., 0], ys[..., 1], xs[..., 1]], -1)
  found[:, 0] = 0, 0, height - 1, width - 1
  found[:, 1, 2:] = found[:, 1, :2]
  found[:, 2] = height - 1, width - 1, height - 1, width - 1
  return found


def fractions(pixels, height, width):
  """RoIs [B, R, 4] of inclusive pixel corners."""
  flat = pixels.reshape(-1, 4)[:, [1, 0, 3, 2]]
  return boxes.from_inclusive_pixels(flat, height, width).reshape(pixels.shape)


def value_and_gradient(pool, inputs, upstream, *, compiled=False):
  """Runs a pooling forwards and backwards.

  Args:
    pool: function of a map.
    inputs: the map, array or tensor.
    upstream: gradient of the result.
    compiled: whether XLA compiles both.

  Returns:
    Value and gradient, as tensors.
  """
  def run(inputs):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      pooled = pool(inputs)
    return pooled, tape.gradient(
        pooled, inputs, tf.cast(upstream, pooled.dtype))

  if compiled:
    run = tf.function(run, jit_compile=True, autograph=False)
  return run(tf.constant(inputs))
