"""Evaluates a model on a split and writes metrics, table, plots and pictures.

Metrics are the dictionary of `kdwsd.evaluation.metrics`, preceded by `split`,
`num_images`, `classes` and `settings` (of the evaluation).
"""

import collections
import contextlib
import itertools
import os

from kdwsd import beside
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import classification
from kdwsd.evaluation import contact_sheets
from kdwsd.evaluation import device_batches
from kdwsd.evaluation import inference
from kdwsd.evaluation import localization
from kdwsd.evaluation import metrics as metrics_lib
from kdwsd.evaluation import pictures
from kdwsd.evaluation import plots
from kdwsd.evaluation import precision_recall
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import table as table_lib

METRICS = "metrics.json"
TABLE = "table.txt"
CURVES = "precision_recall.png"
BARS = "average_precision.png"
PICTURE = "detections.png"
LOCALIZATION = "localization.png"


def directory(workdir, split):
  """Directory with a run's evaluation on a split."""
  return os.path.join(workdir, "evaluation", split)


def evaluate(model, record_set, **options):
  """Evaluates a model on a split.

  Args:
    model: see `measure`.
    record_set: see `measure`.
    **options: see `measure`.

  Returns:
    Metrics.
  """
  return measure(model, record_set, **options)[0]


def measure(model, record_set, *, sizes=(672,), mirror=False,
            num_proposals=500, batch_size=None, score_threshold=1e-3,
            nms_iou=0.4, corloc=False, coco=False, progress=True):
  """Predicts a split and computes the metrics of the predictions.

  Args:
    model: see `inference.predict`.
    record_set: `record_files.RecordSet`.
    sizes: see `inference.predict`.
    mirror: see `inference.predict`.
    num_proposals: see `inference.predict`.
    batch_size: see `inference.predict`.
    score_threshold: detections have a score above it.
    nms_iou: IoU above which non-maximum suppression removes a detection.
    corloc: whether to compute CorLoc.
    coco: whether to compute COCO's 12 metrics.
    progress: see `inference.predict`.

  Returns:
    Metrics, and the `metrics.Results` that `write` draws.

  Raises:
    errors.InputError: a score is not finite, or a record is invalid.
  """
  predictions = inference.predict(
      model, record_set, sizes=sizes, mirror=mirror,
      num_proposals=num_proposals, batch_size=batch_size, progress=progress)
  images = _labelled_images(record_set)
  results = metrics_lib.collect(
      predictions, images, num_classes=len(record_set.classes),
      score_threshold=score_threshold, nms_iou=nms_iou, corloc=corloc,
      num_threads=device_batches.num_threads(),
      most_waiting=device_batches.most_waiting(
          len(record_set.classes), num_proposals))
  metrics = {
      "split": record_set.split,
      "num_images": len(images),
      "classes": list(record_set.classes),
      "settings": {
          "sizes": [int(size) for size in sizes],
          "mirror": bool(mirror),
          "num_proposals": int(num_proposals),
          "score_threshold": float(score_threshold),
          "nms_iou": float(nms_iou),
      },
  }
  metrics.update(metrics_lib.score(results, coco=coco))
  if metrics.get("corloc"):
    metrics["corloc"]["split"] = record_set.split
  return metrics, results


def measure_corloc(model, record_set, *, sizes=(672,), mirror=False,
                   num_proposals=500, batch_size=None, progress=True):
  """CorLoc alone, usually of the training split; arguments as `measure`.

  Returns:
    The dict under `corloc` of the metrics, and its `localization.CorLoc`; None
    and None where no image has boxes.
  """
  images = _labelled_images(record_set)
  if all(image.truth is None for image in images):
    return None, None
  predictions = inference.predict(
      model, record_set, sizes=sizes, mirror=mirror,
      num_proposals=num_proposals, batch_size=batch_size, progress=progress)
  counts = localization.CorLoc(len(record_set.classes))
  with contextlib.closing(beside.mapped(
      lambda one: counts.add(*one),
      zip(predictions, images, itertools.count()),
      num_threads=device_batches.num_threads(),
      most_waiting=device_batches.most_waiting(
          len(record_set.classes), num_proposals))) as counted:
    collections.deque(counted, maxlen=0)
  measured = metrics_lib.corloc_metrics(counts)
  measured["split"] = record_set.split
  return measured, counts


def figures(metrics):
  """Flattens the scalar metrics.

  Args:
    metrics: from `evaluate`.

  Returns:
    Dict of floats such as `detection/voc07_map`, without undefined metrics.
  """
  flat = {}
  for group in ("classification", "detection", "corloc", "coco"):
    for name, value in (metrics.get(group) or {}).items():
      inner = value if isinstance(value, dict) else {None: value}
      for key, number in inner.items():
        if isinstance(number, float):
          flat["/".join(filter(None, (group, name, key)))] = number
  return flat


def table(metrics):
  """Metrics in percent, as text of several lines; not all of many classes."""
  return table_lib.format_metrics(metrics, precision_recall.MOST_PANELS)


def write(metrics, results, record_set, output, corloc=None):
  """Writes metrics, table, predictions and plots; each file atomically.

  For a detector, a picture shows detections and ground truth on the first
  images of the split, and another one, where CorLoc was measured, what its best
  boxes are.

  Args:
    metrics: from `measure`.
    results: from `measure`.
    record_set: the evaluated split.
    output: directory to write to; created if missing.
    corloc: (`localization.CorLoc`, `record_files.RecordSet`) to draw examples
      of; None for those of the results, if any.

  Returns:
    List of the paths written.

  Raises:
    errors.InputError: the directory is not writable.
  """
  paths = [os.path.join(output, name) for name in (
      METRICS, TABLE, prediction_files.FILE, CURVES, BARS)]
  files.write_text(paths[1], table_lib.format_metrics(metrics))
  prediction_files.write(paths[2], prediction_files.from_results(results))
  classes = record_set.classes
  labels, known = classification.label_arrays(results.images, len(classes))
  curves = {"classification": classification.curves(
      labels, known, results.image_scores)}
  values = {"classification": metrics["classification"]["per_class"]["ap"]}
  if metrics["detection"]:
    curves["detection"] = results.detection_curves
    values["detection"] = metrics["detection"]["per_class"]["voc07_ap"]
  plots.precision_recall(paths[3], classes, curves, precision_recall.panels(
      list(values.values())[-1], metrics["num_positive_images"]))
  plots.average_precision(
      paths[4], classes, values, metrics["num_positive_images"],
      names={"classification": "classification, non-interpolated",
             "detection": "detection, 11-point, IoU 0.5"})
  if results.detections is not None:
    paths.append(os.path.join(output, PICTURE))
    contact_sheets.write_png(
        paths[-1], pictures.detection_sheet(record_set, results.detections))
  if corloc is None and results.corloc is not None:
    corloc = results.corloc, record_set
  if corloc is not None and any(corloc[0].examples.values()):
    paths.append(os.path.join(output, LOCALIZATION))
    contact_sheets.write_png(paths[-1], pictures.localization_sheet(*corloc))
  files.write_json(paths[0], metrics)  # Last: it marks the set as complete.
  return paths


def _labelled_images(record_set):
  with record_files.naming_faults(record_set):
    return records.read_labelled_images(
        list(record_set.paths), len(record_set.classes))
