"""The device is where operations run, and computes as the CPU does."""

import numpy as np
import tensorflow as tf

from tests.gpu import case


class ProductTest(case.GpuTestCase):

  def test_a_product_runs_on_the_device(self):
    with tf.device(case.gpu()):
      product = tf.matmul(tf.ones([2, 3]), tf.ones([3, 2]))
    self.assertEndsWith(product.device, case.gpu())

  def test_a_convolution_and_its_gradients_equal_those_of_the_cpu(self):
    random = np.random.default_rng(0)
    image = random.normal(size=[2, 16, 16, 8])
    kernel = random.normal(size=[3, 3, 8, 4])

    def compute(device):
      with tf.device(device), tf.GradientTape() as tape:
        inputs = [tf.constant(one, tf.float32) for one in (image, kernel)]
        tape.watch(inputs)
        output = tf.nn.conv2d(*inputs, 1, "SAME")
      with tf.device(device):
        return [output, *tape.gradient(output, inputs)]

    for computed, expected in zip(compute(case.gpu()), compute(case.CPU)):
      self.assertAllClose(computed, expected, atol=1e-4, rtol=1e-4)
