"""RandAugment and cutout for the student's image, from a seed alone.

Every draw is a function of the image's seed, so that a run can be repeated and
resumed bit for bit. The RandAugment class of tf-models-official draws from a
stateful generator; this module uses its operations with stateless draws.

Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a
reduced search space", NeurIPS 2020; DeVries & Taylor, "Improved Regularization
of Convolutional Neural Networks with Cutout", arXiv 1708.04552; levels as in
official/vision/ops/augment.py (below: the official ones).
"""

import functools

import tensorflow as tf

from kdwsd import errors

OPERATIONS = (
    "identity", "autocontrast", "equalize", "invert", "posterize", "solarize",
    "solarize_add", "color", "contrast", "brightness", "sharpness", "rotate",
    "shear_x", "shear_y", "translate_x", "translate_y")
MAX_MAGNITUDE = 10.0
GREY = 128

# Streams of random numbers; each layer has two, from _LAYERS on.
_ROW, _COLUMN, _LAYERS = range(3)


@tf.autograph.experimental.do_not_convert
def augment(image, seed, *, num_layers, magnitude, cutout_size):
  """Applies `num_layers` random operations in sequence, then cutout.

  The image is transformed but the proposals are not, so this does not suit a
  student that pools RoIs. If num_layers > 0, the image is rounded to integers,
  which the operations need.

  Args:
    image: [S, S, 3] uint8 or float, RGB 0..255; S may be unknown.
    seed: [2] int32 or int64, of this image in this epoch.
    num_layers: N of RandAugment; 0 is off.
    magnitude: M of RandAugment, 0 to `MAX_MAGNITUDE`; see `distort`.
    cutout_size: side of the square, pixels; 0 is off.

  Returns:
    [S, S, 3] float32, RGB 0..255; the unchanged image when both are off.

  Raises:
    errors.InputError: a setting is out of range.
  """
  for name, expected, holds, received in (
      ("num_layers", "0 or more", num_layers >= 0, num_layers),
      ("magnitude", f"0 to {MAX_MAGNITUDE:g}",
       0 <= magnitude <= MAX_MAGNITUDE, magnitude),
      ("cutout_size", "0 or more", cutout_size >= 0, cutout_size)):
    if not holds:
      raise errors.InputError(
          f"{name}: expected {expected}. Received: {received!r}.")
  image = tf.convert_to_tensor(image)
  shape = image.shape
  seed = tf.cast(seed, tf.int64)  # Draws differ between integer types.
  if num_layers:
    image = _to_uint8(image)
    for layer in range(num_layers):
      choice = _draw(seed, _LAYERS + 2 * layer, len(OPERATIONS))
      negative = _draw(seed, _LAYERS + 2 * layer + 1, 2)
      sign = 1.0 - 2.0 * tf.cast(negative, tf.float32)
      image = tf.switch_case(choice, [
          functools.partial(distort, image, name, magnitude=magnitude,
                            sign=sign) for name in OPERATIONS])
  image = tf.cast(image, tf.float32)
  if cutout_size:
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    centre = (_draw(seed, _ROW, height), _draw(seed, _COLUMN, width))
    image = cut_out(image, centre, cutout_size)
  return tf.ensure_shape(image, shape)


def distort(image, name, *, magnitude, sign=1.0):
  """Applies one operation.

  Magnitudes are those of the official class, where 10 is not always strongest:
  color, contrast, brightness and sharpness have the factor 0.1 + 0.18 M, which
  changes nothing at 5 and weakens below. posterize keeps floor(0.4 M) bits, at
  least one, and solarize inverts values from 25.6 M on, so both are stronger
  for smaller M. rotate turns by 3 M degrees; shear slants by 0.03 M;
  solarize_add adds 11 M to values below 128. Borders are filled by reflection.

  Differences from the official operations: translate shifts by 10 M pixels at a
  side of 224 and in proportion at others; contrast is about the mean grey, as
  in Pillow, not about the number of pixels over 256; solarize at 10 changes
  nothing instead of inverting all, because 256 does not wrap to 0; cutout is
  not drawn as an operation, because it is a separate option.

  Args:
    image: [S, S, 3] uint8.
    name: one of `OPERATIONS`.
    magnitude: float, 0 to `MAX_MAGNITUDE`.
    sign: 1 or -1, float or tensor: direction of rotate, shear and translate.

  Returns:
    [S, S, 3] uint8.
  """
  # Imported here, because it imports much of tf-models-official.
  from official.vision.ops import augment as ops

  share = magnitude / MAX_MAGNITUDE
  fill = [GREY] * 3  # Required but unused: borders are reflected.
  if name == "identity":
    return tf.identity(image)
  if name in ("autocontrast", "equalize", "invert"):
    return getattr(ops, name)(image)
  if name == "posterize":
    return ops.posterize(image, max(int(4 * share), 1))
  if name == "solarize":
    wide = ops.solarize(tf.cast(image, tf.int32), int(256 * share))
    return tf.cast(wide, tf.uint8)
  if name == "solarize_add":
    return ops.solarize_add(image, int(110 * share))
  if name == "contrast":
    return ops.blend(_mean_grey(image), image, 0.1 + 1.8 * share)
  if name in ("color", "brightness", "sharpness"):
    return getattr(ops, name)(image, 0.1 + 1.8 * share)
  if name == "rotate":
    return ops.wrapped_rotate(image, sign * 30.0 * share, fill)
  if name in ("shear_x", "shear_y"):
    return getattr(ops, name)(image, sign * 0.3 * share, fill)
  if name in ("translate_x", "translate_y"):
    side = tf.cast(tf.shape(image)[0], tf.float32)
    pixels = sign * share * 100.0 / 224.0 * side
    return getattr(ops, name)(image, pixels, fill)
  raise ValueError("Invalid value for argument `name`. Expected one of "
                   f"{', '.join(OPERATIONS)}. Received: {name!r}.")


def cut_out(image, centre, size):
  """Fills a square with grey.

  Args:
    image: [H, W, 3] float32, RGB 0..255.
    centre: row and column, int; the square starts size // 2 before and is
      clipped at the borders.
    size: pixels, int.

  Returns:
    [H, W, 3] float32.
  """
  rows = tf.range(tf.shape(image)[0]) - centre[0] + size // 2     # [H]
  columns = tf.range(tf.shape(image)[1]) - centre[1] + size // 2  # [W]
  inside = (((rows >= 0) & (rows < size))[:, tf.newaxis]
            & ((columns >= 0) & (columns < size)))                # [H, W]
  return tf.where(inside[..., tf.newaxis], float(GREY), image)


def _draw(seed, stream, limit):
  """Scalar int32, at least 0 and below the limit."""
  # Named, because the default algorithm differs between kinds of device.
  seed = tf.random.experimental.stateless_fold_in(
      seed, tf.constant(stream, tf.int64), alg="philox")
  return tf.random.stateless_uniform(
      [], seed, 0, limit, tf.int32, alg="philox")


def _to_uint8(image):
  if image.dtype == tf.uint8:
    return image
  rounded = tf.round(tf.cast(image, tf.float32))
  return tf.cast(tf.clip_by_value(rounded, 0.0, 255.0), tf.uint8)


def _mean_grey(image):
  """The image's mean luminance everywhere, uint8 like the image."""
  luminance = tf.cast(tf.image.rgb_to_grayscale(image), tf.float32)
  mean = tf.cast(tf.round(tf.reduce_mean(luminance)), tf.uint8)
  return tf.fill(tf.shape(image), mean)
