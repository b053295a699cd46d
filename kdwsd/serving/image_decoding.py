"""From the bytes of people's images to the model's squares, in the graph.

What `kdwsd.data.images` does to files before they are recorded, and the input
pipeline to records, by TensorFlow's own operations, so that a server needs no
Python. JPEG and PNG alone are read, at most 50 million pixels. The pixels are
those of `kdwsd.data.images`, with two differences: `exif` looks in fewer places
for the orientation, and the one transparent level that a grey PNG of 2 or 4
bits can name is transparent here (Pillow compares it with other numbers).
"""

import tensorflow as tf

from kdwsd.data import sample_ranges
from kdwsd.serving import exif

MAX_PIXELS = 50_000_000

# Images of a batch that are decoded at the same time.
_PARALLEL = 8


def decode(image_bytes, size, *, max_pixels=MAX_PIXELS, name="image_bytes"):
  """Decodes a batch, each image upright and warped to a square.

  A batch with an image that cannot be decoded fails as a whole, and the
  message names the first such image: nothing is ever answered for pixels that
  are not there. Declared sizes are checked before anything is decoded.

  Args:
    image_bytes: [B] string, JPEG or PNG of any colour space and depth.
    size: side S in pixels.
    max_pixels: larger images are refused.
    name: of the input, for messages.

  Returns:
    [B, S, S, 3] float32 RGB 0..255.

  Raises:
    tf.errors.InvalidArgumentError: when run, as above, or B is 0.
  """
  images, problems = decode_each(
      image_bytes, size, max_pixels=max_pixels, name=name)
  index, problem = first_problem(problems)
  message = tf.strings.join([
      f"{name}[", tf.strings.as_string(index), "]: ", problem])
  with tf.control_dependencies([
      tf.debugging.Assert(tf.equal(problem, ""), [message])]):
    # The images themselves must wait for the check. Of a `tf.reshape` only the
    # constant shape would, and the graph optimiser drops a reshape to the
    # shape that is there already.
    images = tf.identity(images)
  return tf.ensure_shape(images, [None, size, size, 3])


def decode_each(image_bytes, size, *, max_pixels=MAX_PIXELS,
                name="image_bytes"):
  """Decodes a batch like `decode`, in which a bad image fails no other.

  Args:
    image_bytes: as for `decode`.
    size: likewise.
    max_pixels: likewise.
    name: likewise.

  Returns:
    images [B, S, S, 3] float32 RGB 0..255, black where there is a problem;
    problems [B] string: empty where all is well, else what was expected and
    what was received.

  Raises:
    tf.errors.InvalidArgumentError: when run, if B is 0.
  """
  count = tf.shape(image_bytes, out_type=tf.int64)[0]             # B
  tf.debugging.Assert(count > 0, [
      f"{name}: expected one image or more. Received: none."])
  # `tf.data` for `ignore_errors`: a decoder's failure names no image of the
  # batch, and nothing else in a graph can catch it.
  dataset = tf.data.Dataset.from_tensor_slices(
      (tf.range(count), image_bytes))
  dataset = dataset.map(
      lambda index, content: (index, *_decode_one(content, size, max_pixels)),
      num_parallel_calls=_PARALLEL, deterministic=True)
  dataset = dataset.ignore_errors().batch(tf.maximum(count, 1))
  # What is taken if no image of the batch can be decoded.
  nothing = tf.data.Dataset.from_tensors((
      tf.zeros([0], tf.int64), tf.zeros([0, size, size, 3]),
      tf.zeros([0], tf.string)))
  indices, images, problems = dataset.concatenate(nothing).take(
      1).with_options(_options()).get_single_element()
  # Rows whose decoder failed are missing. Copying all pixels to make room for
  # them takes milliseconds, so it is done only where it must be.
  places = indices[:, tf.newaxis]
  images = tf.cond(
      tf.shape(indices, out_type=tf.int64)[0] == count, lambda: images,
      lambda: tf.scatter_nd(places, images, [count, size, size, 3]))
  undecodable = tf.strings.join([
      "expected a whole JPEG or PNG image. Received: ", _length(image_bytes),
      " bytes that cannot be decoded."])                          # [B]
  problems = tf.tensor_scatter_nd_update(undecodable, places, problems)
  images = tf.ensure_shape(images, [None, size, size, 3])
  return _upright(images, exif.orientations(image_bytes)), problems


