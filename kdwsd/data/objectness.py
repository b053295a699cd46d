"""Checks that a split's proposal scores are usable as objectness factors."""

from absl import logging
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import tuning


def check(record_set, *, scale, bias, num_images=64):
  """Checks the factors of the first images, which multiply their features.

  The converter shuffles records, so the first ones are a fair sample.

  Args:
    record_set: a `record_files.RecordSet`.
    scale: `--score_scale`.
    bias: `--score_bias`.
    num_images: how many to look at.

  Raises:
    errors.InputError: all features would be multiplied by 0, or a record cannot
      be used.
  """
  factors = [np.zeros([0], np.float32)]
  dataset = tuning.untuned(
      tf.data.TFRecordDataset(list(record_set.paths)).take(num_images))
  with record_files.naming_faults(record_set):
    for serialized in dataset:
      scores = records.parse_for_training(serialized)["objectness"].numpy()
      factors.append(scale * scores + bias)
  factors = np.concatenate(factors)                               # [N]
  where = record_set.card_path
  if factors.size and not factors.any():
    raise errors.InputError(
        f"{where}: expected proposals for which --score_scale * score + "
        "--score_bias is not 0, as features are multiplied by it. Received: 0 "
        f"for all {factors.size} proposals of the first {num_images} images; "
        "where there are no scores to speak of, try --score_scale=0 "
        "--score_bias=1.")
  if (factors < 0).any():
    logging.warning(
        "%s: expected proposals for which --score_scale * score + --score_bias "
        "is 0 or more. Received: less for %.1f %% of them, least %.3g; their "
        "features are turned negative.", where, 100 * np.mean(factors < 0),
        factors.min())
