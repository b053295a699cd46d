"""RoI pooling: a fixed 7 x 7 grid of features for each proposal."""

import tensorflow as tf

SIDE = 7
NAMES = ("crop_and_resize", "max")

# The release's proposals are whole pixels of images warped to this side.
_RELEASE_SIDE = 672

_LOW_31 = 2 ** 31 - 1


def pool(kind, features, rois, factor, *, image_size, stride):
  """Pools RoIs and multiplies each by its factor, as in the release.

  Args:
    kind: one of `NAMES`.
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    factor: [B, R] float32, see `score_factor`; where it is 0, the result is 0
      for any RoI.
    image_size: as in `max_pool`.
    stride: as in `max_pool`.

  Returns:
    [B, R, 7, 7, C] float32.
  """
  rois = tf.where(factor[..., tf.newaxis] == 0, 0.0, rois)
  if kind == "max":
    pooled = max_pool(features, rois, image_size=image_size, stride=stride)
  else:
    pooled = crop_and_resize(features, rois)
  pooled *= tf.reshape(factor, [-1, 1, 1, 1])
  count, channels = tf.shape(rois)[1], features.shape[-1]
  return tf.reshape(pooled, [-1, count, SIDE, SIDE, channels])


def score_factor(objectness, valid, *, scale, bias):
  """Factor of the pooled features: scale * objectness + bias.

  Args:
    objectness: [B, R].
    valid: [B, R] bool.
    scale: 1 in the release, 10 in WSDDN's own code.
    bias: 0 in the release, 1 in WSDDN's own code.

  Returns:
    [B, R] float32, 0 where not valid.
  """
  return tf.where(valid, scale * objectness + bias, 0.0)


def crop_and_resize(features, rois):
  """Bilinear samples at 14 x 14 bin centres, then the maximum of 2 x 2.

  Cell k of the map stands for pixels [stride k, stride (k + 1)), so its
  centre is at k + 1/2 in units of cells; sample i of n in a RoI from a to b,
  same units, lies at a + (i + 1/2) (b - a) / n. The box passed to
  `tf.image.crop_and_resize` is converted accordingly: the op counts from the
  centre of the first cell to the centre of the last one and places its first
  and last samples ON the edges of the box. Samples less than half a cell from
  the border have the border's value.

  Args:
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).

  Returns:
    [B * R, 7, 7, C] float32, RoIs of the first image first.
  """
  # The op takes no bfloat16 and returns float32 in any case.
  features = tf.cast(features, tf.float32)
  # One replicated cell around the map: every sample then has four neighbours,
  # and the op never extrapolates.
  features = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
  padded = tf.cast(tf.shape(features)[1:3], tf.float32)
  cells = tf.tile(padded - 2.0, [2])                              # [4]
  edges = tf.clip_by_value(rois, 0.0, 1.0) * cells                # [B, R, 4]
  half_step = (edges[..., 2:] - edges[..., :2]) / (4 * SIDE)      # [B, R, 2]
  samples = tf.concat(
      [edges[..., :2] + half_step, edges[..., 2:] - half_step], -1)
  # From edges to centres of cells: - 1/2; from the map to the padded one: + 1.
  samples = (samples + 0.5) / tf.tile(padded - 1.0, [2])
  batch, count = tf.shape(rois)[0], tf.shape(rois)[1]
  crops = tf.image.crop_and_resize(
      features, tf.reshape(samples, [-1, 4]),
      tf.repeat(tf.range(batch), count), [2 * SIDE, 2 * SIDE])
  return tf.nn.max_pool2d(crops, 2, 2, "VALID")             # [B R, 7, 7, C]


