"""The run's log as data: one JSON object a line, and its plot.

`WORKDIR/history.jsonl` has a line for each inner loop and one for each
validation, all with `step`. A resumed run first drops the lines of steps it
will make again.
"""

import json
import math
import os

from absl import logging

from kdwsd import files
from kdwsd import system_errors

_FILE = "history.jsonl"
_PLOT = "loss.png"
_PLOTTED = ("classification/map", "detection/voc07_map", "coco/AP")


def path(workdir):
  """Where a run keeps its history."""
  return os.path.join(workdir, _FILE)


def append(workdir, entry):
  """Adds one line.

  Args:
    workdir: of the run.
    entry: dict with `step`. Figures that are not finite, as JSON has none, are
      left out: under mixed_float16 a loss may be so that is skipped.

  Raises:
    errors.InputError: there is no room for it.
  """
  entry = {name: value for name, value in entry.items()
           if not isinstance(value, float) or math.isfinite(value)}
  with system_errors.told(path(workdir)):
    with open(path(workdir), "a", encoding="utf-8") as file:
      file.write(json.dumps(entry) + "\n")


def read(workdir):
  """Reads all lines; one cut off by a kill, or damaged, is left out."""
  if not os.path.exists(path(workdir)):
    return []
  entries = []
  with open(path(workdir), encoding="utf-8", errors="replace") as file:
    for number, line in enumerate(file, 1):
      entry = _parse(line)
      if entry is not None:
        entries.append(entry)
      elif line.endswith("\n"):  # The last one may be half there.
        logging.warning(
            "%s:%d: expected an object with a step. Received: %.80r; it is "
            "left out.", path(workdir), number, line)
  return entries


def _parse(line):
  """The object of a line, or None."""
  try:
    entry = json.loads(line)
  except (ValueError, RecursionError):
    return None
  if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
    return None
  return entry


def rewind(workdir, step, *, validated=True):
  """Drops the lines after `step`, and unless it is `validated` its figures."""
  entries = [
      entry for entry in read(workdir) if entry["step"] < step or (
          entry["step"] == step and (validated or "figures" not in entry))]
  files.write_text(path(workdir), "".join(
      json.dumps(entry) + "\n" for entry in entries))


def plot(workdir):
  """Draws loss, learning rate and validation figures by step.

  Returns:
    Path of the PNG.
  """
  import matplotlib  # pylint: disable=import-outside-toplevel
  matplotlib.use("Agg")
  from matplotlib import pyplot as plt  # pylint: disable=import-outside-toplevel
  entries = read(workdir)
  training = [entry for entry in entries if "loss" in entry]
  validation = [entry for entry in entries if "figures" in entry]
  figure, (above, below) = plt.subplots(
      2, 1, figsize=(8, 7), sharex=True, layout="constrained")
  above.plot([entry["step"] for entry in training],
             [entry["loss"] for entry in training], lw=1)
  above.set_ylabel("training loss, per image")
  above.set_ylim(bottom=0)
  rate = above.twinx()
  rate.plot([entry["step"] for entry in training],
            [entry["learning_rate"] for entry in training], "--", lw=1,
            color="tab:gray")
  rate.set_yscale("log")
  rate.set_ylabel("learning rate (dashed)")
  for name in _PLOTTED:
    points = [(entry["step"], entry["figures"][name]) for entry in validation
              if name in entry["figures"]]
    if points:
      below.plot(*zip(*points), marker="o", ms=3, label=name)
  if validation:
    below.legend()
  below.set_ylabel("validation figures")
  below.set_ylim(0, 1)
  below.set_xlabel("step")
  for axes in (above, below):
    axes.grid(alpha=0.3)
  target = os.path.join(workdir, _PLOT)
  with files.atomic_path(target) as temporary:
    figure.savefig(temporary, dpi=110, format="png")
  plt.close(figure)
  return target
