"""RoI pooling by interpolation: `--roi_pooling=crop_and_resize`.

2 n x 2 n bilinear samples at bin centres, then the maximum of 2 x 2. Cell k of
the map stands for pixels [stride k, stride (k + 1)), so its centre is at
k + 1/2 in units of cells; sample i of 2 n in a RoI from a to b, same units,
lies at a + (i + 1/2) (b - a) / 2 n. Samples less than half a cell from the
border have the border's value. The gradient goes to the largest of the 2 x 2
samples, to the first one in row-major order among equals.

`by_op` is the reference. `by_gathers` computes the same where XLA compiles it:
the op has no kernel there. `by_op_and_products` computes the same on CPUs whose
ops are not deterministic: there the threads of the op's own gradient add to the
same cell without waiting for each other, and lose terms
(https://github.com/tensorflow/tensorflow/issues/42033).
"""

import numpy as np
import tensorflow as tf

# A weight and its complement are exact if they are multiples of 1 / this.
_STEPS = {tf.float16: 2 ** 11, tf.bfloat16: 2 ** 8}


def by_op(features, rois, side):
  """Samples by `tf.image.crop_and_resize`.

  The op counts from the centre of the first cell to the centre of the last one
  and places its first and last samples ON the edges of the box. The box is
  converted accordingly.

  Args:
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    side: n.

  Returns:
    [B * R, n, n, C] float32, RoIs of the first image first.
  """
  return tf.nn.max_pool2d(_samples(features, rois, side), 2, 2, "VALID")


def by_op_and_products(features, rois, side):
  """`by_op` with the gradient of `by_gathers`, whose sums lose no term.

  Args:
    features: as in `by_op`.
    rois: as in `by_op`.
    side: as in `by_op`.

  Returns:
    As `by_op`.
  """
  rois = tf.stop_gradient(rois)

  @tf.custom_gradient
  def sample(features):
    def gradient(upstream):
      upstream = tf.reshape(
          upstream, [-1, side, 2, side, 2, _size(features, 3)])
      return _gradient(
          features, rois, tf.transpose(upstream, [0, 2, 1, 4, 3, 5]))

    return _samples(features, rois, side), gradient

  return tf.nn.max_pool2d(
      sample(tf.cast(features, tf.float32)), 2, 2, "VALID")


def _samples(features, rois, side):
  """[B * R, 2 n, 2 n, C] float32: samples of RoIs by the op."""
  # The op takes no bfloat16 and returns float32 in any case.
  features = tf.cast(features, tf.float32)
  # One replicated cell around the map: every sample then has four neighbours,
  # and the op never extrapolates.
  features = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  padded = tf.cast(tf.shape(features)[1:3], tf.float32)
  cells = tf.tile(padded - 2.0, [2])                              # [4]
  edges = tf.clip_by_value(rois, 0.0, 1.0) * cells                # [B, R, 4]
  half_step = (edges[..., 2:] - edges[..., :2]) / (4 * side)      # [B, R, 2]
  samples = tf.concat(
      [edges[..., :2] + half_step, edges[..., 2:] - half_step], -1)
  # From edges to centres of cells: - 1/2; from the map to the padded one: + 1.
  samples = (samples + 0.5) / tf.tile(padded - 1.0, [2])
  batch, count = tf.shape(rois)[0], tf.shape(rois)[1]
  return tf.image.crop_and_resize(
      features, tf.reshape(samples, [-1, 4]),
      tf.repeat(tf.range(batch), count), [2 * side, 2 * side])


def by_gathers(features, rois, side):
  """Samples by gathering the four cells around each; for XLA.

  XLA makes the samples and their maxima in one kernel, which reads cells from
  the GPU's cache and writes the maxima alone. The gradient of the samples
  becomes that of the map by two matrix products, with columns and with rows of
  weights: unlike the op's, it is added up in the same order each time. Its
  largest tensor is [B, 2 n R, W, C].

  Args:
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    side: n.

  Returns:
    [B * R, n, n, C] of the type of the features, RoIs of the first image first.
  """
  rois = tf.stop_gradient(rois)

  @tf.custom_gradient
  def pool(features):
    maxima, which = _largest_samples(features, rois, side)

    def gradient(upstream):
      order = tf.reshape(
          tf.constant([0, 1, 2, 3], tf.int8), [1, 2, 1, 2, 1, 1])
      return _gradient(features, rois, tf.where(
          which[:, tf.newaxis, :, tf.newaxis] == order,
          upstream[:, tf.newaxis, :, tf.newaxis],
          tf.zeros([], upstream.dtype)))

    return maxima, gradient

  return pool(features)


