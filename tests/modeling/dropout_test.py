"""Dropout masks that belong to images."""

import numpy as np
import tensorflow as tf

from kdwsd.modeling import dropout


class DropTest(tf.test.TestCase):

  def test_drops_the_rate_and_keeps_the_mean(self):
    seeds = tf.constant([[1, 2], [3, 4]])
    dropped = dropout.drop(
        tf.ones([2, 100, 200]), rate=0.25, seeds=seeds, salt=6).numpy()
    self.assertAllClose([0.0, 1 / 0.75], np.unique(dropped))
    self.assertAllClose([0.25, 0.25], np.mean(dropped == 0, axis=(1, 2)),
                        atol=0.02)

  def test_masks_differ_between_images_and_layers(self):
    inputs = tf.ones([2, 10, 20])
    seeds = tf.constant([[1, 2], [1, 3]])
    first = dropout.drop(inputs, rate=0.5, seeds=seeds, salt=6)
    second = dropout.drop(inputs, rate=0.5, seeds=seeds, salt=7)
    self.assertNotAllClose(first[0], first[1])
    self.assertNotAllClose(first, second)

  def test_mask_is_the_images_own(self):
    inputs = tf.ones([3, 4, 5])
    seeds = tf.constant([[1, 2], [3, 4], [5, 6]])
    whole = dropout.drop(inputs, rate=0.5, seeds=seeds, salt=6)
    last = dropout.drop(inputs[2:], rate=0.5, seeds=seeds[2:], salt=6)
    self.assertAllEqual(whole[2:], last)

  def test_golden_mask(self):
    # Made by this function on TensorFlow 2.15, CPU. A change here changes
    # every resumed run.
    kept = dropout.drop(tf.ones([1, 2, 8]), rate=0.5,
                        seeds=tf.constant([[1, 2]]), salt=6)[0] > 0
    self.assertAllEqual(
        [[1, 1, 1, 0, 0, 0, 0, 1], [1, 0, 1, 1, 0, 0, 0, 1]],
        tf.cast(kept, tf.int32))

  def test_gradient_passes_where_kept_only(self):
    inputs, seeds = tf.ones([1, 6, 6]), tf.constant([[1, 2]])
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      dropped = dropout.drop(inputs, rate=0.5, seeds=seeds, salt=6)
    self.assertAllEqual(dropped, tape.gradient(dropped, inputs))

  def test_keeps_dtype_and_takes_no_proposals(self):
    inputs = tf.ones([2, 0, 5], tf.bfloat16)
    dropped = dropout.drop(inputs, rate=0.5, seeds=tf.ones([2, 2], tf.int32),
                           salt=6)
    self.assertEqual(tf.bfloat16, dropped.dtype)
    self.assertAllEqual([2, 0, 5], dropped.shape)


if __name__ == "__main__":
  tf.test.main()
