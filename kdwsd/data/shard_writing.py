"""Writes one shard of records, whole or not at all."""

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import system_errors
from kdwsd.data import cards
from kdwsd.data import records


def write(path, items, results, *, num_classes, problems, tick):
  """Writes a shard under a temporary name and renames it.

  Args:
    path: path of the shard; a file of this name is replaced.
    items: the `sources.Item`s of the shard, in order.
    results: iterator over the `preparation.Prepared` of the items, or the
      `errors.InputError` of an item that has none. Only as many are taken as
      there are items.
    num_classes: of the data set.
    problems: the `sources.Problems` that decides what happens to an error.
    tick: function without arguments to call after each item.

  Returns:
    The shard's `cards.Counts`, and a list with a line for each skipped item.

  Raises:
    errors.InputError: an item has an error and is not to be skipped, or the
      file cannot be written.
  """
  counts, skipped = cards.Counts.zeros(num_classes), []
  try:
    with files.atomic_path(path) as temporary:
      with tf.io.TFRecordWriter(temporary) as writer:
        for item in items:
          prepared = next(results)
          tick()
          if isinstance(prepared, errors.InputError):
            problems.add(prepared)
            skipped.append(" ".join(str(prepared).split()))
            continue
          counts.add_image(item, prepared)
          writer.write(records.serialize(_record(item, prepared)))
  except tf.errors.OpError as error:
    raise errors.InputError(
        f"{path}: expected to write the file. Received: "
        f"{system_errors.first_line(error)}."
    ) from error
  return counts, skipped


def _record(item, prepared):
  truth = None
  if prepared.truth is not None and prepared.truth.boxes is not None:
    objects, kept = item.objects, prepared.truth.kept
    truth = records.Truth(
        boxes=prepared.truth.boxes, class_ids=objects.class_ids[kept],
        difficult=objects.difficult[kept], crowd=objects.crowd[kept])
  return records.Record(
      image_id=item.image_id, encoded=prepared.encoded,
      height=prepared.height, width=prepared.width,
      label_ids=np.array(item.label_ids, np.int64),
      unknown_label_ids=np.array(item.unknown_label_ids, np.int64),
      proposal_boxes=prepared.boxes, proposal_scores=prepared.scores,
      truth=truth)
