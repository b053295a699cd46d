"""The bits are those of TensorFlow's operation, compiled or not."""

import contextlib

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import dropout
from kdwsd.modeling import philox

_SEEDS = [[0, 0], [1, 2], [-1, 6], [2 ** 31 - 1, -2 ** 31], [12345, 7]]


class PhiloxTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.product(count=[1, 3, 4, 1003], jit_compile=[False, True])
  def test_bits_are_those_of_stateless_uniform(self, count, jit_compile):
    bits = tf.function(philox.bits, jit_compile=jit_compile)(
        tf.constant(_SEEDS), count)
    expected = [tf.random.stateless_uniform(
        [count], seed, None, None, tf.uint32, alg="philox")
                for seed in _SEEDS]
    self.assertAllEqual(bits, np.stack(expected))

  @parameterized.parameters(False, True)
  def test_seeds_are_folded_as_by_tensorflow(self, jit_compile):
    folded = tf.function(philox.fold_in, jit_compile=jit_compile)(
        tf.constant(_SEEDS), 6)
    self.assertAllEqual(folded, np.stack(
        [tf.random.fold_in(seed, 6) for seed in tf.unstack(_SEEDS)]))

  @parameterized.product(
      rate=[0.1, 0.5, 1 / 3, 0.999], dtype=[tf.float32, tf.float16])
  def test_compiled_dropout_has_the_same_bits(self, rate, dtype):
    inputs = tf.cast(tf.random.stateless_normal([5, 7, 33], [0, 0]), dtype)

    def drop(within):
      with within:
        return dropout.drop(
            inputs, rate=rate, seeds=tf.constant(_SEEDS), salt=7)

    expected = drop(contextlib.nullcontext())
    compiled = tf.function(
        lambda: drop(dropout.compilable()), jit_compile=True)
    self.assertAllEqual(compiled() == 0, expected == 0)
    self.assertAllClose(compiled(), expected, rtol=1e-6, atol=0)
    self.assertAllEqual(drop(dropout.compilable()), expected)

  def test_a_batch_of_unknown_size_has_the_same_bits(self):
    inputs = tf.ones([5, 3, 8])
    known = dropout.drop(inputs, rate=0.5, seeds=tf.constant(_SEEDS), salt=6)

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 8]),
                                  tf.TensorSpec([None, 2], tf.int32)])
    def drop(inputs, seeds):
      return dropout.drop(inputs, rate=0.5, seeds=seeds, salt=6)

    self.assertAllEqual(drop(inputs, tf.constant(_SEEDS)), known)

  def test_known_batches_are_drawn_without_a_loop(self):
    def ops(within, batch_size):
      @tf.function
      def drop():
        with within:
          return dropout.drop(
              tf.ones([batch_size, 1, 32]), rate=0.5,
              seeds=tf.ones([batch_size, 2], tf.int32), salt=6)
      graph = drop.get_concrete_function().graph
      return [operation.type for operation in graph.get_operations()]

    plain = ops(contextlib.nullcontext(), 64)
    self.assertFalse([name for name in plain if "While" in name])
    self.assertLess(len(plain), 64 * 20)
    sizes = [len(ops(dropout.compilable(), size)) for size in (2, 64)]
    self.assertLess(abs(sizes[0] - sizes[1]), 10)
