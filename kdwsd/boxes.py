"""Boxes: their format, conversions, IoU, flips and NMS.

A box is (ymin, xmin, ymax, xmax), continuous edges as fractions of the image's
height and width: (0, 0, 1, 1) is the whole image. Formats with inclusive
pixels (VOC XML, Caffe datalists) are converted here, once, when read. Every
function takes empty arrays. Functions named `*_tensor` work on TensorFlow
tensors, all others on NumPy arrays.
"""

import numpy as np

_ROWS = 64  # Of IoUs that are computed together.


def from_inclusive_pixels(corners, height, width, first=0):
  """Converts inclusive pixel corners to boxes.

  Args:
    corners: [N, 4] (xmin, ymin, xmax, ymax) pixel indices, both ends inside.
    height: height of the frame of the indices, pixels.
    width: width of the frame, pixels.
    first: index of the first pixel: 0 (Caffe datalists), 1 (VOC XML).

  Returns:
    [N, 4] float32 boxes.
  """
  corners = np.asarray(corners, np.float64).reshape(-1, 4) - first
  xmin, ymin, xmax, ymax = corners.T
  boxes = np.stack([ymin / height, xmin / width,
                    (ymax + 1) / height, (xmax + 1) / width], axis=1)
  return boxes.astype(np.float32)


def from_pixel_sizes(rectangles, height, width):
  """Converts [N, 4] (x, y, width, height) pixels, as COCO and OpenCV write."""
  rectangles = np.asarray(rectangles, np.float64).reshape(-1, 4)
  x, y, box_width, box_height = rectangles.T
  boxes = np.stack([y / height, x / width, (y + box_height) / height,
                    (x + box_width) / width], axis=1)
  return boxes.astype(np.float32)


def to_pixels(boxes, height, width):
  """Converts boxes to [N, 4] float32 pixel edges (ymin, xmin, ymax, xmax)."""
  scale = np.array([height, width, height, width], np.float32)
  return np.asarray(boxes, np.float32).reshape(-1, 4) * scale


def clip(boxes):
  """Clips [N, 4] boxes to the image."""
  return np.clip(np.asarray(boxes, np.float32).reshape(-1, 4), 0.0, 1.0)


def area(boxes):
  """Area of [..., 4] boxes, as a fraction of the image; never negative."""
  boxes = np.asarray(boxes)
  return (np.maximum(boxes[..., 2] - boxes[..., 0], 0)
          * np.maximum(boxes[..., 3] - boxes[..., 1], 0))


def flip_left_right(boxes):
  """Mirrors [..., 4] boxes with the image."""
  ymin, xmin, ymax, xmax = np.moveaxis(np.asarray(boxes), -1, 0)
  return np.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=-1)


def flip_left_right_tensor(boxes):
  """Mirrors [..., 4] box tensors with the image."""
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
  return tf.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=-1)


def pairwise_iou(first, second):
  """Intersection over union of every pair.

  IoU does not change when both axes are scaled, so it is the same for
  fractions and for pixels of the same image.

  Args:
    first: [N, 4].
    second: [M, 4].

  Returns:
    [N, M] float, 0 where a union is empty.
  """
  # Times 1.0: integers become floats, floats stay of their type.
  first = 1.0 * np.asarray(first).reshape(-1, 4)
  second = 1.0 * np.asarray(second).reshape(-1, 4)
  # Edge by edge: several times faster than NumPy's product over an axis of 2.
  # In place: fresh memory for each of a dozen steps costs more than the steps.
  ymin, xmin, ymax, xmax = first.T[:, :, None]                    # [N, 1]
  others = second.T[:, None]                                      # [4, 1, M]
  overlap = np.minimum(ymax, others[2])                           # [N, M]
  buffer = np.maximum(ymin, others[0])
  overlap -= buffer
  np.maximum(overlap, 0, out=overlap)
  width = np.minimum(xmax, others[3])
  width -= np.maximum(xmin, others[1], out=buffer)
  np.maximum(width, 0, out=width)
  overlap *= width
  union = np.add(area(first)[:, None], area(second), out=buffer)
  union -= overlap
  empty = ~(union > 0)
  np.maximum(union, 1e-12, out=union)
  overlap /= union
  overlap[empty] = 0
  return overlap


def overlapping(boxes, iou_threshold):
  """Which pairs of boxes have an IoU above a threshold.

  In half the time of `pairwise_iou(boxes, boxes) > iou_threshold`, and equal.

  Args:
    boxes: [N, 4] float.
    iou_threshold: number.

  Returns:
    [N, N] bool.
  """
  above = np.empty([len(boxes)] * 2, bool)
  # By rows, whose IoUs stay in the processor's cache, and above the diagonal
  # alone: all operations give the same for a pair in either order.
  for first in range(0, len(boxes), _ROWS):
    rows, rest = slice(first, first + _ROWS), slice(first, None)
    part = pairwise_iou(boxes[rows], boxes[rest]) > iou_threshold
    above[rows, rest] = part
    above[rest, rows] = part.T
  return above


def pairwise_iou_tensor(first, second):
  """`pairwise_iou` for tensors: [..., N, 4] and [..., M, 4] -> [..., N, M]."""
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  first, second = first[..., :, None, :], second[..., None, :, :]
  overlap = tf.reduce_prod(tf.maximum(
      tf.minimum(first[..., 2:], second[..., 2:])
      - tf.maximum(first[..., :2], second[..., :2]), 0.0), axis=-1)
  areas = [tf.reduce_prod(tf.maximum(b[..., 2:] - b[..., :2], 0.0), axis=-1)
           for b in (first, second)]
  return tf.math.divide_no_nan(overlap, areas[0] + areas[1] - overlap)


def non_maximum_suppression(boxes, scores, iou_threshold):
  """Greedy NMS of one class.

  Args:
    boxes: [N, 4].
    scores: [N]; ties keep their order.
    iou_threshold: a box is removed if its IoU with a better box is above this.

  Returns:
    [K] int indices of the kept boxes, best first.
  """
  boxes = np.asarray(boxes).reshape(-1, 4)
  order = np.argsort(-np.asarray(scores), kind="stable")
  kept = []
  while order.size:
    best, order = order[0], order[1:]
    kept.append(best)
    order = order[pairwise_iou(boxes[best], boxes[order])[0] <= iou_threshold]
  return np.array(kept, np.int64)
