"""The data of a chain's report, collected from the files of its stages.

A missing file leaves a gap and a note. Only a chain without any evaluated model
is an error.
"""

import dataclasses
import os
from typing import Optional

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd import invocation
from kdwsd import places
from kdwsd.data import record_files
from kdwsd.evaluation import classification
from kdwsd.evaluation import precision_recall
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import summary
from kdwsd.reporting import boxes_section
from kdwsd.reporting import comparison
from kdwsd.reporting import gallery
from kdwsd.reporting import measured
from kdwsd.reporting import repeats

# File names of a run, for messages; `kdwsd.training` owns them.
_CONFIG, _HISTORY = "config.json", "history.jsonl"


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training run of the chain.

  Attributes:
    name: name of the stage and of its subdirectory.
    config: dict of its settings, as in config.json.
    history: list of the entries of its log.
    command: shell command that reproduces the run.
  """
  name: str
  config: dict
  history: list
  command: str


@dataclasses.dataclass(frozen=True)
class ClassRow:
  """One class; `ap` maps stages to average precisions in [0, 1] or None."""
  name: str
  num_images: int
  ap: dict


@dataclasses.dataclass(frozen=True)
class Report:
  """All data of a report.

  Attributes:
    title: title of the page.
    split: evaluated split.
    rows: list of `comparison.Row`.
    stages: list of `Stage`, in the order of training.
    class_rows: list of `ClassRow`, most frequent class first.
    counts_of: what `num_images` of the class rows counts, as text.
    curves: dict of stage to `precision_recall.OnDemand`, in the order of
      `class_rows`.
    gallery: list of `gallery.Picture`.
    gallery_note: why there is no gallery, or None.
    versions: dict of software to its version.
    command: shell command that creates the report.
    made: date, as text.
    gain: `repeats.Gain`, or None.
    boxes: `boxes_section.BoxesSection`, or None.
  """
  title: str
  split: str
  rows: list
  stages: list
  class_rows: list
  counts_of: str
  curves: dict
  gallery: list
  gallery_note: Optional[str]
  versions: dict
  command: str
  made: str
  gain: Optional[repeats.Gain] = None
  boxes: Optional[boxes_section.BoxesSection] = None


def collect(workdir, split, stages, **facts):
  """Collects the data of a report.

  Args:
    workdir: work directory of the chain.
    split: evaluated split.
    stages: list of `Stage`.
    **facts: `versions`, `command` and `made` of a `Report`.

  Returns:
    A `Report`.

  Raises:
    errors.InputError: no model was evaluated on the split, or a file is
      invalid.
  """
  metrics = comparison.read_metrics(workdir, split)
  for stage, content in metrics.items():
    measured.check_classes(content, os.path.join(
        comparison.evaluation_directory(workdir, stage, split),
        summary.METRICS))
  for stage in stages:
    directory = os.path.join(workdir, stage.name)
    measured.check_config(stage.config, os.path.join(directory, _CONFIG))
    measured.check_history(stage.history, os.path.join(directory, _HISTORY))
  classes = next(iter(metrics.values()))["classes"]
  predictions = _read_predictions(workdir, split, metrics)
  counts, counts_of = _class_counts(workdir, stages, metrics, classes)
  order = sorted(range(len(classes)), key=lambda c: (-counts[c], c))
  gallery, note = _gallery(workdir, split, stages, predictions, classes)
  curves = {}
  for stage, predicted in predictions.items():
    of_classes = classification.curves(
        predicted.labels > 0, predicted.labels >= 0, predicted.image_scores)
    curves[stage] = precision_recall.OnDemand(
        len(order), lambda place, of=of_classes: of[order[place]])
  return Report(
      title=os.path.basename(os.path.abspath(workdir)), split=split,
      rows=comparison.read(workdir, split), stages=list(stages),
      class_rows=[
          ClassRow(classes[c], counts[c], {
              stage: of_stage["classification"]["per_class"]["ap"][c]
              for stage, of_stage in metrics.items()}) for c in order],
      counts_of=counts_of, curves=curves, gallery=gallery or [],
      gallery_note=note, gain=repeats.read(workdir, split),
      boxes=boxes_section.read(workdir, split, metrics), **facts)


def _read_predictions(workdir, split, metrics):
  """Dict of stage to predictions, of the stages that have them."""
  found = {}
  for stage in metrics:
    path = os.path.join(
        comparison.evaluation_directory(workdir, stage, split),
        prediction_files.FILE)
    predicted = prediction_files.read(path)
    if predicted is not None:
      _check_predictions(predicted, metrics[stage], path)
      found[stage] = predicted
  return found


def _check_predictions(predicted, metrics, path):
  """Raises `errors.InputError` unless their shape is that of the metrics."""
  wanted = (metrics["num_images"], len(metrics["classes"]))
  shape = predicted.image_scores.shape
  if shape != wanted:
    raise errors.InputError(
        f"{path}: expected predictions for {wanted[0]} images and {wanted[1]} "
        f"classes, as in {summary.METRICS} of this directory. Received: "
        f"{shape[0]} and {shape[1]}.")


def _class_counts(workdir, stages, metrics, classes):
  """Images per class [C], of training if it has a card; and the split."""
  for config in (stage.config for stage in stages):
    for directory in _data_directories(workdir, config):
      split = config.get("train_split")
      path = record_files.card_path(directory, split)
      if split and places.exists(path):
        card = files.read_json(path)
        by_name = (card.get("images_per_class") if isinstance(card, dict)
                   else None)
        if isinstance(by_name, dict) and all(
            type(by_name.get(name)) is int for name in classes):
          return ([by_name[name] for name in classes],
                  f"images of training split {split}")
  first = next(iter(metrics.values()))
  return (first["num_positive_images"],
          f"images of the evaluated split {first['split']}, as the training "
          "split has no card")


def _gallery(workdir, split, stages, predictions, classes):
  """(list of pictures, None), or (None, reason) without pictures."""
  if not predictions:
    return None, invocation.adapt(
        f"{prediction_files.FILE} is missing next to the metrics; "
        "`python -m kdwsd.evaluate` writes it")
  (first, predicted), *others = predictions.items()
  for stage, other in others:
    if not np.array_equal(other.image_ids, predicted.image_ids):
      return None, f"{first} and {stage} were evaluated on different images"
  why = None  # The first reason: it concerns the directory in the run's config.
  for config in (stage.config for stage in stages):
    for directory in _data_directories(workdir, config):
      try:
        record_set = record_files.open_split(directory, split)
      except errors.InputError as error:
        why = why or str(error)
        continue
      made = gallery.make(record_set, predictions, classes)
      if made is not None:
        return made, None
      why = why or (
          f"the records in {directory} are not the evaluated ones")
  return None, invocation.adapt(why or "no stage names its records")


def _data_directories(workdir, config):
  """Where a run's records may be: where they were, or in the chain."""
  named = config.get("data")
  return [named, os.path.join(workdir, "records")] if named else []
