"""Which metrics a split supports, according to its card."""

from kdwsd import errors
from kdwsd.data import label_counts
from kdwsd.evaluation import metrics

_COUNTED = ("all", "top3", "top3_at_0.5")
_COUNTS = ("C-P", "C-R", "C-F1", "C-F1_mean", "O-P", "O-R", "O-F1")


def figures(*, detector):
  """Names of the metrics that a validation can compute; see `metrics`."""
  names = []
  for group in ("classification",) + ("detection",) * detector:
    for mean in metrics.MEANS:
      names += [f"{group}/{mean}", f"{group}/{mean}_frequent"]
  return names + [f"classification/{labels}/{count}"
                  for labels in _COUNTED for count in _COUNTS]


def check_figure(name, record_set, *, detector):
  """Checks that a split supports the metric that selects the best checkpoint.

  Args:
    name: name of the metric, `--best_figure`.
    record_set: the `record_files.RecordSet` of the validation.
    detector: whether the model is a detector.

  Raises:
    errors.InputError: no such metric, or the split lacks the labels or boxes
      for it.
  """
  known = figures(detector=detector)
  if name not in known:
    raise errors.InputError(
        f"--best_figure: expected one of {', '.join(known)}. Received: "
        f"{name!r}.")
  counts = label_counts.read(record_set)
  if counts is None:
    return
  ways_out = (" Choose another --eval_split or --best_figure, or disable "
              "validation: --eval_split=''.")
  if name.startswith("detection/"):
    if not counts.num_objects:
      raise errors.InputError(
          f"{counts.where}: expected boxes, which --best_figure={name} "
          f"needs. Received: none.{ways_out}")
  elif not counts.positive.any():
    raise errors.InputError(
        f"{counts.where}: expected images with labels, which --best_figure="
        f"{name} needs. Received: none in {record_set.num_images} "
        f"images.{ways_out}")
  most = counts.positive.max()
  if name.endswith("_frequent") and most < metrics.FREQUENT:
    raise errors.InputError(
        f"{counts.where}: expected a class with {metrics.FREQUENT} images or "
        f"more, because --best_figure={name} averages over these. Received: "
        f"{most} at most.{ways_out}")


def log_limits(record_set, *, detector):
  """Logs which metrics a split does not support.

  Args:
    record_set: a `record_files.RecordSet`.
    detector: whether the model is a detector.
  """
  counts = label_counts.read(record_set)
  if counts is None:
    return
  absent = counts.positive == 0
  if absent.all():
    label_counts.warn(f"{counts.where}: no image has a label: classification "
                      "is not measured.")
  elif absent.any():
    label_counts.warn(
        f"{counts.where}: {absent.sum()} of {len(absent)} classes have no "
        "positive image and are excluded from the means: "
        f"{label_counts.names(counts.classes, absent)}.")
  if detector and not counts.num_objects:
    label_counts.warn(
        f"{counts.where}: no boxes: detection is not measured.")
