"""RoI poolings as float64 NumPy loops, values and gradients."""

import math

import numpy as np

SIDE = 7


def crop_and_resize(features, rois):
  """Samples at bin centres, 14 x 14, then 2 x 2 maxima.

  Args:
    features: [B, H, W, C].
    rois: [B, R, 4] fractions.

  Returns:
    ([B R, 7, 7, C], function of an upstream gradient of that shape -> gradient
    of the features).
  """
  features = np.asarray(features, np.float64)
  _, height, width, channels = features.shape
  batch, count, _ = rois.shape
  pooled = np.zeros([batch, count, SIDE, SIDE, channels])
  chosen = {}
  for b in range(batch):
    for r in range(count):
      ymin, xmin, ymax, xmax = np.asarray(rois[b, r], np.float64)
      crop = np.zeros([2 * SIDE, 2 * SIDE, channels])
      taps = {}
      for i in range(2 * SIDE):
        for j in range(2 * SIDE):
          # Divided last: exact where the result has few bits.
          y = ymin * height + (
              (2 * i + 1) * (ymax - ymin) * height / (4 * SIDE)) - 0.5
          x = xmin * width + (
              (2 * j + 1) * (xmax - xmin) * width / (4 * SIDE)) - 0.5
          taps[i, j] = _bilinear(y, x, height, width)
          for (u, v), weight in taps[i, j]:
            crop[i, j] += weight * features[b, u, v]
      for i in range(SIDE):
        for j in range(SIDE):
          for c in range(channels):
            cell = crop[2 * i:2 * i + 2, 2 * j:2 * j + 2, c]
            p, q = divmod(int(np.argmax(cell)), 2)
            pooled[b, r, i, j, c] = cell[p, q]
            chosen[b, r, i, j, c] = taps[2 * i + p, 2 * j + q]

  def gradient(upstream):
    upstream = np.reshape(upstream, pooled.shape)
    result = np.zeros_like(features)
    for (b, r, i, j, c), taps in chosen.items():
      for (u, v), weight in taps:
        result[b, u, v, c] += weight * upstream[b, r, i, j, c]
    return result

  return pooled.reshape(-1, SIDE, SIDE, channels), gradient


def _bilinear(y, x, height, width):
  y = min(max(y, 0.0), height - 1.0)
  x = min(max(x, 0.0), width - 1.0)
  u, v = int(math.floor(y)), int(math.floor(x))
  taps = []
  for row, row_weight in ((u, 1 - (y - u)), (min(u + 1, height - 1), y - u)):
    for column, weight in ((v, 1 - (x - v)), (min(v + 1, width - 1), x - v)):
      taps.append(((row, column), row_weight * weight))
  return taps


def max_pool(features, corners, stride):
  """Fast R-CNN's RoI max pooling from inclusive integer pixels.

  Bin edges are computed in float32, as Caffe's layer does.

  Args:
    features: [B, H, W, C].
    corners: [B, R, 4] integers (ymin, xmin, ymax, xmax), both ends inside.
    stride: pixels per cell.

  Returns:
    As `crop_and_resize`.
  """
  features = np.asarray(features, np.float64)
  _, height, width, channels = features.shape
  batch, count, _ = corners.shape
  pooled = np.zeros([batch, count, SIDE, SIDE, channels])
  chosen = {}
  for b in range(batch):
    for r in range(count):
      ymin, xmin, ymax, xmax = [
          int(math.floor(float(c) / stride + 0.5)) for c in corners[b, r]]
      rows = max(ymax - ymin + 1, 1)
      columns = max(xmax - xmin + 1, 1)
      for i in range(SIDE):
        top, bottom = _span(i, rows, ymin, height)
        for j in range(SIDE):
          left, right = _span(j, columns, xmin, width)
          for c in range(channels):
            best = None
            for u in range(top, bottom):
              for v in range(left, right):
                if best is None or features[b, u, v, c] > best:
                  best = features[b, u, v, c]
                  chosen[b, r, i, j, c] = (u, v)
            pooled[b, r, i, j, c] = 0.0 if best is None else best

  def gradient(upstream):
    upstream = np.reshape(upstream, pooled.shape)
    result = np.zeros_like(features)
    for (b, r, i, j, c), (u, v) in chosen.items():
      result[b, u, v, c] += upstream[b, r, i, j, c]
    return result

  return pooled.reshape(-1, SIDE, SIDE, channels), gradient


def _span(index, size, start, limit):
  step = np.float32(size) / np.float32(SIDE)
  first = int(np.floor(np.float32(index) * step)) + start
  last = int(np.ceil(np.float32(index + 1) * step)) + start
  return min(max(first, 0), limit), min(max(last, 0), limit)
