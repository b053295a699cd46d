"""The paper's ablation: the student without and with distillation, the teacher.

Source of the table: Liu et al., "Multi-Label Image Classification via Knowledge
Distillation from Weakly-Supervised Detection", ACM Multimedia 2018, table 3.
A chain of runs keeps each stage in a sub-directory of one work directory; what
`kdwsd.evaluation.summary` wrote there is read here, and beside it `cost.json`:
{"parameters": int, "images_per_second": float, "device": str}, at batch 1.
"""

import dataclasses
import os
from typing import Optional

from kdwsd import errors
from kdwsd.data import texts
from kdwsd.evaluation import summary
from kdwsd.evaluation import table as table_lib
from kdwsd.reporting import measured

COST = "cost.json"

# Sub-directories of a chain, in the order of the paper's table. Stage 1 of the
# distillation, `kd_feature`, is not here: it knows no labels and has no scores.
MODELS = {
    "cls": "S-Cls without KD",
    "wsd": "T-WDet",
    "kd_prediction": "S-Cls with KD",
}
WITHOUT, TEACHER, WITH = MODELS

_COLUMNS = (  # heading, field
    ("mAP", "map"),
    ("C-F1", "c_f1"),
    ("O-F1", "o_f1"),
    ("C-F1 top 3", "top3_c_f1"),
    ("O-F1 top 3", "top3_o_f1"),
    ("det mAP", "detection_map"),
    ("CorLoc", "corloc"),
)

NOTES = (
    "Percent. mAP: non-interpolated. F1: of labels with probability >= 0.5, "
    "and of the 3 best; C-F1: of the means of precision and recall.",
    "det mAP: detection, 11-point, IoU 0.5. Images a second: one at a time.",
)


@dataclasses.dataclass(frozen=True)
class Row:
  """Figures of one model; shares in [0, 1], None where not measured.

  Attributes:
    stage: a key of `MODELS`.
    name: its value.
    num_images: that were measured.
    map: classification, non-interpolated.
    c_f1: harmonic mean of C-P and C-R, probability >= 0.5.
    o_f1: overall F1, likewise.
    top3_c_f1: of the 3 best labels of each image.
    top3_o_f1: likewise.
    detection_map: 11-point, IoU 0.5.
    corloc: of the split that the metrics name.
    parameters: of the model.
    images_per_second: at batch 1.
    device: on which that was measured.
  """
  stage: str
  name: str
  num_images: int
  map: Optional[float]
  c_f1: Optional[float]
  o_f1: Optional[float]
  top3_c_f1: Optional[float]
  top3_o_f1: Optional[float]
  detection_map: Optional[float]
  corloc: Optional[float]
  parameters: Optional[int]
  images_per_second: Optional[float]
  device: Optional[str]


def evaluation_directory(workdir, stage, split):
  """Where the measurements of one stage lie."""
  return summary.directory(os.path.join(workdir, stage), split)


def read_metrics(workdir, split):
  """Metrics of the models that have been measured.

  Args:
    workdir: of the chain.
    split: its name.

  Returns:
    Dict of stage to metrics, see `kdwsd.evaluation.summary`, in the order of
    `MODELS`.

  Raises:
    errors.InputError: no model was measured, a file is not as it should be, or
      they know other classes.
  """
  paths = {stage: os.path.join(evaluation_directory(workdir, stage, split),
                               summary.METRICS) for stage in MODELS}
  metrics = {stage: measured.read_metrics(path)
             for stage, path in paths.items() if os.path.exists(path)}
  if not metrics:
    raise errors.InputError(
        f"{workdir}: expected the work directory of a chain of runs, with "
        f"evaluation/{split}/{summary.METRICS} in one of the sub-directories "
        f"{', '.join(MODELS)}. Received: none of them.")
  (first, known), *others = metrics.items()
  for stage, other in others:
    if other["classes"] != known["classes"]:
      raise errors.InputError(
          f"{paths[stage]}: expected the classes of {first}, "
          f"{texts.shown(', '.join(known['classes']))}. Received: "
          f"{texts.shown(', '.join(other['classes']))}.")
  return metrics


def read(workdir, split):
  """Reads the table.

  Args:
    workdir: of the chain.
    split: its name.

  Returns:
    List of `Row`, of the models that have been measured, in the paper's order.

  Raises:
    errors.InputError: as `read_metrics`.
  """
  rows = []
  for stage, metrics in read_metrics(workdir, split).items():
    path = os.path.join(evaluation_directory(workdir, stage, split), COST)
    cost = measured.read_cost(path) if os.path.exists(path) else {}
    classification = metrics["classification"]
    rows.append(Row(
        stage=stage, name=MODELS[stage], num_images=metrics["num_images"],
        map=classification["map"],
        c_f1=classification["all"]["C-F1"],
        o_f1=classification["all"]["O-F1"],
        top3_c_f1=classification["top3"]["C-F1"],
        top3_o_f1=classification["top3"]["O-F1"],
        detection_map=(metrics.get("detection") or {}).get("voc07_map"),
        corloc=(metrics.get("corloc") or {}).get("corloc"),
        parameters=cost.get("parameters"),
        images_per_second=cost.get("images_per_second"),
        device=cost.get("device")))
  return rows


def gain(rows):
  """Points of mAP that distillation adds; None without both students."""
  maps = {row.stage: row.map for row in rows}
  before, after = maps.get(WITHOUT), maps.get(WITH)
  if before is None or after is None:
    return None
  return 100 * (after - before)


def cells(rows):
  """The table as text.

  Returns:
    List of lists of str, headings first. Columns in which no model has
    anything are left out.
  """
  made = [["model"] + [row.name for row in rows]]
  for heading, field in _COLUMNS:
    made.append([heading] + [
        table_lib.percent(getattr(row, field)) for row in rows])
  made.append(["parameters"] + [
      "-" if row.parameters is None else _millions(row.parameters)
      for row in rows])
  made.append(["images/s"] + [
      "-" if row.images_per_second is None
      else f"{row.images_per_second:.1f}" for row in rows])
  made.append(["images"] + [str(row.num_images) for row in rows])
  optional = {"det mAP", "CorLoc"}
  kept = [column for column in made
          if column[0] not in optional or set(column[1:]) != {"-"}]
  return [list(line) for line in zip(*kept)]


def gain_text(rows):
  """The gain in words, one line."""
  points = gain(rows)
  if points is None:
    return ("What distillation adds is not known: that takes both "
            f"{MODELS[WITHOUT]} and {MODELS[WITH]}.")
  return f"What distillation adds to the student: {points:+.1f} points of mAP."


def notes(rows):
  """What a reader of the table should know: a list of lines."""
  lines = list(NOTES)
  devices = sorted({row.device for row in rows if row.device})
  if devices:
    lines.append(f"Measured on: {'; '.join(devices)}.")
  if len({row.num_images for row in rows}) > 1:
    lines.append("The models were measured on different numbers of images: "
                 "their figures cannot be compared.")
  return lines


def format_table(rows):
  """Formats the table for the terminal.

  Args:
    rows: from `read`.

  Returns:
    Text of several lines.
  """
  heading, *lines = cells(rows)
  return "\n".join([
      *table_lib.align([heading, None, *lines]), "", gain_text(rows), "",
      *notes(rows)]) + "\n"


def as_json(rows):
  """The table as a dict that JSON can hold."""
  return {"models": [dataclasses.asdict(row) for row in rows],
          "gain_map_points": gain(rows)}


def _millions(number):
  return f"{number / 1e6:.1f} M" if number >= 1e5 else str(number)
