"""Decoded images on disk: the `disk` cache of `input_pipeline`."""

import contextlib
import glob
import os
import re

import tensorflow as tf

from kdwsd import errors
from kdwsd import literal_paths
from kdwsd import system_errors


@contextlib.contextmanager
def mended(directory):
  """Removes a damaged disk cache, so that the same command rebuilds it.

  Enter `record_files.naming_faults` within it: damage that is not in the
  records is in the cache.

  Args:
    directory: `cache_directory` of `input_pipeline.training_batches`.

  Yields:
    None.

  Raises:
    errors.InputError: the cache was damaged; it has been removed.
  """
  try:
    yield
  except tf.errors.DataLossError as error:
    for path in glob.glob(os.path.join(glob.escape(directory), "*")):
      os.remove(path)
    raise errors.InputError(
        f"{directory}: expected the decoded images as they were written. "
        f"Received: damage, {system_errors.first_line(error)}; they have been "
        "removed, and the same command rebuilds them.") from error


def prefix(directory, split, fingerprint, worker):
  """Path prefix of a cache; removes an incomplete one of a killed run.

  Args:
    directory: folder of the cache; created if missing.
    split: name of the split.
    fingerprint: of the split, see `input_pipeline.fingerprint`.
    worker: index of the worker that keeps the cache.

  Returns:
    The prefix, as `tf.data.Dataset.cache` takes it.

  Raises:
    errors.InputError: no directory is given.
  """
  if not directory:
    raise errors.InputError(
        "--cache=disk: expected a directory for the decoded images. "
        "Received: none.")
  split = re.sub(r"\W", "_", split)  # `literal` takes no [] in it.
  path = os.path.join(directory, f"{split}-{fingerprint}-worker{worker}")
  os.makedirs(directory, exist_ok=True)
  if not _is_whole(path):
    for left_over in glob.glob(glob.escape(path) + "*"):
      os.remove(left_over)
  return literal_paths.literal(path)


def _is_whole(path):
  """Whether a cache has an index, which TensorFlow writes last."""
  if not os.path.exists(path + ".index"):
    return False
  try:
    # A cache has a checkpoint's format.
    tf.train.load_checkpoint(literal_paths.literal(path))
  except (tf.errors.OpError, ValueError, IndexError):
    return False
  return True
