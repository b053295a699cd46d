"""A detector's inputs beside the images, checked in the graph.

`proposals` [B, R, 4] float32 are (ymin, xmin, ymax, xmax), fractions of the
upright image; `objectness` [B, R] float32 has one number for each.
"""

import tensorflow as tf

from kdwsd.serving import image_decoding

PROPOSALS = "proposals"
OBJECTNESS = "objectness"

# Tolerance for rounding: how far a proposal may extend beyond the image.
_SLACK = 1e-3


def matching(squares, proposals, objectness):
  """Asserts that the shapes match.

  Args:
    squares: [B, S, S, 3], the images.
    proposals: [B, R, 4] float32.
    objectness: [B, R] float32.

  Returns:
    proposals and objectness, of known rank.

  Raises:
    tf.errors.InvalidArgumentError: at run time, if they do not.
  """
  proposals = tf.ensure_shape(proposals, [None, None, 4])
  objectness = tf.ensure_shape(objectness, [None, None])
  same_batch = tf.equal(tf.shape(squares)[0], tf.shape(proposals)[0])
  same = tf.reduce_all(
      tf.equal(tf.shape(proposals)[:2], tf.shape(objectness)))
  with tf.control_dependencies([
      tf.debugging.Assert(same_batch, [tf.strings.format(
          PROPOSALS + ": expected a row for each image. Received: shape {} for "
          "{} images.", (tf.shape(proposals), tf.shape(squares)[0]))]),
      tf.debugging.Assert(same, [tf.strings.format(
          OBJECTNESS + ": expected a number for each proposal. Received: shape "
          "{} for proposals {}.",
          (tf.shape(objectness), tf.shape(proposals)))]),
  ]):
    return tf.identity(proposals), tf.identity(objectness)


def in_range(proposals, objectness):
  """Asserts that proposals are fractions and objectness is finite.

  Args:
    proposals: [B, R, 4] float32.
    objectness: [B, R] float32.

  Returns:
    The arguments.

  Raises:
    tf.errors.InvalidArgumentError: at run time, see `range_problems`.
  """
  _, problem = image_decoding.first_problem(
      range_problems(proposals, objectness))
  with tf.control_dependencies([
      tf.debugging.Assert(tf.equal(problem, ""), [problem])]):
    return tf.identity(proposals), tf.identity(objectness)


def range_problems(proposals, objectness):
  """Describes out-of-range inputs, image by image.

  Args:
    proposals: [B, R, 4] float32.
    objectness: [B, R] float32.

  Returns:
    [B] string: what was expected and what was received, or empty.
  """
  # A comparison with NaN is false.
  inside = tf.reduce_all(
      (proposals >= -_SLACK) & (proposals <= 1 + _SLACK), [1, 2])
  finite = tf.reduce_all(tf.math.is_finite(objectness), 1)
  of_range = tf.strings.join([
      f"{PROPOSALS}: expected ymin, xmin, ymax, xmax as fractions of the "
      "upright image, 0 to 1. Received: numbers from ",
      tf.strings.as_string(tf.reduce_min(proposals, [1, 2]), shortest=True),
      " to ",
      tf.strings.as_string(tf.reduce_max(proposals, [1, 2]), shortest=True),
      "."])
  return tf.where(~inside, of_range, tf.where(
      finite, "",
      f"{OBJECTNESS}: expected finite numbers. Received: NaN or infinity."))