def max_pool(features, rois, *, image_size, stride):
  """Fast R-CNN's exact RoI max pooling, without a loop over RoIs.

  With integer pixels x from 0, corners inside the box: start = round(xmin /
  stride) and end = round(xmax / stride), halves away from zero, end inside,
  size at least one cell. Bin i of 7 spans floor(i size / 7) to
  ceil((i + 1) size / 7) after the start, clipped to the map; an empty bin gives
  0. The gradient goes to the maximum of each bin, to the first one in row-major
  order among equals.

  Source: Girshick, "Fast R-CNN", ICCV 2015, and its Caffe layer ROIPooling.
  Proposals of the release are inclusive pixels x of an image warped to 672 x
  672; for an image of side S it truncates x S / 672 to an integer. So does
  this: an edge f = x / 672 on the left or at the top becomes floor(f S), an
  edge f = (x + 1) / 672 on the right or at the bottom floor(f S - S / 672).
  Caffe computes bin edges in float32; the integer ones here are the same for
  RoIs of up to 56 cells, more than its largest image has.

  The maximum of any rectangle comes from four look-ups in tables of the maxima
  of all rectangles whose sides are powers of two. A table entry holds value and
  place in one int64, ordered like (value, -place): one integer maximum settles
  both the value and the tie.

  Args:
    features: [B, H, W, C] float of any precision, H W < 2^31.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    image_size: [2] int, height and width of the images, pixels.
    stride: pixels per cell of the map.

  Returns:
    [B * R, 7, 7, C] float32, RoIs of the first image first.
  """
  features = tf.cast(features, tf.float32)
  starts, ends = _bins(rois, tf.shape(features)[1:3], image_size, stride)
  return _rectangle_maxima(features, starts, ends)


def _bins(rois, map_size, image_size, stride):
  """Cells of each bin: starts and ends (exclusive), [B R, 2, 7] int32."""
  sides = tf.cast(tf.tile(image_size, [2]), tf.float32)           # [4]
  edges = tf.clip_by_value(rois, 0.0, 1.0) * sides                # [B, R, 4]
  # 1/1000 pixel, because a fraction times the side it was divided by may come
  # out just below the integer it stands for.
  first = tf.floor(edges[..., :2] + 1e-3)                         # [B, R, 2]
  last = tf.floor(edges[..., 2:] - sides[:2] / _RELEASE_SIDE + 1e-3)
  first = tf.floor(first / stride + 0.5)
  last = tf.floor(tf.maximum(last, 0.0) / stride + 0.5)
  first = tf.reshape(tf.cast(first, tf.int32), [-1, 2, 1])        # [B R, 2, 1]
  last = tf.reshape(tf.cast(last, tf.int32), [-1, 2, 1])
  size = tf.maximum(last - first + 1, 1)
  steps = tf.range(SIDE)                                          # [7]
  limits = tf.reshape(map_size, [1, 2, 1])
  starts = first + steps * size // SIDE                           # [B R, 2, 7]
  ends = first - (-(steps + 1) * size // SIDE)
  return tf.minimum(starts, limits), tf.minimum(ends, limits)


@tf.custom_gradient
def _rectangle_maxima(features, starts, ends):
  """Maxima over the bins, [B R, 7, 7, C]; see `max_pool`."""
  shape = tf.shape(features)                                      # B, H, W, C
  lengths = ends - starts                                     # [B R, 2, 7]
  levels = _floor_log2(tf.maximum(tf.reduce_max(lengths), 1)) + 1
  tables = _power_of_two_maxima(_pack(features), levels)
  # Bins of length 0 look at one cell, which is masked at the end.
  level = _floor_log2(tf.maximum(lengths, 1))
  near = tf.minimum(starts, shape[1:3][:, tf.newaxis] - 1)
  far = tf.maximum(ends - tf.bitwise.left_shift(1, level), near)
  count = tf.shape(starts)[0]
  image = tf.range(count) // (count // tf.maximum(shape[0], 1))   # [B R]
  # Row of the tables, flattened: (level y, level x, image, y, x).
  table = (level[:, 0, :, tf.newaxis] * levels
           + level[:, 1, tf.newaxis, :])                          # [B R, 7, 7]
  table = table * shape[0] + image[:, tf.newaxis, tf.newaxis]
  best = None
  for y in (near[:, 0], far[:, 0]):
    for x in (near[:, 1], far[:, 1]):
      row = ((table * shape[1] + y[:, :, tf.newaxis]) * shape[2]
             + x[:, tf.newaxis, :])                               # [B R, 7, 7]
      found = tf.gather(tables, row)                       # [B R, 7, 7, C]
      best = found if best is None else tf.maximum(best, found)
  empty = ((lengths[:, 0, :, tf.newaxis] <= 0)
           | (lengths[:, 1, tf.newaxis, :] <= 0))[..., tf.newaxis]
  maxima, places = _unpack(best)
  maxima = tf.where(empty, 0.0, maxima)

  def gradient(upstream):
    upstream = tf.where(empty, 0.0, upstream)
    cells = (image[:, tf.newaxis, tf.newaxis, tf.newaxis]
             * (shape[1] * shape[2]) + places)
    flat = cells * shape[3] + tf.range(shape[3])           # [B R, 7, 7, C]
    summed = tf.math.unsorted_segment_sum(
        tf.reshape(upstream, [-1]), tf.reshape(flat, [-1]),
        tf.reduce_prod(shape))
    return tf.reshape(summed, shape), None, None

  return maxima, gradient


def _pack(features):
  """int64 keys, ordered by value and then by place, first place highest."""
  shape = tf.shape(features)
  # Negative zero equals zero, but its bits do not.
  features = tf.where(features == 0.0, tf.zeros_like(features), features)
  bits = tf.bitcast(features, tf.int32)
  # Negative floats order backwards when read as integers.
  ordered = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, _LOW_31), bits)
  places = tf.reshape(tf.range(shape[1] * shape[2]),
                      tf.stack([1, shape[1], shape[2], 1]))
  return (tf.bitwise.left_shift(tf.cast(ordered, tf.int64),
                                tf.constant(32, tf.int64))
          + tf.cast(_LOW_31 - places, tf.int64))


