"""RoI pooling by exact maxima: `--roi_pooling=max`."""

from typing import NamedTuple

import tensorflow as tf

# The release's proposals are whole pixels of images warped to this side.
_RELEASE_SIDE = 672


class _Keys(NamedTuple):
  """Integers that hold a value and its place, ordered like (value, -place).

  Attributes:
    dtype: of the keys.
    bits: integer type as long as a value.
    last: the last place; its bits follow those of the value.
  """
  dtype: tf.DType
  bits: tf.DType
  last: int


_NARROW = _Keys(tf.int32, tf.int16, 2 ** 16 - 1)
_WIDE = _Keys(tf.int64, tf.int32, 2 ** 31 - 1)


def max_pool(features, rois, side, *, image_size, stride, dtype=tf.float32,
             bounded=False, integers=tf.int32):
  """Fast R-CNN's exact RoI max pooling, without a loop over RoIs.

  With integer pixels x from 0, corners inside the box: start = round(xmin /
  stride) and end = round(xmax / stride), halves away from zero, end inside,
  size at least one cell. Bin i of n spans floor(i size / n) to
  ceil((i + 1) size / n) after the start, clipped to the map; an empty bin gives
  0. The gradient goes to the maximum of each bin, to the first one in row-major
  order among equals.

  Source: Girshick, "Fast R-CNN", ICCV 2015, and its Caffe layer ROIPooling.
  Proposals of the release are inclusive pixels x of an image warped to 672 x
  672; for an image of side S it truncates x S / 672 to an integer. So does
  this: an edge f = x / 672 on the left or at the top becomes floor(f S), an
  edge f = (x + 1) / 672 on the right or at the bottom floor(f S - S / 672).
  Caffe computes bin edges in float32; the integer ones here are the same for
  RoIs of up to 56 cells and n = 7, more than its largest image has.

  The maximum of any rectangle comes from four look-ups in tables of the maxima
  of all rectangles whose sides are powers of two. A table entry holds value and
  place in one integer, ordered like (value, -place): one integer maximum
  settles both the value and the tie. It is int32 for values of 16 bits in maps
  of up to 65,536 cells, if `integers` is, else int64.

  Args:
    features: [B, H, W, C] float of any precision, H W < 2^31.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    side: n.
    image_size: [2] int, height and width of the images, pixels; less than one
      stride more than the map has cells for.
    stride: pixels per cell of the map.
    dtype: of the result, and of its gradient, which is summed in float32.
    bounded: whether tables cover the largest bin that the map may have, so that
      their number does not depend on RoIs.
    integers: type of tensors of integers. TensorFlow computes int32 on the host
      of a GPU, unless XLA compiles it; int64 stays on the GPU.

  Returns:
    [B * R, n, n, C], RoIs of the first image first.
  """
  features = tf.convert_to_tensor(features)
  starts, ends = _bins(rois, side, tf.shape(features, integers)[1:3],
                       image_size, stride)
  longest = (_longest_bin(tf.shape(features), side) if bounded
             else tf.reduce_max(ends - starts))
  levels = _floor_log2(tf.maximum(longest, 1)) + 1
  return _rectangle_maxima(features, starts, ends, levels, dtype)


