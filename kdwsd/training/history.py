"""The history of a run, one JSON object per line, and its plot.

The file has a line for each inner loop and one for each validation, all with
`step`. A resumed run first drops the lines of the steps that it will repeat.
"""

import json
import math
import os

from absl import logging

from kdwsd import files
from kdwsd import system_errors

_PLOTTED = ("classification/map", "detection/voc07_map", "coco/AP")


def append(path, entry):
  """Appends one line.

  Args:
    path: path of the file.
    entry: dict with `step`. Values that are not finite are left out, because
      JSON has none; under mixed_float16 the loss of a skipped step may be
      infinite.

  Raises:
    errors.InputError: the disk is full or the file cannot be written.
  """
  entry = {name: value for name, value in entry.items()
           if not isinstance(value, float) or math.isfinite(value)}
  with system_errors.reported(path):
    with open(path, "a", encoding="utf-8") as file:
      file.write(json.dumps(entry) + "\n")


def read(path):
  """Reads all entries; truncated or damaged lines are left out."""
  if not os.path.exists(path):
    return []
  entries = []
  with open(path, encoding="utf-8", errors="replace") as file:
    for number, line in enumerate(file, 1):
      entry = _parse(line)
      if entry is not None:
        entries.append(entry)
      elif line.endswith("\n"):  # The last line may be truncated.
        logging.warning(
            "%s:%d: expected an object with a step. Received: %.80r; it is "
            "left out.", path, number, line)
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


def rewind(path, step, *, validated=True):
  """Drops the lines after `step`, and its metrics unless it is `validated`."""
  entries = [
      entry for entry in read(path) if entry["step"] < step or (
          entry["step"] == step and (validated or "figures" not in entry))]
  files.write_text(path, "".join(
      json.dumps(entry) + "\n" for entry in entries))


def plot(path, output):
  """Draws loss, learning rate and validation metrics by step.

  Args:
    path: path of the history.
    output: path of the PNG.
  """
  import matplotlib  # pylint: disable=import-outside-toplevel
  matplotlib.use("Agg")
  from matplotlib import pyplot as plt  # pylint: disable=import-outside-toplevel
  entries = read(path)
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
  below.set_ylabel("validation metrics")
  below.set_ylim(0, 1)
  below.set_xlabel("step")
  for axes in (above, below):
    axes.grid(alpha=0.3)
  with files.atomic_path(output) as temporary:
    figure.savefig(temporary, dpi=110, format="png")
  plt.close(figure)
