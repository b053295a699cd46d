"""FLOP of a training step, and the FLOP/s of this device's matrix products.

A multiply-add counts as 2.
"""

import time

import tensorflow as tf

from benchmarks import compute


def of_step(forward, *inputs):
  """FLOP of a training step: convolutions and layers' matrix products only.

  The backward pass of a layer has two products of the size of the forward one:
  for its weights and for its input. The first layer needs no gradient of its
  input. RoI pooling is not counted, whichever kernel does it.

  Args:
    forward: function of tensors that runs the model.
    *inputs: dicts, lists or `tf.TensorSpec`s of known shape.

  Returns:
    FLOP.
  """
  products = of_products(forward, *inputs)
  return 3 * sum(products) - products[0]


def of_products(forward, *inputs):
  """FLOP of each convolution and matrix product of a function, in order."""
  graph = tf.function(forward, autograph=False).get_concrete_function(
      *inputs).graph
  products = []
  for operation in graph.get_operations():
    if operation.type == "MatMul":
      left = operation.inputs[0].shape
      inner = left[0 if operation.get_attr("transpose_a") else 1]
      products.append(2 * operation.outputs[0].shape.num_elements() * inner)
    elif operation.type in ("Conv2D", "DepthwiseConv2dNative"):
      # [height, width, channels of a group, outputs or multiplier]
      height, width, channels, _ = operation.inputs[1].shape
      if operation.type == "DepthwiseConv2dNative":
        channels = 1
      products.append(2 * operation.outputs[0].shape.num_elements()
                      * height * width * channels)
  return products


def of_device():
  """FLOP/s of large matrix products in the precision that layers compute in."""
  dtype = tf.keras.mixed_precision.global_policy().compute_dtype
  if compute.has_gpu():
    return _of_products(8192, dtype, chain=20, repeats=5)
  if dtype == "float32":
    return _of_products(4096, dtype, chain=1, repeats=3)
  # CPUs without instructions for it are a thousand times slower.
  return _of_products(256, dtype, chain=1, repeats=3)


def _of_products(side, dtype, chain, repeats):
  """FLOP/s of `chain` products, the best of `repeats`."""
  # Products of these keep the size of their values.
  matrix = tf.cast(tf.random.normal([side, side]) / side ** 0.5, dtype)

  @tf.function(autograph=False)
  def multiply(matrix):
    product = matrix
    for _ in range(chain):
      product = tf.matmul(product, matrix)
    return tf.reduce_sum(product[0])

  seconds = []
  for _ in range(repeats + 1):  # The first one traces.
    start = time.perf_counter()
    multiply(matrix).numpy()
    seconds.append(time.perf_counter() - start)
  return 2 * chain * side ** 3 / min(seconds[1:])
