"""Texts on all settings: for `--help`, and as a page of the documentation.

    python -m kdwsd.training.settings.manual > docs/settings.md
"""

import re
import textwrap

from kdwsd.training.settings import setting
from kdwsd.training.settings import topics

_PAGE = """# The settings of kdwsd.train

<!-- Written by: python -m kdwsd.training.settings.manual > docs/settings.md -->

Each setting is a flag of `python -m kdwsd.train` and, except for those under
"The command", a field of `config.json` in the run's `--workdir`. The stages are
`wsd`, the teacher; `cls`, the student without distillation; `kd_feature` and
`kd_prediction`, the two stages of distillation into the student. A stage
ignores the settings that it does not read. "The release" is the Caffe code that
was published with the paper; "WSDDN" is the detector's own paper and code.

A stopped run can be resumed with other settings, except for those marked \\*:
the shape or the meaning of its weights, or the variables of its optimizer,
depend on them.
"""


def help_text():
  """The settings by topic, for a terminal of 80 columns."""
  lines = []
  for topic, declared in _by_topic().items():
    lines += ["", f"{topic}:"]
    for one in declared:
      lines.append(f"  --{one.name}={as_text(one.default)}")
      stages = "" if one.stages == setting.STAGES else (
          f" (read by {', '.join(one.stages)})")
      lines += textwrap.wrap(
          _help(one) + stages, 80, initial_indent=6 * " ",
          subsequent_indent=6 * " ", break_on_hyphens=False)
  return "\n".join(lines)


def page():
  """The page of the documentation, in Markdown."""
  parts = [_PAGE]
  for topic, declared in _by_topic().items():
    parts.append(f"\n## {topic}\n\n| flag | default | stages | what it does |\n"
                 "|---|---|---|---|\n")
    for one in declared:
      stages = "all" if one.stages == setting.STAGES else ", ".join(one.stages)
      default = as_text(one.default)
      text = re.sub(r"--\w+(=\w+)?", r"`\g<0>`", _help(one))
      cells = (f"`--{one.name}`" + (" \\*" if one.fixed else ""),
               f"`{default}`" if default else "", stages, text)
      parts.append(f"| {' | '.join(cells)} |\n")
  return "".join(parts)


def as_text(value):
  """A value in the syntax of the command line."""
  if value is None:
    return ""
  if isinstance(value, tuple):
    return ",".join(map(as_text, value))
  if isinstance(value, bool):
    return str(value).lower()
  return f"{value:g}" if isinstance(value, float) else str(value)


def _by_topic():
  """{title: settings}."""
  found = {}
  for one in topics.SETTINGS.values():
    found.setdefault(one.topic, []).append(one)
  return found


def _help(one):
  """A setting's help, with its choices."""
  if not one.flag_choices:
    return one.text
  return f"{one.text} One of: {', '.join(one.flag_choices)}."


if __name__ == "__main__":
  print(page(), end="")
