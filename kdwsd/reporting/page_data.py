"""What the report of a chain shows, as plain values.

Gathered from the files of the stages; what is missing leaves a gap and a note,
never an error, but for a chain without any measured model.
"""

import dataclasses
import os
from typing import Optional

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.data import records
from kdwsd.evaluation import classification
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import summary
from kdwsd.reporting import comparison
from kdwsd.reporting import gallery
from kdwsd.reporting import measured

# Of a run, for messages; `kdwsd.training` has them.
_CONFIG, _HISTORY = "config.json", "history.jsonl"


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training run of the chain.

  Attributes:
    name: of the stage and of its sub-directory.
    config: dict of its settings, as in config.json.
    history: list of the entries of its log.
    command: that repeats it.
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
  """All of it.

  Attributes:
    title: of the page.
    split: that was measured.
    rows: list of `comparison.Row`.
    stages: list of `Stage`, in the order of training.
    class_rows: list of `ClassRow`, most frequent class first.
    counts_of: what `num_images` of the class rows counts, in words.
    curves: dict of stage to list of C `precision_recall.Curve`, in the order
      of `class_rows`.
    gallery: list of `gallery.Picture`.
    gallery_note: why there is none, or None.
    versions: dict of name to version.
    command: that makes the report.
    made: when, in words.
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


def collect(workdir, split, stages, **facts):
  """Gathers a report.

  Args:
    workdir: of the chain.
    split: that was measured.
    stages: list of `Stage`.
    **facts: `versions`, `command` and `made` of a `Report`.

  Returns:
    A `Report`.

  Raises:
    errors.InputError: no model was measured on the split, or a file is not as
      it should be.
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
  for stage, said in predictions.items():
    of_classes = classification.curves(
        said.labels > 0, said.labels >= 0, said.image_scores)
    curves[stage] = [of_classes[c] for c in order]
  return Report(
      title=os.path.basename(os.path.abspath(workdir)), split=split,
      rows=comparison.read(workdir, split), stages=list(stages),
      class_rows=[
          ClassRow(classes[c], counts[c], {
              stage: of_stage["classification"]["per_class"]["ap"][c]
              for stage, of_stage in metrics.items()}) for c in order],
      counts_of=counts_of, curves=curves, gallery=gallery or [],
      gallery_note=note, **facts)


def _read_predictions(workdir, split, metrics):
  """Dict of stage to predictions, where kept."""
  found = {}
  for stage in metrics:
    path = os.path.join(
        comparison.evaluation_directory(workdir, stage, split),
        prediction_files.FILE)
    said = prediction_files.read(path)
    if said is not None:
      _check_predictions(said, metrics[stage], path)
      found[stage] = said
  return found


def _check_predictions(said, metrics, path):
  """Raises `errors.InputError` unless they are of the images measured."""
  wanted = (metrics["num_images"], len(metrics["classes"]))
  if said.image_scores.shape != wanted:
    raise errors.InputError(
        f"{path}: expected predictions of {wanted[0]} images and {wanted[1]} "
        f"classes, as {summary.METRICS} beside it says. Received: "
        f"{said.image_scores.shape[0]} and {said.image_scores.shape[1]}.")


def _class_counts(workdir, stages, metrics, classes):
  """Images per class [C], of training where its card is there; and of what."""
  for config in (stage.config for stage in stages):
    for directory in _data_directories(workdir, config):
      split = config.get("train_split")
      path = records.card_path(directory, split)
      if split and os.path.exists(path):
        card = files.read_json(path)
        by_name = (card.get("images_per_class") if isinstance(card, dict)
                   else None)
        if isinstance(by_name, dict) and all(
            type(by_name.get(name)) is int for name in classes):
          return ([by_name[name] for name in classes],
                  f"images of training split {split}")
  first = next(iter(metrics.values()))
  return (first["num_positive_images"],
          f"images of the measured split {first['split']}, the training "
          "split's card not being there")


def _gallery(workdir, split, stages, predictions, classes):
  """List of pictures and None, or None and why there are none."""
  if not predictions:
    return None, (f"no {prediction_files.FILE} lies beside the metrics; "
                  "`python -m kdwsd.evaluate` writes it")
  (first, said), *others = predictions.items()
  for stage, other in others:
    if not np.array_equal(other.image_ids, said.image_ids):
      return None, f"{first} and {stage} were measured on different images"
  why = None  # The first reason: it is of the place that the run names.
  for config in (stage.config for stage in stages):
    for directory in _data_directories(workdir, config):
      try:
        record_set = records.open_split(directory, split)
      except errors.InputError as error:
        why = why or str(error)
        continue
      made = gallery.make(record_set, predictions, classes)
      if made is not None:
        return made, None
      why = why or (
          f"the records in {directory} are not those that were measured")
  return None, why or "no stage names its records"


def _data_directories(workdir, config):
  """Where a run's records may lie: where they were, or in the chain."""
  named = config.get("data")
  return [named, os.path.join(workdir, "records")] if named else []
