"""The paper's ablation: the student without and with distillation, the teacher.

Source of the table: Liu et al., "Multi-Label Image Classification via Knowledge
Distillation from Weakly-Supervised Detection", ACM Multimedia 2018, table 3.
A chain of runs keeps each stage in a subdirectory of one work directory. This
module reads the metrics that `kdwsd.evaluation.summary` wrote there and, if
present, `cost.json`: {"parameters": int, "images_per_second": float, "device":
str}, measured at batch size 1.
"""

import dataclasses
import hashlib
import os
from typing import Optional

from kdwsd import errors
from kdwsd.data import texts
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import summary
from kdwsd.evaluation import table as table_lib
from kdwsd.reporting import measured

COST = "cost.json"

# Subdirectories of a chain, in the order of the paper's table. Stage 1 of the
# distillation, `kd_feature`, is not here: it trains without labels and predicts
# no scores.
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
    "In percent. mAP: non-interpolated. C-F1 and O-F1: of the labels with "
    "probability >= 0.5, or of the top 3; C-F1: harmonic mean of C-P and C-R.",
    "det mAP: detection, 11-point, IoU 0.5. images/s: at batch size 1.",
)


@dataclasses.dataclass(frozen=True)
class Row:
  """Metrics of one model, in [0, 1]; None where not measured.

  Attributes:
    stage: a key of `MODELS`.
    name: its value in `MODELS`.
    num_images: number of evaluated images.
    images: digest of their ids; None without predictions.
    map: classification mAP, non-interpolated.
    c_f1: harmonic mean of C-P and C-R, of labels with probability >= 0.5.
    o_f1: overall F1, of the same labels.
    top3_c_f1: C-F1 of the top 3 labels of each image.
    top3_o_f1: O-F1 of the same labels.
    detection_map: detection mAP, 11-point, IoU 0.5.
    corloc: CorLoc on the split that the metrics name.
    parameters: number of the model's parameters.
    images_per_second: throughput at batch size 1.
    device: device on which the throughput was measured.
  """
  stage: str
  name: str
  num_images: int
  images: Optional[str]
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
  """Directory with the evaluation of one stage."""
  return summary.directory(os.path.join(workdir, stage), split)


def read_metrics(workdir, split):
  """Reads the metrics of the models that have been evaluated.

  Args:
    workdir: work directory of the chain.
    split: name of the evaluated split.

  Returns:
    Dict of stage to metrics, see `kdwsd.evaluation.summary`, in the order of
    `MODELS`.

  Raises:
    errors.InputError: no model was evaluated, a file is invalid, or the models
      have different classes.
  """
  paths = {stage: os.path.join(evaluation_directory(workdir, stage, split),
                               summary.METRICS) for stage in MODELS}
  metrics = {stage: measured.read_metrics(path)
             for stage, path in paths.items() if os.path.exists(path)}
  if not metrics:
    raise errors.InputError(
        f"{workdir}: expected the work directory of a chain of runs, with "
        f"evaluation/{split}/{summary.METRICS} in one of the subdirectories "
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
  """Reads the rows of the table.

  Args:
    workdir: work directory of the chain.
    split: name of the evaluated split.

  Returns:
    List of `Row`, one per evaluated model, in the paper's order.

  Raises:
    errors.InputError: as `read_metrics`.
  """
  rows = []
  for stage, metrics in read_metrics(workdir, split).items():
    directory = evaluation_directory(workdir, stage, split)
    path = os.path.join(directory, COST)
    cost = measured.read_cost(path) if os.path.exists(path) else {}
    classification = metrics["classification"]
    rows.append(Row(
        stage=stage, name=MODELS[stage], num_images=metrics["num_images"],
        images=_images(directory),
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


def _images(directory):
  """Digest of the ids of the evaluated images, in any order."""
  predictions = prediction_files.read(
      os.path.join(directory, prediction_files.FILE))
  if predictions is None:
    return None
  ids = "\n".join(sorted(predictions.image_ids.tolist()))
  return hashlib.sha256(ids.encode()).hexdigest()[:16]


def gain(rows):
  """Points of mAP gained by distillation; None without both students."""
  maps = {row.stage: row.map for row in rows}
  before, after = maps.get(WITHOUT), maps.get(WITH)
  if before is None or after is None:
    return None
  return 100 * (after - before)


def cells(rows):
  """The table as text.

  Returns:
    List of lists of str, headings first. Detection columns without any value
    are omitted.
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
  """The distillation gain as one line of text."""
  points = gain(rows)
  if points is None:
    return ("Distillation gain: not known; it needs both "
            f"{MODELS[WITHOUT]} and {MODELS[WITH]}.")
  return f"Distillation gain of the student: {points:+.1f} points of mAP."


def notes(rows):
  """Notes under the table: a list of lines."""
  lines = list(NOTES)
  devices = sorted({row.device for row in rows if row.device})
  if devices:
    lines.append(f"Throughput measured on: {'; '.join(devices)}.")
  missing = [name for stage, name in MODELS.items()
             if stage not in {row.stage for row in rows}]
  if missing:
    lines.append("Not in the table, because not measured on this split: "
                 f"{', '.join(missing)}. kdwsd.evaluate measures a run on any.")
  if (len({row.num_images for row in rows}) > 1
      or len({row.images for row in rows if row.images}) > 1):
    lines.append("The models were evaluated on different images: their metrics "
                 "cannot be compared.")
  return lines


def format_table(rows, more=()):
  """Formats the table for the terminal.

  Args:
    rows: from `read`.
    more: lines on the gain, from `repeats.format_lines`.

  Returns:
    Text of several lines.
  """
  heading, *lines = cells(rows)
  return "\n".join([
      *table_lib.align([heading, None, *lines]), "", gain_text(rows), *more,
      "", *notes(rows)]) + "\n"


def as_json(rows):
  """The table as a JSON-serializable dict."""
  return {"models": [dataclasses.asdict(row) for row in rows],
          "gain_map_points": gain(rows)}


def _millions(number):
  return f"{number / 1e6:.1f} M" if number >= 1e5 else str(number)