def first_problem(problems):
  """Finds the first of several problems.

  Args:
    problems: [B] string, empty where there is none.

  Returns:
    Its index, B if there is none; and the problem, empty if there is none.
  """
  problems = tf.concat([problems, [""]], 0)                       # [B + 1]
  index = tf.argmax(tf.concat([problems[:-1] != "", [True]], 0))
  return index, tf.gather(problems, index)


def _decode_one(content, size, max_pixels):
  """[S, S, 3] float32 and "", or zeros and what is wrong with the image."""
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
      # Compared like this nothing overflows.
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
  # CMYK becomes RGB here, inverted or not as Adobe's marker says.
  return tf.io.decode_jpeg(
      content, channels=3, dct_method="INTEGER_ACCURATE")         # [H, W, 3]


def _decode_png(content, head):
  """[H, W, 3] uint8; 16 bits scaled; transparency on white."""
  image = tf.cond(
      head[24] == 16, lambda: _decode_deep_png(content),
      lambda: tf.io.decode_png(content, channels=4))              # [H, W, 4]
  # Where there is no alpha TensorFlow makes one, at 1, 2 or 4 bits a pixel
  # with 1, 3 or 15 for what is 255 elsewhere.
  depth = tf.clip_by_value(tf.cast(head[24], tf.int32), 1, 8)
  opaque = tf.cast(tf.bitwise.left_shift(1, depth) - 1, tf.uint8)
  return tf.cond(
      tf.reduce_min(image[..., 3]) == opaque,
      lambda: image[..., :3], lambda: _on_white(image))


def _decode_deep_png(content):
  """[H, W, 4] uint8 of 16 bits, by the rule of `sample_ranges`."""
  image = tf.io.decode_png(content, channels=4, dtype=tf.uint16)  # [H, W, 4]

  def upper_bits(samples):
    largest = tf.cast(tf.reduce_max(samples), tf.int32)
    # Two bits for each of the depths above 8 that the samples need.
    spare = 2 * tf.reduce_sum(tf.cast(
        largest >= [1 << bits for bits in sample_ranges.DEPTHS[:-1]],
        tf.int32))
    return tf.cast(tf.bitwise.right_shift(
        samples, tf.cast(spare, tf.uint16)), tf.uint8)

  # Alpha has a depth of its own, and 16 bits where TensorFlow makes it.
  return tf.concat([upper_bits(image[..., :3]), upper_bits(image[..., 3:])], -1)


def _on_white(image):
  # In integers of two bytes, for a large image in floats would take four.
  wide = tf.cast(image, tf.uint16)                                # [H, W, 4]
  colours, alpha = wide[..., :3], wide[..., 3:]
  # At most 255 * 255 + 127, which 16 bits hold.
  mixed = (colours * alpha + 255 * (255 - alpha) + 127) // 255
  return tf.cast(mixed, tf.uint8)                                 # [H, W, 3]


def _warp(image, size):
  """As the input pipeline: bilinear, no antialiasing."""
  return tf.image.resize(
      image, [size, size], "bilinear", antialias=False)           # [S, S, 3]


def _upright(images, orientation):
  """Turns [B, S, S, 3]; warping and turning squares can change places."""

  def turned():
    turn = tf.reshape(orientation, [-1, 1, 1, 1])                 # [B, 1, 1, 1]
    # The table of EXIF: 5 to 8 have rows and columns exchanged; then these
    # are mirrored, left to right and top to bottom.
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
  """Four bytes as an unsigned integer, the highest first."""
  powers = tf.constant([256 ** 3, 256 ** 2, 256, 1], tf.int64)
  return tf.reduce_sum(tf.cast(values, tf.int64) * powers)


def _starts_with(values, prefix):
  return tf.reduce_all(
      values[:len(prefix)] == tf.constant(list(prefix), tf.uint8))


def _options():
  """No tuning threads: a data set here lives for one request."""
  options = tf.data.Options()
  options.autotune.enabled = False
  options.experimental_optimization.apply_default_optimizations = False
  return options
