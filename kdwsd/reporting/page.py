"""The report of a chain as one HTML page that needs nothing else.

No script, no link, no font: style, charts and pictures are in the file.
"""

from kdwsd.evaluation import table as table_lib
from kdwsd.reporting import charts
from kdwsd.reporting import comparison
from kdwsd.reporting import markup
from kdwsd.reporting import page_figures
from kdwsd.reporting import page_gallery
from kdwsd.reporting import style

_STYLES = style.MODELS
_element, _join = markup.element, markup.join


def page(report):
  """Makes the page.

  Args:
    report: `page_data.Report`.

  Returns:
    The text of an HTML file.
  """
  title = f"{report.title}: distillation report"
  sections = [
      ("table", "Table", _table(report)),
      ("classes", "Classes", page_figures.classes(report)),
      ("images", "Images", page_gallery.section(report)),
      ("curves", "Precision and recall",
       page_figures.precision_recall(report)),
      ("training", "Training", page_figures.training(report)),
      ("settings", "Settings", _settings(report)),
  ]
  links = [_element("a", name, href=f"#{anchor}")
           for anchor, name, _ in sections]
  content = _element(
      "html",
      _element("head",
               _element("meta", charset="utf-8"),
               _element("meta", name="viewport",
                        content="width=device-width, initial-scale=1"),
               _element("meta", name="color-scheme", content="light dark"),
               _element("title", title),
               _element("style", markup.Html(style.CSS))),
      _element("body",
               _header(report),
               _element("nav", _element("div", *links),
                        aria_label="Sections"),
               _element("main", *(
                   _element("section", body, id=anchor)
                   for anchor, _, body in sections), _footer(report))),
      lang="en")
  return f"<!DOCTYPE html>\n{content}\n"


def summary(rows, split):
  """What came out, in two or three sentences.

  Args:
    rows: list of `comparison.Row`.
    split: that was measured.

  Returns:
    Text.
  """
  maps = {row.stage: row.map for row in rows if row.map is not None}
  before, teacher, after = (maps.get(stage) for stage in comparison.MODELS)
  counts = sorted({row.num_images for row in rows})
  reached = [f"{_in_words(stage)} {100 * value:.1f}\u00a0%"
             for stage, value in maps.items()]
  text = [f"mAP on the {' or '.join(f'{n:,}' for n in counts)} images of split "
          f"{split}: " + ", ".join(reached) + "."]
  if not maps:
    text = [f"No class has a positive image in split {split}: there is no "
            "mAP."]
  gain = comparison.gain(rows)
  if gain is None:
    missing = [comparison.MODELS[stage] for stage in
               (comparison.WITHOUT, comparison.WITH) if stage not in maps]
    text.append("What distillation adds is not known yet: "
                f"{' and '.join(missing)} not measured.")
  elif round(gain, 1) > 0:
    text.append(f"Distillation adds {gain:.1f} points to the student, at no "
                "cost when it is used.")
    if teacher is not None and teacher > before:
      share = (after - before) / (teacher - before)
      text.append(
          f"That is {100 * share:.0f}\u00a0% of the distance to its teacher."
          if share <= 1 else "The student is better than its teacher.")
  elif round(gain, 1) < 0:
    text.append(f"Distillation costs the student {-gain:.1f} points here.")
  else:
    text.append("Distillation makes no difference here.")
  return " ".join(text)


def _header(report):
  gain = comparison.gain(report.rows)
  cards = []
  for row in report.rows:
    added = None
    if row.stage == comparison.WITH and gain is not None:
      added = _element("span", f"{gain:+.1f}",
                       class_=f"gain {'up' if gain >= 0 else 'down'}")
    cards.append(_element(
        "div",
        _element("div", row.name, class_="name"),
        _element("div", table_lib.percent(row.map), added, class_="big"),
        _element("div", "mAP, percent", class_="note what"),
        class_=f"card {_STYLES[row.stage]}"))
  return _element(
      "header",
      _element("p", "Multi-label classification by knowledge distillation "
               "from weakly supervised detection", class_="kicker"),
      _element("h1", report.title),
      _element("p", summary(report.rows, report.split), class_="lead"),
      _element("div", *cards, class_="numbers"))


