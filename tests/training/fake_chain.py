"""A finished chain for tests: files only, nothing is trained."""

import dataclasses
import json
import os

import numpy as np

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import metrics as metrics_lib
from kdwsd.evaluation import prediction_files
from kdwsd.training import config as config_lib
from tests.data import fake_records
from tests.training import fake_config

STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")
NUM_IMAGES = 14


def write(workdir, stages=STAGES, *, classes=fake_records.CLASSES, **changes):
  """Writes records and the stages' files.

  Scores are by hand: the teacher is always right, the student without
  distillation never, the one with it in the first ten images.

  Args:
    workdir: of the chain; its records lie in `data`.
    stages: to write.
    classes: names of the 3 classes.
    **changes: fields of every config.

  Returns:
    The directory of records.
  """
  data = os.path.join(workdir, "data")
  os.makedirs(data, exist_ok=True)
  for split, count in (("trainval", 4), ("test", NUM_IMAGES)):
    record_set = fake_records.write(data, split, count)
    files.write_json(record_files.card_path(data, split), {
        **record_set.card, "classes": list(classes), "images_per_class": dict(
            zip(classes, (10, 30, 20)))})
  images = records.read_labelled_images(
      record_files.open_split(data, "test").paths)
  for stage in stages:
    directory = os.path.join(workdir, stage)
    config = fake_config.make(
        data=data, classes=tuple(classes), learning_rate=3e-4
        if stage == "cls" else 1e-3, **changes)
    config = dict(dataclasses.asdict(config), stage=stage)
    files.write_json(config_lib.path(directory), config)
    files.write_text(os.path.join(directory, "history.jsonl"), "".join(
        json.dumps(entry) + "\n" for entry in _history(stage)))
    if stage != "kd_feature":
      _write_evaluation(directory, stage, images, classes)
  return data


def results(stage, images):
  """`metrics.Results` of a model with scores by hand."""
  right = np.array([image.label_ids[0] for image in images])
  wrong = (right + 1) % 3
  first_ten = np.arange(len(images)) < 10
  said = {"wsd": right, "cls": wrong,
          "kd_prediction": np.where(first_ten, right, wrong)}[stage]
  scores = np.full([len(images), 3], .125, np.float32)
  scores[np.arange(len(images)), said] = .75
  found = None
  if stage == "wsd":
    found = [detection.Detections(
        np.concatenate([image.truth.boxes, [[0, 0, .5, .5]]]).astype("float32"),
        np.array([image.label_ids[0], 0], np.int32), np.float32([.5, .25]))
             for image in images]
  elif stage != "wsd":
    images = [dataclasses.replace(image, truth=None) for image in images]
  return metrics_lib.Results(images, scores, found, None)


def _write_evaluation(directory, stage, images, classes):
  output = os.path.join(directory, "evaluation", "test")
  measured = results(stage, images)
  metrics = {"split": "test", "num_images": len(images),
             "classes": list(classes), **metrics_lib.score(measured)}
  if stage == "wsd":
    metrics["corloc"] = {"corloc": 0.5, "split": "trainval"}
  files.write_json(os.path.join(output, "metrics.json"), metrics)
  prediction_files.write(os.path.join(output, prediction_files.FILE),
                         prediction_files.from_results(measured))


def _history(stage):
  entries = [{"step": step, "loss": 5.0 - step / 10, "hard_loss": 3.0,
              "spatial_loss": 0.0} for step in (5, 10)]
  if stage != "kd_feature":
    entries.append({"step": 10, "figures": {"classification/map": 0.625}})
  return entries
