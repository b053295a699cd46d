"""Decodes, orients and resizes encoded images inside the serving graph.

It repeats with TensorFlow operations what `kdwsd.data.images` does to files and
the input pipeline to records, so that a server needs no Python. It reads JPEG
and PNG of up to 50 million pixels. The pixels equal those of
`kdwsd.data.images`, with two exceptions: `exif` reads the orientation from
fewer places, and the transparent level of a grey PNG of 2 or 4 bits is honoured
here (Pillow compares it with rescaled values).
"""

import tensorflow as tf

from kdwsd.data import sample_ranges
from kdwsd.serving import exif

MAX_PIXELS = 50_000_000

# Images of a batch that are decoded in parallel.
_PARALLEL = 8


def decode(image_bytes, size, *, max_pixels=MAX_PIXELS, name="image_bytes"):
  """Decodes a batch; each image is turned upright and warped to a square.

  One image that cannot be decoded fails the whole batch, with a message that
  names the first such image. Declared sizes are checked before decoding.

  Args:
    image_bytes: [B] string, JPEG or PNG of any colour space and depth.
    size: side S in pixels.
    max_pixels: larger images are rejected.
    name: name of the input, for messages.

  Returns:
    [B, S, S, 3] float32 RGB 0..255.

  Raises:
    tf.errors.InvalidArgumentError: at run time, for an image that cannot be
      decoded or a B of 0.
  """
  images, problems = decode_each(
      image_bytes, size, max_pixels=max_pixels, name=name)
  index, problem = first_problem(problems)
  message = tf.strings.join([
      f"{name}[", tf.strings.as_string(index), "]: ", problem])
  with tf.control_dependencies([
      tf.debugging.Assert(tf.equal(problem, ""), [message])]):
    # The images themselves must depend on the assertion. In a `tf.reshape` only
    # the constant shape would, and the graph optimiser removes a reshape that
    # does not change the shape.
    images = tf.identity(images)
  return tf.ensure_shape(images, [None, size, size, 3])


def decode_each(image_bytes, size, *, max_pixels=MAX_PIXELS,
                name="image_bytes"):
  """Decodes a batch like `decode`, but reports bad images one by one.

  Args:
    image_bytes: see `decode`.
    size: see `decode`.
    max_pixels: see `decode`.
    name: see `decode`.

  Returns:
    images [B, S, S, 3] float32 RGB 0..255, black for a bad image;
    problems [B] string: what was expected and what was received, or empty.

  Raises:
    tf.errors.InvalidArgumentError: at run time, if B is 0.
  """
  count = tf.shape(image_bytes, out_type=tf.int64)[0]             # B
  tf.debugging.Assert(count > 0, [
      f"{name}: expected at least one image. Received: none."])
  # `tf.data` for `ignore_errors`: a decoder's failure names no image of the
  # batch, and nothing else in a graph can catch it.
  dataset = tf.data.Dataset.from_tensor_slices(
      (tf.range(count), image_bytes))

  @tf.autograph.experimental.do_not_convert
  def decode_one(index, content):
    return (index, *_decode_one(content, size, max_pixels))

  dataset = dataset.map(
      decode_one, num_parallel_calls=_PARALLEL, deterministic=True)
  dataset = dataset.ignore_errors().batch(tf.maximum(count, 1))
  # What is taken if no image of the batch can be decoded.
  nothing = tf.data.Dataset.from_tensors((
      tf.zeros([0], tf.int64), tf.zeros([0, size, size, 3]),
      tf.zeros([0], tf.string)))
  indices, images, problems = dataset.concatenate(nothing).take(
      1).with_options(_options()).get_single_element()
  # Rows whose decoder failed are missing. Inserting them copies all pixels,
  # which takes milliseconds, so it is done only if there are any.
  places = indices[:, tf.newaxis]
  images = tf.cond(
      tf.shape(indices, out_type=tf.int64)[0] == count, lambda: images,
      lambda: tf.scatter_nd(places, images, [count, size, size, 3]))
  undecodable = tf.strings.join([
      "expected a complete JPEG or PNG image. Received: ", _length(image_bytes),
      " bytes that cannot be decoded."])                          # [B]
  problems = tf.tensor_scatter_nd_update(undecodable, places, problems)
  images = tf.ensure_shape(images, [None, size, size, 3])
  return _upright(images, exif.orientations(image_bytes)), problems


def first_problem(problems):
  """Finds the first of several problems.

  Args:
    problems: [B] string, empty for good images.

  Returns:
    Its index (B if there is none) and its text (empty if there is none).
  """
  problems = tf.concat([problems, [""]], 0)                       # [B + 1]
  index = tf.argmax(tf.concat([problems[:-1] != "", [True]], 0))
  return index, tf.gather(problems, index)


