"""Metrics as a table for the terminal, in percent."""

from kdwsd.evaluation import lettering
from kdwsd.evaluation import localization
from kdwsd.evaluation import precision_recall

_COLUMNS = (  # heading, group, key per class, key of the mean
    ("cls AP", "classification", "ap", "map"),
    ("cls AP07", "classification", "voc07_ap", "voc07_map"),
    ("cls area", "classification", "area_ap", "map_area"),
    ("det AP07", "detection", "voc07_ap", "voc07_map"),
    ("det area", "detection", "area_ap", "map_area"),
    ("CorLoc", "corloc", None, "corloc"),
)

_COUNTS = ("C-P", "C-R", "C-F1", "C-F1_mean", "O-P", "O-R", "O-F1")

_CHOSEN = (("all", "probability >= 0.5"), ("top3", "top 3"),
           ("top3_at_0.5", "top 3 with probability >= 0.5"))


def format_metrics(metrics, most=None):
  """Formats metrics.

  Args:
    metrics: see `kdwsd.evaluation.summary`.
    most: of more classes, only some are listed; None lists all.

  Returns:
    Text of several lines.
  """
  columns = [column for column in _COLUMNS if metrics.get(column[1])]
  rows = []
  listed = range(len(metrics["classes"]))
  if most is not None and len(listed) > most:
    listed = precision_recall.panels(
        metrics["classification"]["per_class"]["ap"],
        metrics["num_positive_images"])
  for class_id in listed:
    row = [metrics["classes"][class_id],
           str(metrics["num_positive_images"][class_id])]
    for _, group, key, _ in columns:
      per_class = metrics[group]["per_class"]
      row.append(percent((per_class[key] if key else per_class)[class_id]))
    rows.append(row)
  present = sum(n > 0 for n in metrics["num_positive_images"])
  frequent = sum(n >= 20 for n in metrics["num_positive_images"])
  means = []
  for name, ending in ((f"mean of {present}", ""),
                       (f"mean of {frequent} with 20+ images", "_frequent")):
    means.append([name, ""] + [
        percent(metrics[group][mean + ending])
        for _, group, _, mean in columns])
  heading = ["class", "images"] + [column[0] for column in columns]
  lines = [
      f"{metrics['split']}: {metrics['num_images']} images, in percent", "",
      *align([heading, None, *rows, None, *means]), "",
      *align([["predicted labels", *_COUNTS]] + [
          [text] + [percent(metrics["classification"][name][count])
                    for count in _COUNTS] for name, text in _CHOSEN]),
  ]
  num_classes = len(metrics["classes"])
  if len(rows) < num_classes:
    lines += ["", f"{len(rows)} of {num_classes} classes: the most frequent, "
              "then the lowest average precision; table.txt lists all."]
  if present < num_classes:
    lines += ["", f"{num_classes - present} of {num_classes} classes have no "
              "positive image and are excluded from the means."]
  if metrics.get("corloc"):
    lines += ["", f"CorLoc is of split {metrics['corloc']['split']}; its "
              "second mean uses the image counts of that split.", "",
              *_baselines(metrics["corloc"]), "",
              _kinds(metrics["corloc"]["kinds"])]
  if not metrics.get("detection"):
    lines += ["", "Detection not measured: it needs a detector, and images "
              "with boxes."]
  if metrics.get("coco"):
    lines += ["", *align([["COCO", *metrics["coco"]], ["", *map(
        percent, metrics["coco"].values())]])]
  return "\n".join(lines) + "\n"


def _baselines(corloc):
  """Lines that set the model's CorLoc beside that of class-blind boxes."""
  return align([
      ["box", "CorLoc"], None, ["the model's best", percent(corloc["corloc"])],
      *([text, percent(corloc["baselines"][name])]
        for name, text in localization.BASELINES.items())])


def _kinds(kinds):
  """A line on what the detector's best boxes are."""
  total = max(sum(kinds.values()), 1)
  return "The model's best boxes: " + ", ".join(
      f"{kind} {percent(count / total)}" for kind, count in kinds.items()) + "."


def percent(value):
  """A value in [0, 1] as percent with one decimal; "-" for None."""
  return "-" if value is None else f"{100 * value:.1f}"


def align(rows):
  """Lines of aligned columns, the first one left; None is a rule."""
  widths = [max(map(lettering.columns, cells))
            for cells in zip(*filter(None, rows))]
  lines = []
  for row in rows:
    cells = row or ["-" * width for width in widths]
    lines.append("  ".join(
        lettering.padded(cell, width, right=bool(place))
        for place, (cell, width) in enumerate(zip(cells, widths))).rstrip())
  return lines