def _largest_samples(features, rois, side):
  """The largest of 2 x 2 samples, and which of them it is.

  Returns:
    [B * R, n, n, C] of the type of the features, and int8 from 0 to 3.
  """
  batch, height, width, channels = (_size(features, i) for i in range(4))
  cells = tf.reshape(features, [batch * height * width, channels])
  first = tf.reshape(
      tf.range(batch) * (height * width), [batch, 1, 1, 1])   # of each image
  rows = _neighbours(rois[..., 0], rois[..., 2], height, side)
  columns = _neighbours(rois[..., 1], rois[..., 3], width, side)

  def sample(i, j):
    """[B, R, n, n, C] float32, of row i and column j of the 2 x 2."""
    above, below, down = (part[:, :, i, :, tf.newaxis] for part in rows)
    left, right, along = (part[:, :, j, tf.newaxis, :] for part in columns)
    down, along = down[..., tf.newaxis], along[..., tf.newaxis]

    def between(row):
      one, other = (tf.cast(
          tf.gather(cells, first + row * width + column), tf.float32)
                    for column in (left, right))
      return one * (1.0 - along) + other * along
    return between(above) * (1.0 - down) + between(below) * down

  best = sample(0, 0)
  which = tf.zeros_like(best, tf.int32)
  for number, (i, j) in enumerate([(0, 1), (1, 0), (1, 1)], 1):
    other = sample(i, j)
    larger = other > best
    best = tf.where(larger, other, best)
    which = tf.where(larger, number, which)
  shape = [batch * _size(rois, 1), side, side, channels]
  return (tf.reshape(tf.cast(best, features.dtype), shape),
          tf.reshape(tf.cast(which, tf.int8), shape))


def _gradient(features, rois, samples):
  """Gradient of the map, from that of the samples.

  Args:
    features: [B, H, W, C].
    rois: [B, R, 4].
    samples: [B * R, 2, n, 2, n, C] of the type of the features: gradients of
      the first and the second row, and column, of each bin.
  """
  batch, height, width, channels = (_size(features, i) for i in range(4))
  count, side = _size(rois, 1), samples.shape[2]
  points = 2 * side
  # Sides of a multiple of 8, for the tensor cores of GPUs. No sample has a
  # weight for a cell outside the map.
  tall, wide = height + -height % 8, width + -width % 8   # H', W'
  rows = _weights(rois[..., 0], rois[..., 2], height, tall, side,
                  features.dtype)                         # [B, R, 2n, H']
  columns = _weights(rois[..., 1], rois[..., 3], width, wide, side,
                     features.dtype)                      # [B, R, 2n, W']
  columns = tf.repeat(
      tf.reshape(columns, [batch * count, points, wide]), points, axis=0)
  bands = tf.matmul(
      columns, tf.reshape(samples, [batch * count * points, points, channels]),
      transpose_a=True)                                   # [B R 2n, W', C]
  cells = tf.matmul(
      tf.reshape(rows, [batch, count * points, tall]),
      tf.reshape(bands, [batch, count * points, wide * channels]),
      transpose_a=True)                                   # [B, H', W' C]
  cells = tf.reshape(cells, [batch, tall, wide, channels])
  return cells[:, :height, :width]


def _places(start, end, cells, side):
  """Places of samples along one axis, counted from the first cell's centre.

  Args:
    start: [B, R] float32, fraction at which a RoI starts.
    end: [B, R] float32, fraction at which it ends.
    cells: of the map.
    side: n.

  Returns:
    [B, R, 2, n] float32: first and second samples of each bin.
  """
  order = np.arange(2 * side).reshape(side, 2).T                  # [2, n]
  share = tf.constant((order + 0.5) / (2 * side), tf.float32)
  start, end = (
      tf.clip_by_value(edge, 0.0, 1.0)[..., tf.newaxis, tf.newaxis]
      for edge in (start, end))                                   # [B, R, 1, 1]
  last = tf.cast(cells, tf.float32) - 1.0
  places = (start + share * (end - start)) * (last + 1.0) - 0.5
  return tf.clip_by_value(places, 0.0, last)


def _neighbours(start, end, cells, side):
  """The two cells around each sample along one axis.

  Args:
    start: as in `_places`.
    end: as in `_places`.
    cells: as in `_places`.
    side: as in `_places`.

  Returns:
    [B, R, 2, n] each: the cell before and the one after, int32, and the weight
    of the latter, float32.
  """
  places = _places(start, end, cells, side)
  before = tf.floor(places)
  after = tf.minimum(before + 1.0, tf.cast(cells, tf.float32) - 1.0)
  return tf.cast(before, tf.int32), tf.cast(after, tf.int32), places - before


def _weights(start, end, cells, padded, side, dtype):
  """Weights of cells in the samples along one axis.

  Args:
    start: as in `_places`.
    end: as in `_places`.
    cells: as in `_places`.
    padded: cells of the padded map.
    side: as in `_places`.
    dtype: of the result.

  Returns:
    [B, R, 2 n, padded].
  """
  places = _places(start, end, cells, side)
  if dtype in _STEPS:
    # So that the weights of a sample add up to 1 after the cast.
    places = tf.round(places * _STEPS[dtype]) / _STEPS[dtype]
  places = tf.reshape(places, [_size(start, 0), _size(start, 1), 2 * side, 1])
  distances = tf.abs(places - tf.cast(tf.range(padded), tf.float32))
  return tf.cast(tf.maximum(1.0 - distances, 0.0), dtype)


def _size(tensor, axis):
  """Size along an axis: an integer if it is known, else a scalar tensor."""
  size = tensor.shape[axis]
  return tf.shape(tensor)[axis] if size is None else size
