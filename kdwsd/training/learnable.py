"""Checks before training that a stage can learn from the labels of a split."""

from kdwsd import errors
from kdwsd.data import label_counts


def check(stage, record_set):
  """Checks that a stage can learn some class, and warns of those it cannot.

  Args:
    stage: `wsd`, `cls`, `kd_feature` or `kd_prediction`.
    record_set: the `record_files.RecordSet` to train on.

  Raises:
    errors.InputError: the stage cannot learn any class.
  """
  classes = record_set.classes
  where = record_set.card_path
  if stage == "wsd" and len(classes) == 1:
    raise errors.InputError(
        f"{where}: expected two classes or more, because WSDDN's softmax over "
        "classes is constant, without a gradient, for one. Received: "
        f"{label_counts.names(classes, [True])}. Train --stage=cls, or convert "
        "the data with a second class, such as a background.")
  counts = label_counts.read(record_set)
  if counts is None or stage == "kd_feature":  # It does not use labels.
    return
  absent = counts.positive == 0
  if absent.all():
    raise errors.InputError(
        f"{where}: expected images with labels to train on. Received: none in "
        f"{record_set.num_images} images; check that the source and --classes "
        "use the same class names, and convert the data again.")
  everywhere = ~absent & (counts.negative == 0)
  for chosen, lack, outcome in (
      (absent, "positive", "never predicted"),
      (everywhere, "negative", "predicted for every image")):
    if chosen.any():
      label_counts.warn(
          f"{where}: {chosen.sum()} of {len(classes)} classes have no {lack} "
          f"image and will be {outcome}: "
          f"{label_counts.names(classes, chosen)}.")
