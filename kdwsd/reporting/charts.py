"""Charts as HTML and SVG, coloured by the page's style sheet.

Drawn by hand rather than by matplotlib: they follow the reader's light or dark
theme, reflow on a phone and stay sharp in print. What a style class looks like
is told by `kdwsd.reporting.style`.
"""

import math

import numpy as np

from kdwsd.reporting import markup

_MOST_POINTS = 300
_WIDTH, _HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 38, 10, 26
_SMALL = 150
_element = markup.element


def legend(keys):
  """Names beside their colours, from pairs of (style class, name)."""
  return _element("div", *(
      _element("span", name, class_=f"key {style}") for style, name in keys),
                  class_="legend")


def bars(groups, *, label):
  """Horizontal bars of shares, in groups.

  Args:
    groups: list of (heading, list of (name, style class, share or None)).
    label: what is drawn, for those who cannot see it.

  Returns:
    `markup.Html`.
  """
  made = []
  for heading, of_group in groups:
    lines = [_element("div", heading, class_="bar-heading")]
    for name, style, share in of_group:
      text = "-" if share is None else f"{100 * share:.1f}"
      fill = _element("span", class_=f"fill {style}",
                      style=f"width:{100 * (share or 0):.2f}%")
      lines.append(_element(
          "div", _element("span", name, class_="bar-name"),
          _element("span", fill, class_="track"),
          _element("span", text, class_="number"), class_="bar"))
    made.append(_element("div", *lines, class_="bar-group"))
  return _element("div", *made, class_="bars", role="group", aria_label=label)


def dots(values):
  """One row of a dot plot from 0 to 1, the extremes joined.

  Args:
    values: list of (style class, name, share or None); later ones on top.

  Returns:
    `markup.Html`.
  """
  known = [value for _, _, value in values if value is not None]
  made = []
  if known:
    low, high = 100 * min(known), 100 * max(known)
    made.append(_element(
        "span", class_="link",
        style=f"left:{low:.2f}%;width:{high - low:.2f}%"))
  made += [
      _element("span", class_=f"dot {style}", style=f"left:{100 * value:.2f}%",
               title=f"{name}: {100 * value:.1f}")
      for style, name, value in values if value is not None]
  return _element("div", *made, class_="dots")


def line_chart(losses, figures, *, label):
  """Losses by step on the left axis, a validation figure on the right one.

  Args:
    losses: list of (style class, list of (step, loss)).
    figures: list of (step, share in [0, 1]); may be empty.
    label: what is drawn, for those who cannot see it.

  Returns:
    `markup.Html`, an SVG.
  """
  losses = [(style, thin(points)) for style, points in losses]
  values = [value for _, points in losses for _, value in points]
  steps = [step for _, points in losses for step, _ in points]
  steps += [step for step, _ in figures]
  low, high, ticks = _range(values or [0.0, 1.0])
  last = max(steps, default=1) or 1
  width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

  def x(step):
    return _LEFT + width * step / last

  def y(share):
    return _TOP + height * (1 - share)

  parts = []
  for tick in ticks:
    at = y((tick - low) / (high - low))
    parts += [_line(_LEFT, at, _LEFT + width, at, "grid"),
              _text(_LEFT - 5, at + 4, f"{tick:g}", "end")]
  for step in _step_ticks(last):
    parts.append(_text(x(step), _HEIGHT - 10, _short(step), "middle"))
  for style, points in losses:
    parts.append(_path(
        [(x(step), y((value - low) / (high - low))) for step, value in points],
        f"curve {style}"))
  if figures:
    for share in (0, 0.5, 1):
      parts.append(_text(_LEFT + width + 5, y(share) + 4,
                         f"{100 * share:.0f}", "start", "figure-text"))
    places = [(x(step), y(share)) for step, share in figures]
    parts.append(_path(places, "curve figure"))
    parts += [_element("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r="3",
                       class_="figure-dot") for a, b in places]
  return _svg(_WIDTH, _HEIGHT, label, parts)


def precision_recall(curves, *, label):
  """Precision against recall, from 0 to 1.

  Args:
    curves: list of (style class, `precision_recall.Curve`).
    label: what is drawn, for those who cannot see it.

  Returns:
    `markup.Html`, an SVG.
  """
  left, top, side = 24, 6, _SMALL - 32

  def place(recall, precision):
    return left + side * recall, top + side * (1 - precision)

  parts = []
  for share in (0, 0.5, 1):
    across, up = place(share, share)
    parts += [_line(left, up, left + side, up, "grid"),
              _line(across, top, across, top + side, "grid"),
              _text(left - 4, up + 3, f"{100 * share:.0f}", "end"),
              _text(across, top + side + 12, f"{100 * share:.0f}", "middle")]
  for style, curve in curves:
    if curve.num_positives and len(curve.recall):
      # Begins at the first point's precision: recall 0 has none of its own.
      recall = np.append(0.0, curve.recall)
      precision = np.append(curve.precision[:1], curve.precision)
      kept = _along(recall)
      parts.append(_path([place(r, p) for r, p in zip(
          recall[kept], precision[kept])], f"curve {style}"))
  if not any(curve.num_positives for _, curve in curves):
    parts.append(_text(*place(0.5, 0.47), "no image", "middle"))
  return _svg(_SMALL, _SMALL - 8, label, parts)


def thin(points, most=_MOST_POINTS):
  """Means of neighbouring points, where there are too many to be told apart.

  Args:
    points: list of (x, y).
    most: how many are left at most.

  Returns:
    List of (x, y), without those that are not finite.
  """
  points = np.array([point for point in points if np.isfinite(point).all()],
                    float).reshape(-1, 2)
  if len(points) > most:
    points = np.array([part.mean(axis=0)
                       for part in np.array_split(points, most)])
  return [tuple(point) for point in points.tolist()]


def _along(recall, most=100):
  """Indices of points at even steps of recall, with the first and last."""
  if len(recall) <= 1.5 * most:
    return np.arange(len(recall))
  levels = np.linspace(0, recall[-1], most)
  found = np.searchsorted(recall, levels, side="left")
  return np.unique(np.append(found, len(recall) - 1))


def _range(values):
  """Round ends of an axis, and its ticks."""
  low, high = min(values), max(values)
  if high - low < 1e-9 * max(abs(high), 1e-9):
    low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
  step = 10 ** math.floor(math.log10((high - low) / 3))
  step *= max(n for n in (1, 2, 5) if n * step <= (high - low) / 3 or n == 1)
  first, last = math.floor(low / step), math.ceil(high / step)
  ticks = [round(n * step, 10) for n in range(first, last + 1)]
  return first * step, last * step, ticks


def _step_ticks(last):
  _, _, ticks = _range([0, last])
  return [tick for tick in ticks if tick <= last]


def _short(step):
  return f"{step / 1000:g}k" if step >= 10000 else f"{step:g}"


def _line(x1, y1, x2, y2, style):
  return _element("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}",
                  y2=f"{y2:.1f}", class_=style)


def _text(x, y, text, anchor, style=None):
  return _element("text", text, x=f"{x:.1f}", y=f"{y:.1f}",
                  text_anchor=anchor, class_=style)


def _path(places, style):
  if not places:
    return None
  if len(places) == 1:  # A dot: a path of one point is not drawn.
    places = [*places, (places[0][0] + 1, places[0][1])]
  return _element("path", class_=style, d="M" + "L".join(
      f"{x:.1f} {y:.1f}" for x, y in places))


def _svg(width, height, label, parts):
  return _element("svg", *parts, viewBox=f"0 0 {width} {height}", role="img",
                  aria_label=label)
