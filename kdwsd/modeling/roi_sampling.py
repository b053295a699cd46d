"""RoI pooling by interpolation: `--roi_pooling=crop_and_resize`.

2 n x 2 n bilinear samples at bin centres, then the maximum of 2 x 2. Cell k of
the map stands for pixels [stride k, stride (k + 1)), so its centre is at
k + 1/2 in units of cells; sample i of 2 n in a RoI from a to b, same units,
lies at a + (i + 1/2) (b - a) / 2 n. Samples less than half a cell from the
border have the border's value. The gradient goes to the largest of the 2 x 2
samples, to the first one in row-major order among equals.

`by_op` is the reference. `by_products` computes the same for GPUs, where the
op's gradient adds single values to memory in random order, and samples are four
times as many numbers as their maxima, in float32.
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
  crops = tf.image.crop_and_resize(
      features, tf.reshape(samples, [-1, 4]),
      tf.repeat(tf.range(batch), count), [2 * side, 2 * side])
  return tf.nn.max_pool2d(crops, 2, 2, "VALID")             # [B R, n, n, C]


def by_products(features, rois, side):
  """Samples by matrix products: rows of samples first, then their columns.

  Both products, their gradients and the maxima are in the type of the features.
  The largest tensor is the product with the rows, [B, 2 n R, W, C]. The
  backward pass does not read it again, but makes its gradient.

  Args:
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    side: n.

  Returns:
    [B * R, n, n, C] of the type of the features, RoIs of the first image first.
  """
  batch, height, width, channels = (_size(features, i) for i in range(4))
  count, points = _size(rois, 1), 2 * side
  # Sides of a multiple of 8, for the tensor cores of GPUs. No sample has a
  # weight for a cell outside the map.
  spare_rows, spare_columns = -height % 8, -width % 8
  features = tf.pad(
      features, [[0, 0], [0, spare_rows], [0, spare_columns], [0, 0]])
  tall, wide = height + spare_rows, width + spare_columns    # H', W'
  rows = _weights(rois[..., 0], rois[..., 2], height, tall, side,
                  features.dtype)                            # [B, R, 2n, H']
  columns = _weights(rois[..., 1], rois[..., 3], width, wide, side,
                     features.dtype)                         # [B, R, 2n, W']
  bands = tf.matmul(
      tf.reshape(rows, [batch, count * points, tall]),
      tf.reshape(features, [batch, tall, wide * channels]))  # [B, R 2n, W' C]
  columns = tf.repeat(
      tf.reshape(columns, [batch * count, points, wide]), points, axis=0)
  samples = tf.matmul(columns, tf.reshape(
      bands, [batch * count * points, wide, channels]))      # [B R 2n, 2n, C]
  return _maxima(tf.reshape(
      samples, [batch * count, 2, side, 2, side, channels]))


def _weights(start, end, cells, padded, side, dtype):
  """Weights of cells in the samples along one axis.

  Args:
    start: [B, R] float32, fraction at which a RoI starts.
    end: [B, R] float32, fraction at which it ends.
    cells: of the map.
    padded: cells of the padded map.
    side: n.
    dtype: of the result.

  Returns:
    [B, R, 2 n, padded], without gradient; the n even samples come first, so
    that the first and second samples of all bins are contiguous.
  """
  order = np.arange(2 * side).reshape(side, 2).T.ravel()
  share = tf.constant((order + 0.5) / (2 * side), tf.float32)     # [2n]
  start, end = (tf.clip_by_value(edge, 0.0, 1.0)[..., tf.newaxis]
                for edge in (start, end))                         # [B, R, 1]
  last = tf.cast(cells, tf.float32) - 1.0
  places = (start + share * (end - start)) * (last + 1.0) - 0.5   # [B, R, 2n]
  places = tf.clip_by_value(places, 0.0, last)
  if dtype in _STEPS:
    # So that the weights of a sample add up to 1 after the cast.
    places = tf.round(places * _STEPS[dtype]) / _STEPS[dtype]
  distances = tf.abs(places[..., tf.newaxis]
                     - tf.cast(tf.range(padded), tf.float32))
  return tf.stop_gradient(tf.cast(tf.maximum(1.0 - distances, 0.0), dtype))


@tf.custom_gradient
def _maxima(samples):
  """Maxima of 2 x 2 samples: [N, 2, n, 2, n, C] to [N, n, n, C].

  Its own gradient remembers which sample was largest, and not the samples.
  """
  left, right = tf.unstack(samples, axis=3)                # [N, 2, n, n, C]
  at_left = left >= right
  upper, lower = tf.unstack(tf.maximum(left, right), axis=1)
  at_top = upper >= lower                                  # [N, n, n, C]

  def gradient(upstream):
    rows = _choose(at_top, upstream, axis=1)               # [N, 2, n, n, C]
    return _choose(at_left, rows, axis=3)

  return tf.maximum(upper, lower), gradient


def _choose(first, values, axis):
  """Stacks values where `first` holds, and values where it does not."""
  zero = tf.zeros([], values.dtype)
  return tf.stack(
      [tf.where(first, values, zero), tf.where(first, zero, values)], axis)


def _size(tensor, axis):
  """Size along an axis: an integer if it is known, else a scalar tensor."""
  size = tensor.shape[axis]
  return tf.shape(tensor)[axis] if size is None else size