def _table(report):
  heading, *lines = comparison.cells(report.rows)
  best = []  # Of each column of shares, where there is something to compare.
  for place, name in enumerate(heading):
    values = [line[place] for line in lines]
    numbers = [float(v) for v in values if _is_number(v)]
    best.append(None if name in ("parameters", "images") or len(numbers) < 2
                else max(numbers))
  body = []
  for line in lines:
    body.append(_element("tr", _element("th", line[0], scope="row"), *(
        _element("td", cell, class_="best" if best[place] is not None
                 and _is_number(cell) and float(cell) == best[place] else None)
        for place, cell in enumerate(line[1:], 1))))
  table = _element(
      "table",
      _element("thead", _element("tr", *(
          _element("th", name, scope="col") for name in heading))),
      _element("tbody", *body), class_="ablation")
  groups = [
      (name, [(row.name, _STYLES[row.stage], getattr(row, field))
              for row in report.rows])
      for name, field in (("mAP", "map"), ("C-F1", "c_f1"), ("O-F1", "o_f1"))]
  return _join(
      _element("h2", "The three models"),
      _element("p", comparison.gain_text(report.rows)),
      _element("div", table, class_="scroll"),
      charts.bars(groups, label="mAP, C-F1 and O-F1 of each model"),
      *(_element("p", line, class_="note")
        for line in comparison.notes(report.rows)))


def _settings(report):
  parts = [_element("h2", "Settings")]
  if report.stages:
    names = list(dict.fromkeys(
        name for stage in report.stages for name in stage.config))
    differ = [name for name in names if len({
        str(stage.config.get(name)) for stage in report.stages}) > 1]
    same = [name for name in names if name not in differ]
    if differ:
      parts.append(_fold(
          "What differs between the stages",
          ["setting"] + [stage.name for stage in report.stages],
          [[name] + [_value(stage.config, name) for stage in report.stages]
           for name in differ]))
    parts.append(_fold(
        "What is the same in all", ["setting", "value"],
        [[name, _value(report.stages[0].config, name)] for name in same]))
  parts.append(_fold("Versions that made this report", ["", "version"],
                     [list(item) for item in report.versions.items()]))
  commands = [_element("pre", stage.command) for stage in report.stages]
  parts.append(_element(
      "details", _element("summary", "Commands that repeat it"), *commands,
      _element("pre", report.command)))
  return _join(*parts)


def _fold(title, heading, lines):
  """A table that opens at a click."""
  return _element(
      "details", _element("summary", title), _element("div", _element(
          "table", _element("thead", _element("tr", *(
              _element("th", cell, scope="col") for cell in heading))),
          _element("tbody", *(
              _element("tr", _element("th", line[0], scope="row"),
                       *(_element("td", cell) for cell in line[1:]))
              for line in lines))), class_="scroll"))


def _value(config, name):
  if name not in config:
    return "-"
  value = config[name]
  if isinstance(value, (list, tuple)):
    return ", ".join(map(str, value))
  return "" if value is None else str(value)


def _footer(report):
  seeds = list(dict.fromkeys(
      str(stage.config["seed"]) for stage in report.stages
      if "seed" in stage.config))
  text = f"Made {report.made} by kdwsd {report.versions.get('kdwsd', '')}."
  if seeds:
    text += (f" Seed {', '.join(seeds)}: one run of each stage; another seed "
             "gives other figures.")
  return _element("footer", text)


def _in_words(stage):
  return {comparison.WITHOUT: "S-Cls without distillation",
          comparison.TEACHER: "the teacher",
          comparison.WITH: "S-Cls with distillation"}[stage]


def _is_number(text):
  return text.replace(".", "", 1).isdigit()