def _bins(rois, side, map_size, image_size, stride):
  """Cells of each bin: starts and ends (exclusive), [B R, 2, n].

  Their type is that of `map_size`.
  """
  sides = tf.cast(tf.tile(image_size, [2]), tf.float32)           # [4]
  edges = tf.clip_by_value(rois, 0.0, 1.0) * sides                # [B, R, 4]
  # 1/1000 pixel, because a fraction times the side it was divided by may come
  # out just below the integer it stands for.
  first = tf.floor(edges[..., :2] + 1e-3)                         # [B, R, 2]
  last = tf.floor(edges[..., 2:] - sides[:2] / _RELEASE_SIDE + 1e-3)
  first = tf.floor(first / stride + 0.5)
  last = tf.floor(tf.maximum(last, 0.0) / stride + 0.5)
  integers = map_size.dtype
  first = tf.reshape(tf.cast(first, integers), [-1, 2, 1])        # [B R, 2, 1]
  last = tf.reshape(tf.cast(last, integers), [-1, 2, 1])
  size = tf.maximum(last - first + 1, 1)
  steps = tf.range(side, dtype=integers)                          # [n]
  limits = tf.reshape(map_size, [1, 2, 1])
  starts = first + steps * size // side                           # [B R, 2, n]
  ends = first - (-(steps + 1) * size // side)
  return tf.minimum(starts, limits), tf.minimum(ends, limits)


def _longest_bin(shape, side):
  """Most cells of a bin, whatever the RoI, on a map [B, H, W, C].

  A RoI begins and ends within one cell after the map, so it has up to H + 2
  cells; a bin of size / n cells touches at most floor(size / n) + 2.
  """
  cells = tf.maximum(shape[1], shape[2])
  return tf.minimum((cells + 2) // side + 2, cells)


def _rectangle_maxima(features, starts, ends, levels, dtype):
  """Maxima over the bins.

  Args:
    features: [B, H, W, C] float.
    starts: [B R, 2, n] integers, first row and first column of each bin.
    ends: [B R, 2, n] integers, row and column after the last one.
    levels: scalar integer above the base-2 logarithm of every bin's length.
    dtype: of the result.

  Returns:
    [B R, n, n, C] of type `dtype`.
  """
  integers = starts.dtype
  shape = tf.shape(features, integers)                            # B, H, W, C
  lengths = ends - starts                                         # [B R, 2, n]
  # Bins of length 0 look at one cell, which is masked at the end.
  level = _floor_log2(tf.maximum(lengths, 1))
  near = tf.minimum(starts, shape[1:3][:, tf.newaxis] - 1)
  far = tf.maximum(ends - tf.bitwise.left_shift(
      tf.ones([], integers), level), near)
  count = tf.shape(starts, integers)[0]
  image = tf.range(count) // (count // tf.maximum(shape[0], 1))   # [B R]
  # Rows of the tables, flattened: (level y, level x, image, y, x).
  table = (level[:, 0, :, tf.newaxis] * tf.cast(levels, integers)
           + level[:, 1, tf.newaxis, :])                          # [B R, n, n]
  table = table * shape[0] + image[:, tf.newaxis, tf.newaxis]
  rows = [(table * shape[1] + y[:, :, tf.newaxis]) * shape[2]
          + x[:, tf.newaxis, :]                                   # [B R, n, n]
          for y in (near[:, 0], far[:, 0])
          for x in (near[:, 1], far[:, 1])]
  empty = ((lengths[:, 0, :, tf.newaxis] <= 0)
           | (lengths[:, 1, tf.newaxis, :] <= 0))[..., tf.newaxis]
  zero = tf.zeros([], dtype)

  @tf.custom_gradient
  def pool(features):
    maxima, places = _look_up(features, levels, rows)

    def gradient(upstream):
      upstream = tf.cast(tf.where(empty, zero, upstream), tf.float32)
      cells = (image[:, tf.newaxis, tf.newaxis, tf.newaxis]
               * (shape[1] * shape[2]) + places)
      flat = cells * shape[3] + tf.range(shape[3])           # [B R, n, n, C]
      summed = tf.math.unsorted_segment_sum(
          tf.reshape(upstream, [-1]), tf.reshape(flat, [-1]),
          tf.size(features))
      return tf.cast(tf.reshape(summed, shape), features.dtype)

    return tf.where(empty, zero, tf.cast(maxima, dtype)), gradient

  return pool(features)


def _look_up(features, levels, rows):
  """Largest of the entries at `rows` of the tables of maxima.

  Args:
    features: [B, H, W, C] float.
    levels: scalar integer, see `_power_of_two_maxima`.
    rows: list of [...] integers.

  Returns:
    [..., C] values, float32 unless they are of 16 bits, and their places, of
    the type of the rows.
  """
  short = (features.dtype.size == _NARROW.bits.size
           and rows[0].dtype == _NARROW.dtype)

  def narrow():
    return _look_up_keys(features, levels, rows, _NARROW)

  def wide():
    values, places = _look_up_keys(
        tf.cast(features, tf.float32), levels, rows, _WIDE)
    return tf.cast(values, features.dtype if short else tf.float32), places

  cells = features.shape[1:3].num_elements()
  if short and cells is None:
    shape = tf.shape(features)
    return tf.cond(shape[1] * shape[2] <= _NARROW.last + 1, narrow, wide)
  return narrow() if short and cells <= _NARROW.last + 1 else wide()


def _look_up_keys(features, levels, rows, keys):
  integers = rows[0].dtype
  tables = _power_of_two_maxima(_pack(features, keys, integers), levels)
  best = None
  for row in rows:
    found = tf.gather(tables, row)
    best = found if best is None else tf.maximum(best, found)
  return _unpack(best, keys, features.dtype, integers)


def _pack(features, keys, integers):
  """Keys of [B, H, W, C] features, ordered by value, then the first place."""
  shape = tf.shape(features)
  # Negative zero equals zero, but its bits do not.
  features = tf.where(features == 0.0, tf.zeros_like(features), features)
  values = tf.cast(tf.bitcast(features, keys.bits), integers)
  places = tf.reshape(tf.range(shape[1] * shape[2]),
                      tf.stack([1, shape[1], shape[2], 1]))
  return (tf.bitwise.left_shift(tf.cast(_ordered(values, keys), keys.dtype),
                                tf.constant(8 * keys.bits.size, keys.dtype))
          + tf.cast(keys.last - places, keys.dtype))


def _unpack(packed, keys, dtype, integers):
  """Inverse of `_pack`: (values of type `dtype`, places of `integers`)."""
  values = tf.cast(tf.bitwise.right_shift(
      packed, tf.constant(8 * keys.bits.size, keys.dtype)), integers)
  values = tf.bitcast(tf.cast(_ordered(values, keys), keys.bits), dtype)
  low = tf.bitwise.bitwise_and(packed, tf.constant(keys.last, keys.dtype))
  return values, keys.last - tf.cast(low, integers)


def _ordered(values, keys):
  """Swaps the bits of floats, as integers, for integers of the same order.

  Negative floats order backwards when read as integers. Twice does nothing.
  """
  return tf.where(
      values < 0, tf.bitwise.bitwise_xor(values, keys.bits.max), values)


def _power_of_two_maxima(keys, levels):
  """Maxima of the 2^i x 2^j cells from each cell on, for i, j < levels.

  Near the far border a rectangle is cut off by repeating the last maxima; no
  look-up reads those.

  Args:
    keys: [B, H, W, C] integers.
    levels: scalar integer.

  Returns:
    [levels * levels * B * H * W, C] integers.
  """
  channels = tf.shape(keys)[3]
  for axis in (2, 1):           # columns first, so that rows lead the result
    keys = _doubling_maxima(keys, levels, axis + tf.rank(keys) - 4)
  return tf.reshape(keys, tf.stack([-1, channels]))


def _doubling_maxima(keys, levels, axis):
  """Stacks maxima over 1, 2, 4, ... cells along an axis: [levels, ...]."""
  size = tf.shape(keys)[axis]
  levels = tf.cast(levels, tf.int32)

  def body(level, length, current, stacked):
    stacked = stacked.write(level, current)
    shifted = tf.minimum(tf.range(size) + length, size - 1)
    current = tf.maximum(current, tf.gather(current, shifted, axis=axis))
    return (level + 1, 2 * length, tf.ensure_shape(current, keys.shape),
            stacked)

  *_, stacked = tf.while_loop(
      lambda level, *_: level < levels, body,
      (0, 1, keys, tf.TensorArray(keys.dtype, size=levels)))
  return stacked.stack()


def _floor_log2(lengths):
  """Floor of the base-2 logarithm of integers from 1 to 2^31 - 1, exactly."""
  powers = tf.constant([2 ** i for i in range(1, 31)], lengths.dtype)
  return tf.reduce_sum(
      tf.cast(lengths[..., tf.newaxis] >= powers, lengths.dtype), axis=-1)
