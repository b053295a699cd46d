"""Metrics of the predictions on a split, as a JSON-serializable dictionary.

An undefined metric (no image of the class, no boxes in the source) is None.

| key | content |
|---|---|
| num_positive_images | [C], positive images of each class |
| classification | means, `per_class`, `all`, `top3`, `top3_at_0.5` |
| detection | means and `per_class`, at IoU 0.5; None without boxes |
| corloc | `corloc`, `corloc_frequent`, `per_class`, `baselines` and `kinds`,
  see `localization`; only if requested |
| coco | COCO's 12 metrics; only if requested |

Means are over classes: `map` (non-interpolated), `voc07_map`, `map_area`, and
the same with suffix `_frequent` over classes with 20 or more positive images.
`per_class` holds `ap`, `voc07_ap` and `area_ap`, each [C]. `all`, `top3` and
`top3_at_0.5` hold C-P, C-R, C-F1, C-F1_mean, O-P, O-R and O-F1 of the labels
with probability >= 0.5, of the top 3 of each image, and of the labels that are
both; published top-3 results are of either of the last two kinds.
"""

import contextlib
import dataclasses
import functools
from typing import Optional

import numpy as np

from kdwsd import beside
from kdwsd.evaluation import classification
from kdwsd.evaluation import detection
from kdwsd.evaluation import localization
from kdwsd.evaluation import precision_recall

# Below this many positive images an average precision is mostly noise.
FREQUENT = 20

_AVERAGES = {  # name of the mean: (name per class, function of a curve)
    "map": ("ap", precision_recall.ap),
    "voc07_map": ("voc07_ap", precision_recall.voc07_ap),
    "map_area": ("area_ap", precision_recall.area_ap),
}

MEANS = tuple(_AVERAGES)


@dataclasses.dataclass(frozen=True)
class Results:
  """What metrics and plots need of the predictions on a split.

  Attributes:
    images: list of `records.LabelledImage`.
    image_scores: [images, C] float32.
    detections: list or `detection.sequence` of `detection.Detections`, one per
      image; None for a classifier.
    corloc: `localization.CorLoc`, or None if it was not requested.
  """
  images: list
  image_scores: np.ndarray
  detections: Optional[list]
  corloc: Optional[localization.CorLoc]

  @functools.cached_property
  def detection_curves(self):
    """`detection.curves` of the detections."""
    return detection.curves(
        self.detections, self.images, self.image_scores.shape[1])


def collect(predictions, images, *, num_classes, score_threshold=1e-3,
            nms_iou=0.4, corloc=False, num_threads=0, most_waiting=128):
  """Reduces a stream of predictions to what metrics and plots need.

  With threads, the stream is drawn from while they work on what came before;
  results are the same.

  Args:
    predictions: iterable of `inference.Prediction`.
    images: list of `records.LabelledImage`, in the same order.
    num_classes: C.
    score_threshold: see `measure`.
    nms_iou: see `measure`.
    corloc: whether to count for CorLoc, if the model is a detector.
    num_threads: see `beside.mapped`.
    most_waiting: see `beside.mapped`.

  Returns:
    `Results`.
  """
  image_scores = np.zeros([len(images), num_classes], np.float32)
  counts = localization.CorLoc(num_classes) if corloc else None

  def reduce(numbered):
    row, prediction = numbered
    image_scores[row] = prediction.image_scores
    if prediction.boxes is None:
      return None
    if corloc:
      counts.add(prediction, images[row], row)
    return detection.detect(
        prediction.boxes, prediction.proposal_scores, score_threshold, nms_iou)

  with contextlib.closing(beside.mapped(
      reduce, enumerate(predictions), num_threads=num_threads,
      most_waiting=most_waiting)) as reduced:
    detections = None
    for found in reduced:
      if found is not None:
        if detections is None:
          detections = detection.sequence()
        detections.append(found)
  if detections is None and not images:
    detections = []
  return Results(images, image_scores, detections, counts)


def score(results, *, coco=False):
  """Computes the metrics of collected results.

  Args:
    results: `Results`.
    coco: whether to compute COCO's 12 metrics.

  Returns:
    Dict with `num_positive_images`, `classification`, `detection`, and
    `corloc` and `coco` if requested; see above.
  """
  images, num_classes = results.images, results.image_scores.shape[1]
  labels, known = classification.label_arrays(images, num_classes)
  num_positive = labels.sum(axis=0)                               # [C]
  frequent = num_positive >= FREQUENT
  above = classification.at_threshold(results.image_scores)
  best = classification.top_k(results.image_scores)
  metrics = {
      "num_positive_images": num_positive.tolist(),
      "classification": _averages(
          classification.curves(labels, known, results.image_scores),
          frequent),
      "detection": None,
  }
  for name, chosen in (("all", above), ("top3", best),
                       ("top3_at_0.5", best & above)):
    metrics["classification"][name] = _plain(
        classification.precision_recall_f1(labels, known, chosen))
  has_truth = any(image.truth is not None for image in images)
  if results.detections is not None and has_truth:
    metrics["detection"] = _averages(results.detection_curves, frequent)
    if results.corloc is not None:
      metrics["corloc"] = corloc_metrics(results.corloc)
    if coco:
      from kdwsd.evaluation import coco as coco_metrics  # pylint: disable=import-outside-toplevel
      metrics["coco"] = _plain(coco_metrics.twelve_numbers(
          results.detections, images, num_classes))
  return metrics


def corloc_metrics(corloc):
  """CorLoc per class, its means, and those of boxes that know no class.

  Args:
    corloc: `localization.CorLoc` of all images.

  Returns:
    Dict for JSON.
  """
  shares = corloc.shares()
  return {
      "corloc": _mean(shares),
      "corloc_frequent": _mean(shares[corloc.counted >= FREQUENT]),
      "per_class": [_plain(value) for value in shares],
      "baselines": {name: _mean(corloc.shares(name))
                    for name in localization.BASELINES},
      "kinds": corloc.kinds,
  }


def _averages(curves, frequent):
  averages, per_class = {}, {}
  of_classes = np.array(  # A curve may be large, and exists only once.
      [[function(curve) for _, function in _AVERAGES.values()]
       for curve in curves]).reshape(-1, len(_AVERAGES))          # [C, 3]
  for (mean_name, (name, _)), values in zip(
      _AVERAGES.items(), of_classes.T.copy()):                    # [C]
    averages[mean_name] = _mean(values)
    averages[mean_name + "_frequent"] = _mean(values[frequent])
    per_class[name] = [_plain(value) for value in values]
  averages["per_class"] = per_class
  return averages


def _mean(values):
  values = np.asarray(values)[~np.isnan(values)]
  return float(values.mean()) if values.size else None


def _plain(value):
  """NaN as None, NumPy numbers as Python's; also in dicts."""
  if isinstance(value, dict):
    return {key: _plain(inner) for key, inner in value.items()}
  return None if np.isnan(value) else float(value)
