"""RoI pooling: a fixed 7 x 7 grid of features for each proposal."""

import tensorflow as tf

SIDE = 7
NAMES = ("crop_and_resize", "max")


def crop_and_resize(features, rois):
  """Bilinear samples at 14 x 14 bin centres, then the maximum of 2 x 2.

  Cell k of the map stands for pixels [stride k, stride (k + 1)), so its
  centre is at k + 1/2 in units of cells; sample i of n in a RoI from a to b,
  same units, lies at a + (i + 1/2) (b - a) / n. That is where
  `tf.image.crop_and_resize` has to be told to look: it counts from the centre
  of the first cell to the centre of the last one and puts its first and last
  samples ON the edges of the box it is given. Samples less than half a cell
  from the border take the border's value.

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
