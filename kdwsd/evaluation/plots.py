"""Plots of the metrics of a split, as PNG files written atomically."""

import math

from matplotlib import figure as figure_lib
from matplotlib.backends import backend_agg
import numpy as np

from kdwsd import files
from kdwsd.evaluation import lettering
from kdwsd.evaluation import precision_recall as curves_lib
from kdwsd.evaluation import table

# Blue and orange: distinct to colour-blind readers and in greyscale print.
_COLOURS = {"classification": "#1f5fa8", "detection": "#d9822b"}
_GREY = "#777777"
_ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}

# A panel is 200 pixels wide.
_PLACES, _FEW_POINTS = 500, 2000

_PANEL_COLUMNS, _BAR_COLUMNS = 22, 40  # Maximum width of a class name.


def precision_recall(path, classes, curves, chosen=None):
  """Draws precision-recall curves, one small panel per class.

  Args:
    path: PNG file to write.
    classes: C names.
    curves: dict of "classification" or "detection" to a list of C
      `precision_recall.Curve`.
    chosen: ids of the classes to draw, in order; None for all.
  """
  chosen = range(len(classes)) if chosen is None else chosen
  columns = max(1, math.ceil(math.sqrt(len(chosen) * 1.3)))
  rows = max(1, math.ceil(len(chosen) / columns))
  width, height = max(1.6 * columns, 4.5), 1.6 * rows + 0.9
  figure = _figure(width, height)
  # Manual margins: a layout engine takes a minute for 80 panels.
  figure.subplots_adjust(
      left=0.6 / width, right=1 - 0.1 / width, bottom=0.5 / height,
      top=1 - (0.55 if len(chosen) == len(classes) else 0.75) / height,
      wspace=0.12, hspace=0.25)
  # Without shared axes, which propagate every setting to all other panels.
  grid = figure.subplots(rows, columns, squeeze=False)
  style = lettering.options([classes[c] for c in chosen])
  for place, axes in enumerate(grid.flat):
    if place >= len(chosen):
      axes.axis("off")
      continue
    class_id = chosen[place]
    _panel(axes, {kind: found[class_id] for kind, found in curves.items()})
    axes.set_title(lettering.shortened(classes[class_id], _PANEL_COLUMNS),
                   fontsize=8, pad=3, **style)
    axes.tick_params(labelbottom=place + columns >= len(chosen),
                     labelleft=place % columns == 0)
  figure.supxlabel("recall", fontsize=9, y=0.1 / height, va="bottom")
  figure.supylabel("precision", fontsize=9, x=0.1 / width, ha="left")
  _note(figure, len(chosen), len(classes),
        "the most frequent, then the lowest average precision")
  _legend(figure, curves)
  _save(figure, path)


def _panel(axes, curves):
  """Draws the curves of one class, a dict by kind."""
  for kind, curve in curves.items():
    if curve.num_positives and len(curve.recall):
      recall, precision = _seen(curve)
      # Starts with the first point's precision: at recall 0 it is undefined.
      axes.plot(np.append(0.0, recall),
                np.append(precision[:1], precision),
                color=_COLOURS[kind], linewidth=1.2)
  axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.05), xticks=(0, 0.5, 1),
           yticks=(0, 0.5, 1))
  axes.tick_params(labelsize=7, length=2)
  axes.grid(linewidth=0.3)
  if not any(curve.num_positives for curve in curves.values()):
    axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=7,
              color=_GREY)


def _seen(curve):
  """Recall and precision of a curve without points at the place of the last.

  All detections of COCO are a million points of a class, and a figure keeps
  those of all classes.
  """
  recall, precision = curve.recall, curve.precision
  if len(recall) <= _FEW_POINTS:
    return recall, precision
  places = np.rint(_PLACES * np.stack([recall, precision]))       # [2, K]
  keep = np.append(True, (np.diff(places) != 0).any(axis=0))
  keep[-1] = True
  return recall[keep], precision[keep]


def average_precision(path, classes, values, num_positives, names=None):
  """Draws average precision as bars, best class first.

  Args:
    path: PNG file to write.
    classes: C names.
    values: dict of "classification" or "detection" to [C] average precisions
      in [0, 1], None where undefined; the last kind sets the order. Of more
      than `precision_recall.MOST_PANELS` classes, the best and worst are drawn.
    num_positives: [C], positive images of each class, shown with its name.
    names: dict of kind to its name in the legend, or None.
  """
  last = list(values.values())[-1]
  order = sorted(range(len(classes)), reverse=True, key=lambda c: (
      -1.0 if last[c] is None else last[c], -c))
  half = curves_lib.MOST_PANELS // 2
  if len(order) > curves_lib.MOST_PANELS:
    order = [c for c in order if last[c] is not None] or order
    order = order[:half] + order[half:][-half:]
  figure = _figure(6.5, 0.26 * len(order) + 1.5)
  figure.set_layout_engine("constrained")
  axes = figure.subplots()
  rows = np.arange(len(order))
  thickness = 0.8 / len(values)
  for place, (kind, of_classes) in enumerate(values.items()):
    shift = (place - (len(values) - 1) / 2) * thickness
    bars = axes.barh(
        rows + shift, [100 * (of_classes[c] or 0.0) for c in order], thickness,
        color=_COLOURS[kind])
    axes.bar_label(bars, [table.percent(of_classes[c]) for c in order],
                   padding=2, fontsize=6, color=_GREY, bbox=_ON_WHITE)
    known = [v for v in of_classes if v is not None]
    if known:
      axes.axvline(100 * np.mean(known), color=_COLOURS[kind], linewidth=0.9,
                   linestyle="--", zorder=0)
  labels = [f"{lettering.shortened(classes[c], _BAR_COLUMNS)} "
            f"({num_positives[c]})" for c in order]
  axes.set_yticks(rows, labels, fontsize=7, **lettering.options(labels))
  axes.set(xlim=(0, 105), ylim=(len(order) - 0.4, -0.6))
  axes.set_xlabel("average precision in percent\n(dashed: mean over classes; "
                  "in brackets: positive images)", fontsize=8)
  axes.tick_params(axis="x", labelsize=7)
  axes.spines[["top", "right"]].set_visible(False)
  if len(order) < len(classes):
    axes.set_title(_shown(len(order), len(classes), "the best and the worst"),
                   fontsize=8)
  _legend(figure, values, names)
  _save(figure, path)


def _shown(count, of, which):
  return f"{count} of {of} classes: {which}; table.txt lists all"


def _note(figure, count, of, which):
  """Notes above the panels which classes they show, if not all."""
  if count < of:
    height = figure.get_size_inches()[1]
    figure.text(0.5, 1 - 0.42 / height, _shown(count, of, which),
                ha="center", va="top", fontsize=8)


def _figure(width, height):
  """A figure without pyplot's global state or a display."""
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
  with files.atomic_path(path) as temporary, lettering.unwarned():
    figure.savefig(temporary, dpi=130, format="png")
