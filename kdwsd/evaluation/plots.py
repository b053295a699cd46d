"""Plots of a measured split, as PNG files written atomically."""

import math

from matplotlib import figure as figure_lib
from matplotlib.backends import backend_agg
import numpy as np

from kdwsd import files

# Blue and orange: told apart by colour-blind readers and in grey print.
_COLOURS = {"classification": "#1f5fa8", "detection": "#d9822b"}
_GREY = "#777777"
_ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def precision_recall(path, classes, curves):
  """Draws precision against recall, one small panel a class.

  Args:
    path: PNG file to write.
    classes: C names.
    curves: dict of "classification" or "detection" to a list of C
      `precision_recall.Curve`.
  """
  columns = max(1, math.ceil(math.sqrt(len(classes) * 1.3)))
  rows = max(1, math.ceil(len(classes) / columns))
  width, height = max(1.6 * columns, 4.5), 1.6 * rows + 0.9
  figure = _figure(width, height)
  # By hand: a layout engine takes a minute over 80 panels.
  figure.subplots_adjust(
      left=0.6 / width, right=1 - 0.1 / width, bottom=0.5 / height,
      top=1 - 0.55 / height, wspace=0.12, hspace=0.25)
  grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
  for axes in grid.flat[len(classes):]:
    axes.axis("off")
  for axes in grid.flat[max(len(classes) - columns, 0):len(classes)]:
    axes.xaxis.set_tick_params(labelbottom=True)
  for class_id, (name, axes) in enumerate(zip(classes, grid.flat)):
    for kind, of_classes in curves.items():
      curve = of_classes[class_id]
      if curve.num_positives and len(curve.recall):
        # Begins at the first point's precision: recall 0 has none of its own.
        axes.plot(np.append(0.0, curve.recall),
                  np.append(curve.precision[:1], curve.precision),
                  color=_COLOURS[kind], linewidth=1.2)
    axes.set_title(name, fontsize=8, pad=3)
    axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.05), xticks=(0, 0.5, 1),
             yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=7, length=2)
    axes.grid(linewidth=0.3)
    if not any(c[class_id].num_positives for c in curves.values()):
      axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=7,
                color=_GREY)
  figure.supxlabel("recall", fontsize=9, y=0.1 / height, va="bottom")
  figure.supylabel("precision", fontsize=9, x=0.1 / width, ha="left")
  _legend(figure, curves)
  _save(figure, path)


def average_precision(path, classes, values, num_positives, names=None):
  """Draws a bar per class and kind, best class first.

  Args:
    path: PNG file to write.
    classes: C names.
    values: dict of "classification" or "detection" to [C] average precisions
      in [0, 1], None where a class has none; the last kind gives the order.
    num_positives: [C], images that have the class, written beside its name.
    names: dict of kind to its name in the legend, or None.
  """
  last = list(values.values())[-1]
  order = sorted(range(len(classes)), reverse=True, key=lambda c: (
      -1.0 if last[c] is None else last[c], -c))
  figure = _figure(6.5, 0.26 * len(classes) + 1.3)
  figure.set_layout_engine("constrained")
  axes = figure.subplots()
  rows = np.arange(len(classes))
  thickness = 0.8 / len(values)
  for place, (kind, of_classes) in enumerate(values.items()):
    shift = (place - (len(values) - 1) / 2) * thickness
    lengths = [100 * (of_classes[c] or 0.0) for c in order]
    axes.barh(rows + shift, lengths, thickness, color=_COLOURS[kind])
    for row, class_id in zip(rows, order):
      value = of_classes[class_id]
      axes.text(0.8 if value is None else 100 * value + 0.8, row + shift,
                "-" if value is None else f"{100 * value:.1f}", va="center",
                fontsize=6, color=_GREY, bbox=_ON_WHITE)
    known = [v for v in of_classes if v is not None]
    if known:
      axes.axvline(100 * np.mean(known), color=_COLOURS[kind], linewidth=0.9,
                   linestyle="--", zorder=0)
  axes.set_yticks(
      rows, [f"{classes[c]} ({num_positives[c]})" for c in order], fontsize=7)
  axes.set(xlim=(0, 105), ylim=(len(classes) - 0.4, -0.6))
  axes.set_xlabel("average precision in percent; dashed: mean; in brackets: "
                  "images with the class", fontsize=8)
  axes.tick_params(axis="x", labelsize=7)
  axes.spines[["top", "right"]].set_visible(False)
  _legend(figure, values, names)
  _save(figure, path)


def _figure(width, height):
  """A figure of its own, without pyplot's global state or a display."""
  figure = figure_lib.Figure(figsize=(width, height))
  backend_agg.FigureCanvasAgg(figure)
  return figure


def _legend(figure, kinds, names=None):
  from matplotlib import lines  # pylint: disable=import-outside-toplevel
  handles = [lines.Line2D([], [], color=_COLOURS[kind], linewidth=3,
                          label=(names or {}).get(kind, kind))
             for kind in kinds]
  outside = "outside " if figure.get_layout_engine() else ""
  figure.legend(handles=handles, loc=outside + "upper center", fontsize=8,
                ncols=len(handles), frameon=False)


def _save(figure, path):
  with files.atomic_path(path) as temporary:
    figure.savefig(temporary, dpi=130, format="png")
