"""Charts of a report's page: each class, each stage of training."""

from kdwsd.evaluation import precision_recall as curves_lib
from kdwsd.evaluation import table as table_lib
from kdwsd.reporting import charts
from kdwsd.reporting import comparison
from kdwsd.reporting import markup
from kdwsd.reporting import style

_STAGES = {
    "wsd": "T-WDet, the teacher",
    "cls": "S-Cls without distillation",
    "kd_feature": "Distillation, stage 1: features",
    "kd_prediction": "Distillation, stage 2: predictions",
}
_STYLES = style.MODELS
# More panels than this are folded away.
_FEW = 24
# Parts of the loss drawn beside their sum, at most.
_PARTS = 3
_element, _join = markup.element, markup.join


def classes(report):
  """Average precision of each class, of all models; `markup.Html`."""
  stages = [row.stage for row in report.rows]
  both = {comparison.WITHOUT, comparison.WITH} <= set(stages)
  # Over the plot, so that a column's name is where its figures are.
  axis = _element("div", *(_element("span", text) for text in (0, 50, 100)),
                  class_="axis")
  heading = [_element("th", "class", scope="col"),
             _element("th", axis, scope="col", class_="plot"),
             *(_element("th", comparison.MODELS[stage].replace("S-Cls ", ""),
                        scope="col", class_="wide") for stage in stages)]
  if both:
    heading.append(_element("th", "gain", scope="col"))
  body = []
  for row in report.class_rows:
    cells = [
        _element("th", row.name, _element(
            "span", f"{row.num_images:,}", class_="count"),
                 scope="row", title=row.name),
        _element("td", charts.dots([
            (_STYLES[stage], comparison.MODELS[stage], row.ap[stage])
            for stage in stages]), class_="plot"),
        *(_element("td", table_lib.percent(row.ap[stage]), class_="wide")
          for stage in stages)]
    if both:
      cells.append(_gain_cell(row.ap))
    body.append(_element("tr", *cells))
  return _join(
      _element("h2", "Average precision of each class"),
      _element("p", "Most frequent class first; beside its name: "
               f"{report.counts_of}.", class_="note"),
      charts.legend((_STYLES[s], comparison.MODELS[s]) for s in stages),
      _element("div", _element(
          "table", _element("thead", _element("tr", *heading)),
          _element("tbody", *body), class_="per-class"), class_="scroll"))


def precision_recall(report):
  """A small panel for each class; `markup.Html`."""
  shown = [stage for stage in (comparison.WITHOUT, comparison.WITH)
           if stage in report.curves] or list(report.curves)
  heading = _element("h2", "Precision against recall")
  if not shown:
    return _join(heading, _element(
        "p", "Left out: no predictions lie beside the metrics.",
        class_="note"))
  rows, panels = report.class_rows, []
  chosen = curves_lib.panels([row.ap.get(shown[-1]) for row in rows],
                             [row.num_images for row in rows])
  note = "Of each class, in percent; recall to the right."
  if len(chosen) < len(rows):
    note = (f"Of {len(chosen)} of {len(rows)} classes, in percent; recall to "
            "the right. The most frequent, then those of the least average "
            "precision.")
  for place in chosen:
    row = rows[place]
    panels.append(_element(
        "figure",
        _element("figcaption", row.name, title=row.name),
        charts.precision_recall(
            [(_STYLES[stage], report.curves[stage][place])
             for stage in shown],
            label=f"Precision against recall of {row.name}")))
  grid = _element("div", *panels, class_="panels")
  if len(panels) > _FEW:
    grid = _element(
        "details", _element("summary", f"{len(panels)} classes"), grid)
  return _join(
      heading,
      _element("p", note, class_="note"),
      charts.legend(
          (f"line {_STYLES[s]}", comparison.MODELS[s]) for s in shown),
      grid)


def training(report):
  """Loss and validation of each stage; `markup.Html`."""
  figures = [_stage_figure(stage) for stage in report.stages]
  return _join(
      _element("h2", "Training"),
      _element("p", "Loss per image by step, left axis; validation in percent, "
               "right axis.", class_="note"),
      _element("div", *figures, class_="stages"))


def _stage_figure(stage):
  entries = [entry for entry in stage.history if "loss" in entry]
  title = _STAGES.get(stage.name, stage.name)
  if not entries:
    return _element("figure", _element("h3", title), _element(
        "p", "No step has been logged yet.", class_="note"))
  losses, keys = [], [("loss", "loss")]
  for number, name in enumerate(_loss_parts(entries)[:_PARTS], 1):
    losses.append((f"part{number}", _points(entries, name)))
    keys.append((f"part{number}", name.replace("_", " ")))
  losses.append(("loss", _points(entries, "loss")))
  figure, points = _validation(stage)
  said = f"{entries[-1]['step']:,} steps"
  if points:
    step, best = max(points, key=lambda point: (point[1], -point[0]))
    keys.append(("figure", figure))
    said += f"; best {figure}: {100 * best:.1f} at step {step:,}"
  else:
    said += "; not validated"
  return _element(
      "figure", _element("h3", title),
      charts.line_chart(losses, points, label=f"Loss of {title}. {said}"),
      charts.legend(keys),
      _element("figcaption", f"{said}.", class_="note"))


def _loss_parts(entries):
  """Names of losses that are neither zero nor all there is."""
  names = [name for name in entries[-1] if name.endswith("_loss")]
  return [name for name in names
          if any(entry.get(name) for entry in entries)
          and any(entry.get(name) != entry["loss"] for entry in entries)]


def _points(entries, name):
  return [(entry["step"], entry[name]) for entry in entries
          if isinstance(entry.get(name), (int, float))]


def _validation(stage):
  """Name of the stage's validation figure, and its (step, share)."""
  entries = [entry for entry in stage.history if "figures" in entry]
  for name in (stage.config.get("best_figure"), "classification/map"):
    points = [(entry["step"], entry["figures"][name]) for entry in entries
              if entry["figures"].get(name) is not None]
    if points:
      return name.replace("classification/map", "mAP"), points
  return "", []


def _gain_cell(ap):
  before, after = ap[comparison.WITHOUT], ap[comparison.WITH]
  if before is None or after is None:
    return _element("td", "-")
  points = 100 * (after - before)
  style = "up" if points >= 0.05 else "down" if points <= -0.05 else None
  return _element("td", f"{points:+.1f}", class_=style)
