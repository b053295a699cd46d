"""Edge maps for EdgeBoxes: from image gradients, or a learned forest.

EdgeBoxes needs two maps: a thinned edge strength in [0, 1] and the direction
ACROSS each edge, in [0, pi), x to the right and y down. Learned structured
edges need a model file that users must download; gradients need no file.

Sources: C. L. Zitnick, P. Dollar, "Edge Boxes: Locating Object Proposals from
Edges", ECCV 2014 (thinning by non-maximum suppression across the edge);
P. Dollar, C. L. Zitnick, "Structured Forests for Fast Edge Detection", ICCV
2013 (strength in [0, 1], orientation from the map); J. Canny, "A Computational
Approach to Edge Detection", PAMI 1986 (gradient of a Gaussian).
"""

import functools

import cv2
import numpy as np

from kdwsd import errors
from kdwsd import places

_LEARNED_EDGES = ("OpenCV's structured-edge model (model.yml or model.yml.gz "
                  "of opencv_extra)")

# Columns that OpenCV computes at once, or a multiple of it.
_VECTOR = 32


def gradient_edges(image, sigma=2.5, percentile=99.0):
  """Thinned edges from colour gradients.

  The image is converted to CIE Lab, where distances approximate perceived
  differences, smoothed, and differentiated. Each pixel takes the channel of the
  strongest gradient, so that an edge in colour counts like one in brightness.

  Args:
    image: [H, W, 3] uint8 RGB.
    sigma: standard deviation of the Gaussian that smooths it, pixels.
    percentile: percentile of the thinned strengths that is scaled to 1;
      stronger edges are clipped to 1, so that a single hard edge does not
      weaken all others.

  Returns:
    strength [H, W] float32 in [0, 1], 0 off the edges, and orientation [H, W]
    float32 in [0, pi).
  """
  lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
  lab = _smooth(lab, sigma)
  across = cv2.Sobel(lab, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
  down = cv2.Sobel(lab, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
  squared = across * across + down * down                        # [H, W, 3]
  strongest = np.argmax(squared, axis=2)[..., np.newaxis]        # [H, W, 1]
  pick = functools.partial(np.take_along_axis, indices=strongest, axis=2)
  strength = np.sqrt(pick(squared)[..., 0])                      # [H, W]
  direction = np.arctan2(pick(down)[..., 0], pick(across)[..., 0])
  orientation = np.mod(direction, np.float32(np.pi))             # [H, W]
  orientation[orientation >= np.pi] = 0  # float32 rounding of -0
  thinned = thin(strength, orientation)
  edges = thinned[thinned > 0]
  if edges.size:
    # In float32, NumPy 2 would round it, and NumPy 1 not.
    scale = np.percentile(edges.astype(np.float64), percentile)
    thinned = thinned / np.float32(scale)
  return np.minimum(thinned, 1).astype(np.float32), orientation


def thin(strength, orientation):
  """Keeps a pixel only where it is the strongest across its edge.

  Its two neighbours one pixel away along `orientation` are interpolated
  bilinearly. Where both sides are equal, as on a plateau, it stays.

  Args:
    strength: [H, W] float32.
    orientation: [H, W] float32, radians, across the edge.

  Returns:
    [H, W] float32, 0 where suppressed.
  """
  height, width = strength.shape
  y, x = np.mgrid[:height, :width].astype(np.float32)            # [H, W] each
  step_x, step_y = np.cos(orientation), np.sin(orientation)
  sides = [
      _interpolate(strength, _grid(x + sign * step_x), _grid(y + sign * step_y))
      for sign in (-1, 1)]
  return np.where(strength >= np.maximum(*sides), strength, np.float32(0))


def learned_edges(image, model):
  """Thinned edges from OpenCV's structured forest.

  Args:
    image: [H, W, 3] uint8 RGB.
    model: path of the forest.

  Returns:
    As `gradient_edges`.

  Raises:
    errors.InputError: no such file, or not a forest.
  """
  forest = _open_forest(places.abspath(model))
  strength = forest.detectEdges(image.astype(np.float32) / 255)
  orientation = forest.computeOrientation(strength)
  return forest.edgesNms(strength, orientation), orientation


def _smooth(image, sigma):
  """Smooths [H, W, 3] float32 by a Gaussian.

  OpenCV 5 rounds the last columns differently from the others unless the width
  is a multiple of its vectors. With padding, its result is OpenCV 4's.
  """
  width = image.shape[1]
  padded = cv2.copyMakeBorder(
      image, 0, 0, 0, -width % _VECTOR, cv2.BORDER_REPLICATE)
  smooth = cv2.GaussianBlur(
      padded, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
  return np.ascontiguousarray(smooth[:, :width])                # [H, W, 3]


def _grid(coordinates):
  """Rounds to 1/32 pixel, as OpenCV 4 does; OpenCV 5 does not."""
  return np.rint(coordinates * 32) / np.float32(32)


def _interpolate(values, x, y):
  """Bilinear interpolation, edge values outside, to the bit as in OpenCV 4.

  cv2.remap of OpenCV 5 rounds differently, so that other edges would win where
  two are nearly equal.

  Args:
    values: [H, W] float32.
    x: [H, W] float32, columns.
    y: [H, W] float32, rows.

  Returns:
    [H, W] float32.
  """
  height, width = values.shape
  left, top = (np.floor(one).astype(np.int32) for one in (x, y))
  across, down = x - left.astype(np.float32), y - top.astype(np.float32)
  columns = [np.clip(left + one, 0, width - 1) for one in (0, 1)]
  rows = [np.clip(top + one, 0, height - 1) for one in (0, 1)]
  before, above = 1 - across, 1 - down
  return (values[rows[0], columns[0]] * (above * before)
          + values[rows[0], columns[1]] * (above * across)
          + values[rows[1], columns[0]] * (down * before)
          + values[rows[1], columns[1]] * (down * across))


@functools.lru_cache(maxsize=1)
def _open_forest(model):
  if not places.isfile(model):
    raise errors.InputError(
        f"{model}: expected {_LEARNED_EDGES}. Received: no such file; without "
        "an edge model, edges come from image gradients.")
  try:
    with places.local_copy(model) as local:
      return cv2.ximgproc.createStructuredEdgeDetection(local)
  except cv2.error as error:
    raise errors.InputError(
        f"{model}: expected {_LEARNED_EDGES}. Received: {error.err}."
    ) from error
