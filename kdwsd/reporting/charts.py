"""Coordinates of a report's charts, in [0, 1], x to the right and y up.

`templates/charts.html.j2` draws them as SVG rather than matplotlib as PNG: they
follow the reader's light or dark theme, reflow on a phone and print sharply.
"""

from matplotlib import ticker
import numpy as np

_MOST_POINTS = 300
# Of the frame that style.css gives a picture, and of its labels; pixels.
_WIDTH, _HEIGHT = 320, 250
_LETTER, _LINE = 7, 14
_LABELS = 3


def training(losses, metric):
  """Training curves: losses and a validation metric by step.

  Args:
    losses: list of (style class, list of (step, loss)).
    metric: list of (step, value in [0, 1]); may be empty.

  Returns:
    Dict of `ticks` and `steps`, lists of (place on the axis, label), `losses`,
    list of (style class, list of points), and `metric`, list of points.
  """
  losses = [(style, thin(points)) for style, points in losses]
  points = [point for _, of_style in losses for point in of_style]
  ticks = _ticks(*_range([loss for _, loss in points] or [0.0, 1.0]))
  low, high = ticks[0], ticks[-1]
  last = max((step for step, _ in points + list(metric)), default=1) or 1
  return {
      "ticks": [((tick - low) / (high - low), f"{tick:g}") for tick in ticks],
      "steps": [(step / last,
                 f"{step / 1000:g}k" if step >= 10000 else f"{step:g}")
                for step in _ticks(0, last) if step <= last],
      "losses": [
          (style, [(step / last, (loss - low) / (high - low))
                   for step, loss in of_style]) for style, of_style in losses],
      "metric": [(step / last, value) for step, value in metric],
  }


def precision_recall(curve, most=100):
  """Points of a curve, thinned to about even steps of recall.

  Args:
    curve: `precision_recall.Curve`.
    most: about how many points are left.

  Returns:
    List of (recall, precision), empty for a class without positive images.
  """
  if not curve.num_positives or not len(curve.recall):
    return []
  # Starts with the first point's precision: at recall 0 it is undefined.
  recall = np.append(0.0, curve.recall)
  precision = np.append(curve.precision[:1], curve.precision)
  if len(recall) > 1.5 * most:
    kept = np.searchsorted(recall, np.linspace(0, recall[-1], most))
    kept = np.unique(np.append(kept, len(recall) - 1))
    recall, precision = recall[kept], precision[kept]
  return list(zip(recall.tolist(), precision.tolist()))


def proposals(picture):
  """Places the labels of a picture's best proposals.

  Args:
    picture: `gallery.Picture` with boxes.

  Returns:
    Dict of `width` and `height` of the drawing, about a unit a pixel, and
    `labels`, list of (left, baseline, text): inside the drawing, without
    overlaps. A label that would overlap that of a better proposal is left out.
  """
  width = min(_WIDTH, _HEIGHT * picture.width / picture.height)
  height = width * picture.height / picture.width
  labels, taken = [], []
  for box in picture.boxes[:_LABELS]:
    text = f"{box.name} {box.score:.2f}"
    length = _LETTER * len(text)
    left = max(0, min(box.xmin * width + 4, width - length))
    bottom = box.ymin * height + 13
    if all(abs(bottom - other_bottom) > _LINE or left > other_right
           or left + length < other_left
           for other_left, other_right, other_bottom in taken):
      taken.append((left, left + length, bottom))
      labels.append((left, bottom, text))
  return {"width": width, "height": height, "labels": labels}


def thin(points, most=_MOST_POINTS):
  """Averages neighbouring points if there are too many to tell apart.

  Args:
    points: list of (x, y).
    most: number of points left at most.

  Returns:
    List of (x, y), without non-finite points.
  """
  points = np.array([point for point in points if np.isfinite(point).all()],
                    float).reshape(-1, 2)
  if len(points) > most:
    points = np.array([part.mean(axis=0)
                       for part in np.array_split(points, most)])
  return [tuple(point) for point in points.tolist()]


def _range(values):
  """Lowest and highest value, apart from each other."""
  low, high = min(values), max(values)
  if high - low < 1e-9 * max(abs(high), 1e-9):
    low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
  return low, high


def _ticks(low, high):
  """Round values that enclose a range."""
  return ticker.MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(
      low, high).tolist()