def _unpack(keys):
  """Inverse of `_pack`: (values float32, places int32)."""
  ordered = tf.cast(tf.bitwise.right_shift(
      keys, tf.constant(32, tf.int64)), tf.int32)
  bits = tf.where(ordered < 0, tf.bitwise.bitwise_xor(ordered, _LOW_31),
                  ordered)
  low = tf.bitwise.bitwise_and(keys, tf.constant(_LOW_31, tf.int64))
  return tf.bitcast(bits, tf.float32), _LOW_31 - tf.cast(low, tf.int32)


def _power_of_two_maxima(keys, levels):
  """Maxima of the 2^i x 2^j cells from each cell on, for i, j < levels.

  Near the far border a rectangle is cut off by repeating the last maxima; no
  look-up reads those.

  Args:
    keys: [B, H, W, C] int64.
    levels: scalar int32.

  Returns:
    [levels * levels * B * H * W, C] int64.
  """
  channels = tf.shape(keys)[3]
  for axis in (2, 1):           # columns first, so that rows lead the result
    keys = _doubling_maxima(keys, levels, axis + tf.rank(keys) - 4)
  return tf.reshape(keys, tf.stack([-1, channels]))


def _doubling_maxima(keys, levels, axis):
  """Stacks maxima over 1, 2, 4, ... cells along an axis: [levels, ...]."""
  size = tf.shape(keys)[axis]

  def body(level, current, stacked):
    stacked = stacked.write(level, current)
    shifted = tf.minimum(
        tf.range(size) + tf.bitwise.left_shift(1, level), size - 1)
    current = tf.maximum(current, tf.gather(current, shifted, axis=axis))
    return level + 1, tf.ensure_shape(current, keys.shape), stacked

  stacked = tf.TensorArray(keys.dtype, size=levels)
  _, _, stacked = tf.while_loop(
      lambda level, *_: level < levels, body, (0, keys, stacked))
  return stacked.stack()


def _floor_log2(lengths):
  """Floor of the base-2 logarithm of positive int32, exactly."""
  powers = tf.constant([2 ** i for i in range(1, 31)], tf.int32)
  return tf.reduce_sum(
      tf.cast(lengths[..., tf.newaxis] >= powers, tf.int32), axis=-1)