def _decode_one(content, size, max_pixels):
  """Returns the image [S, S, 3] float32 and its problem, or an empty string."""
  head = tf.io.decode_raw(tf.strings.join([content, b"\0"]), tf.uint8,
                          fixed_length=26)                        # [26]
  is_jpeg = _starts_with(head, b"\xff\xd8\xff")
  is_png = _starts_with(head, exif.PNG_SIGNATURE)
  height, width = tf.cond(
      is_jpeg, lambda: _jpeg_size(content),
      lambda: (_integer(head[20:24]), _integer(head[16:20])))
  problem = tf.case([
      (tf.strings.length(content) == 0,
       lambda: tf.constant(
           "expected a JPEG or PNG image. Received: zero bytes.")),
      (~(is_jpeg | is_png), lambda: tf.strings.join([
          "expected a JPEG or PNG image. Received: ", _length(content),
          " bytes of something else."])),
      # In float64, which does not overflow.
      (tf.cast(height, tf.float64) * tf.cast(width, tf.float64) > max_pixels,
       lambda: tf.strings.join([
           f"expected at most {max_pixels} pixels. Received: ",
           tf.strings.as_string(width), " x ", tf.strings.as_string(height),
           "."])),
  ], default=lambda: tf.constant(""), exclusive=False)
  image = tf.cond(
      problem != "", lambda: tf.zeros([size, size, 3]),
      lambda: _warp(tf.cond(is_jpeg, lambda: _decode_jpeg(content),
                            lambda: _decode_png(content, head)), size))
  return tf.ensure_shape(image, [size, size, 3]), problem


def _decode_jpeg(content):
  # Converts CMYK to RGB, inverted where Adobe's marker demands it.
  return tf.io.decode_jpeg(
      content, channels=3, dct_method="INTEGER_ACCURATE")         # [H, W, 3]


def _decode_png(content, head):
  """[H, W, 3] uint8; 16 bits scaled; transparency on white."""
  image = tf.cond(
      head[24] == 16, lambda: _decode_deep_png(content),
      lambda: tf.io.decode_png(content, channels=4))              # [H, W, 4]
  # If there is no alpha channel, TensorFlow adds an opaque one, whose value at
  # 1, 2 or 4 bits a pixel is 1, 3 or 15 instead of 255.
  depth = tf.clip_by_value(tf.cast(head[24], tf.int32), 1, 8)
  opaque = tf.cast(tf.bitwise.left_shift(1, depth) - 1, tf.uint8)
  return tf.cond(
      tf.reduce_min(image[..., 3]) == opaque,
      lambda: image[..., :3], lambda: _on_white(image))


def _decode_deep_png(content):
  """Decodes 16 bits to [H, W, 4] uint8 by the rule of `sample_ranges`."""
  image = tf.io.decode_png(content, channels=4, dtype=tf.uint16)  # [H, W, 4]

  def upper_bits(samples):
    largest = tf.cast(tf.reduce_max(samples), tf.int32)
    # Two bits for each of the depths above 8 that the samples need.
    spare = 2 * tf.reduce_sum(tf.cast(
        largest >= [1 << bits for bits in sample_ranges.DEPTHS[:-1]],
        tf.int32))
    return tf.cast(tf.bitwise.right_shift(
        samples, tf.cast(spare, tf.uint16)), tf.uint8)

  # Alpha has a depth of its own; TensorFlow's added one has 16 bits.
  return tf.concat([upper_bits(image[..., :3]), upper_bits(image[..., 3:])], -1)


def _on_white(image):
  # uint16 halves the memory that float32 would take for a large image.
  wide = tf.cast(image, tf.uint16)                                # [H, W, 4]
  colours, alpha = wide[..., :3], wide[..., 3:]
  # At most 255 * 255 + 127, which fits 16 bits.
  mixed = (colours * alpha + 255 * (255 - alpha) + 127) // 255
  return tf.cast(mixed, tf.uint8)                                 # [H, W, 3]


def _warp(image, size):
  """Resizes as the input pipeline does: bilinear, no antialiasing."""
  return tf.image.resize(
      image, [size, size], "bilinear", antialias=False)           # [S, S, 3]


def _upright(images, orientation):
  """Orients [B, S, S, 3]; for squares this may follow the resizing."""

  def turned():
    turn = tf.reshape(orientation, [-1, 1, 1, 1])                 # [B, 1, 1, 1]
    # EXIF: 5 to 8 are transposed, before mirroring left-right and top-bottom.
    upright = tf.where(turn >= 5, tf.transpose(images, [0, 2, 1, 3]), images)
    mirrored = ((turn == 2) | (turn == 3) | (turn == 6) | (turn == 7))
    upright = tf.where(mirrored, upright[:, :, ::-1], upright)
    flipped = ((turn == 3) | (turn == 4) | (turn == 7) | (turn == 8))
    return tf.where(flipped, upright[:, ::-1], upright)

  return tf.cond(tf.reduce_all(orientation == 1), lambda: images, turned)


def _jpeg_size(content):
  shape = tf.cast(tf.image.extract_jpeg_shape(content), tf.int64)
  return shape[0], shape[1]


def _length(content):
  return tf.strings.as_string(tf.strings.length(content))


def _integer(values):
  """Four bytes, most significant first, as an unsigned integer."""
  powers = tf.constant([256 ** 3, 256 ** 2, 256, 1], tf.int64)
  return tf.reduce_sum(tf.cast(values, tf.int64) * powers)


def _starts_with(values, prefix):
  return tf.reduce_all(
      values[:len(prefix)] == tf.constant(list(prefix), tf.uint8))


def _options():
  """Options without autotuning: this data set lives for one request."""
  options = tf.data.Options()
  options.autotune.enabled = False
  options.experimental_optimization.apply_default_optimizations = False
  return options
