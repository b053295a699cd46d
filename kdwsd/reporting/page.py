"""Renders the report of a chain as one self-contained HTML page.

Text, markup and style are in `templates/`; this module only prepares the data
that they show.
"""

import base64

import jinja2

from kdwsd.evaluation import precision_recall
from kdwsd.evaluation import table
from kdwsd.reporting import charts
from kdwsd.reporting import comparison
from kdwsd.reporting import repeats

# Parts of the loss drawn with their sum, at most.
_PARTS = 3


def environment():
  """The templates and their filters; every value is escaped."""
  made = jinja2.Environment(
      loader=jinja2.PackageLoader("kdwsd.reporting"), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  made.filters.update(
      percent=table.percent, drawing=charts.proposals,
      base64=lambda data: base64.b64encode(data).decode("ascii"))
  return made


def page(report):
  """Renders the page.

  Args:
    report: `page_data.Report`.

  Returns:
    The text of an HTML file.
  """
  rows = report.rows
  models = {row.stage: row.name for row in rows}
  students = {comparison.WITHOUT, comparison.WITH}
  drawn = [stage for stage in report.curves if stage in students] or list(
      report.curves)
  return environment().get_template("report.html.j2").render(
      report=report,
      models=models,
      maps={row.stage: row.map for row in rows if row.map is not None},
      image_counts=[f"{n:,}" for n in sorted({r.num_images for r in rows})],
      gain=comparison.gain(rows),
      gain_text=comparison.gain_text(rows),
      interval_text=" ".join(filter(None, (
          repeats.differing_text(report.gain),
          repeats.interval_text(report.gain)))) if report.gain else "",
      seed_rows=_seed_rows(report.gain),
      notes=comparison.notes(rows),
      table=_table(rows),
      has_gain=students <= set(models),
      curves={stage: comparison.MODELS[stage] for stage in drawn},
      panels=_panels(report, drawn),
      training=[_training(stage) for stage in report.stages],
      settings=_settings(report),
      seeds=list(dict.fromkeys(
          stage.config["seed"] for stage in report.stages
          if "seed" in stage.config)))


def _table(rows):
  """The comparison: headings, and a (model, [(cell, is best)]) per row."""
  cells = comparison.cells(rows)
  (_, *names), *columns = zip(*cells)
  marked = []
  for heading, *column in columns:
    numbers = [float(cell) if cell.replace(".", "", 1).isdigit() else None
               for cell in column]
    known = [number for number in numbers if number is not None]
    best = (max(known) if len(known) > 1
            and heading not in ("parameters", "images") else None)
    marked.append([(cell, best is not None and number == best)
                   for cell, number in zip(column, numbers)])
  return {"heading": cells[0], "rows": list(zip(names, zip(*marked)))}


def _seed_rows(gain):
  """Heading and (name, cells) of the table of seeds; None for one seed."""
  if gain is None or len(gain.seeds) < 2:
    return None
  heading, *lines = repeats.rows(gain)
  return {"heading": heading,
          "rows": [(name, cells) for name, *cells in lines]}


def _panels(report, stages):
  """Precision-recall curves: list of (class, list of (stage, points))."""
  if not stages:
    return []
  rows = report.class_rows
  chosen = precision_recall.panels(
      [row.ap.get(stages[-1]) for row in rows],
      [row.num_images for row in rows])
  panels = []
  for place in chosen:
    points = [(stage, charts.precision_recall(report.curves[stage][place]))
              for stage in stages]
    panels.append((rows[place].name, [line for line in points if line[1]]))
  return panels


def _training(stage):
  """Training curves of a stage with their legend; `chart` None without any."""
  entries = [entry for entry in stage.history if "loss" in entry]
  if not entries:
    return {"name": stage.name, "chart": None}
  parts = [(f"part{number}", name) for number, name in enumerate(
      _loss_parts(entries)[:_PARTS], 1)]
  metric, points = _validation(stage)
  keys = [("loss", "loss")] + [
      (style, name.replace("_", " ")) for style, name in parts]
  return {
      "name": stage.name,
      "last_step": entries[-1]["step"],
      "metric": metric,
      "best": max(points, key=lambda point: (point[1], -point[0]),
                  default=None),
      "legend": keys + ([("metric", metric)] if points else []),
      # The sum last, above its parts.
      "chart": charts.training(
          [(style, _points(entries, name))
           for style, name in [*parts, ("loss", "loss")]], points),
  }


def _loss_parts(entries):
  """Names of losses that are neither zero nor equal to the whole loss."""
  return [name for name in entries[-1] if name.endswith("_loss")
          and any(entry.get(name) for entry in entries)
          and any(entry.get(name) != entry["loss"] for entry in entries)]


def _points(entries, name):
  return [(entry["step"], entry[name]) for entry in entries
          if isinstance(entry.get(name), (int, float))]


def _validation(stage):
  """Name of a stage's validation metric, and its (step, value)."""
  entries = [entry for entry in stage.history if "figures" in entry]
  for name in (stage.config.get("best_figure"), "classification/map"):
    points = [(entry["step"], entry["figures"][name]) for entry in entries
              if entry["figures"].get(name) is not None]
    if points:
      return name.replace("classification/map", "mAP"), points
  return "", []


def _settings(report):
  """Rows of the tables of settings: lists of (name, values)."""
  configs = [stage.config for stage in report.stages]
  rows = [(name, [_setting(config, name) for config in configs])
          for name in dict.fromkeys(name for c in configs for name in c)]
  return {
      "differing": [row for row in rows if len(set(row[1])) > 1],
      "shared": [(name, values[:1]) for name, values in rows
                 if len(set(values)) == 1],
      "versions": [(name, [version])
                   for name, version in report.versions.items()]}


def _setting(config, name):
  value = config.get(name, "-")
  if isinstance(value, (list, tuple)):
    return ", ".join(map(str, value))
  return "" if value is None else str(value)
