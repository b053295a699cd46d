"""The random bits of `tf.random.stateless_uniform`, for many seeds at once.

TensorFlow's operation takes one seed. This is its arithmetic, Philox 4x32-10,
on tensors: XLA makes one kernel of it, for all seeds of a batch, where the
operation would be compiled once for each. Not compiled it is slow.

Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011;
constants and layout as in TensorFlow's philox_random.h and
stateless_random_ops.cc.
"""

import tensorflow as tf

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

# The key with which TensorFlow scrambles a seed.
_SCRAMBLING_KEY = (0x3EC8F720, 0x02461E29)


def bits(seeds, count):
  """Random bits of each seed.

  Args:
    seeds: [B, 2] int32.
    count: n, int or scalar int32.

  Returns:
    [B, n] uint32; row b is `tf.random.stateless_uniform([n], seeds[b], None,
    None, tf.uint32, alg="philox")`.
  """
  zero = tf.zeros([1], tf.uint32)
  words = _philox(
      (*_words(seeds[:, 0]), *_words(seeds[:, 1])),
      [tf.constant(word, tf.uint32) for word in _SCRAMBLING_KEY])   # each [B]
  key, high = [word[:, tf.newaxis] for word in words[:2]], [
      word[:, tf.newaxis] for word in words[2:]]                    # [B, 1]
  blocks = tf.cast(tf.range((count + 3) // 4), tf.uint32)           # [n / 4]
  words = _philox((blocks[tf.newaxis], zero[tf.newaxis], *high), key)
  words = tf.stack(words, axis=2)                               # [B, n / 4, 4]
  return tf.reshape(words, [-1, 4 * tf.size(blocks)])[:, :count]


def fold_in(seeds, salt):
  """`tf.random.fold_in` of each seed: [B, 2] int32 -> [B, 2] int32."""
  first = tf.bitcast(bits(seeds, 1)[:, 0], tf.int32)                # [B]
  return tf.stack([first, tf.fill(tf.shape(first), salt)], axis=1)


def _words(numbers):
  """Low and high half of int32, sign-extended to 64 bits, as uint32."""
  return (tf.bitcast(numbers, tf.uint32),
          tf.bitcast(tf.bitwise.right_shift(numbers, 31), tf.uint32))


def _philox(counter, key):
  """Four words of random bits for a counter of four and a key of two."""
  a, b, c, d = counter
  for number in range(_ROUNDS):
    first, second = [
        word + tf.constant(number * step % 2 ** 32, tf.uint32)
        for word, step in zip(key, _KEY_STEPS)]
    (a_high, a_low), (c_high, c_low) = [
        _product(word, factor) for word, factor in zip((a, c), _MULTIPLIERS)]
    a, b = _xor(c_high, b, first), c_low
    c, d = _xor(a_high, d, second), a_low
  shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(c))
  return [tf.broadcast_to(word, shape) for word in (a, b, c, d)]


def _product(word, factor):
  """High and low half of a product of uint32."""
  product = tf.cast(word, tf.uint64) * tf.constant(factor, tf.uint64)
  high = tf.bitwise.right_shift(product, tf.constant(32, tf.uint64))
  return tf.cast(high, tf.uint32), word * tf.constant(factor, tf.uint32)


def _xor(first, second, third):
  return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(first, second), third)
