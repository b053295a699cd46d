"""Decoded images, the `memory` and `disk` caches of `input_pipeline`.

Both hold all images of a split, 3 bytes a pixel: those of MS-COCO take 75 GB.
"""

import contextlib
import glob
import os
import re
import shutil

from google.protobuf import message as protobuf
import tensorflow as tf

from kdwsd import errors
from kdwsd import literal_paths
from kdwsd import system_errors
from kdwsd.data import record_files


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


def check_memory(record_set):
  """Refuses to hold a split in memory that does not hold it.

  Args:
    record_set: a `record_files.RecordSet`.

  Raises:
    errors.InputError: the images take more than the machine's memory.
  """
  needed = num_bytes(record_set)
  try:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (AttributeError, ValueError, OSError):  # Not known on this system.
    return
  if needed > memory:
    raise errors.InputError(
        f"--cache=memory: expected memory for the decoded images of "
        f"{record_set.split}, about {needed / 1e9:.3g} GB. Received: a machine "
        f"with {memory / 1e9:.3g} GB; choose --cache=disk or --cache=none.")


def num_bytes(record_set):
  """About how many bytes the decoded images of a split take.

  Args:
    record_set: a `record_files.RecordSet`.

  Returns:
    The size of the first image of each shard, for all images; 0 if no record
    can be read, which reading the split will say.
  """
  sizes = []
  for path in record_set.paths:
    with contextlib.suppress(protobuf.DecodeError, IndexError):
      feature = tf.train.Example.FromString(
          record_files.first_record(path)).features.feature
      height, width = (feature[f"image/{side}"].int64_list.value[0]
                       for side in ("height", "width"))
      sizes.append(3 * height * width)
  return record_set.num_images * sum(sizes) / len(sizes) if sizes else 0


def prefix(directory, record_set, fingerprint, worker):
  """Path prefix of a cache; removes an incomplete one of a killed run.

  Args:
    directory: folder of the cache; created if missing.
    record_set: the `record_files.RecordSet` of the images.
    fingerprint: of the split, see `input_pipeline.fingerprint`.
    worker: index of the worker that keeps the cache.

  Returns:
    The prefix, as `tf.data.Dataset.cache` takes it.

  Raises:
    errors.InputError: no directory is given, or its disk has too little room.
  """
  if not directory:
    raise errors.InputError(
        "--cache=disk: expected a directory for the decoded images. "
        "Received: none.")
  # `literal` takes no [] in it.
  split = re.sub(r"\W", "_", record_set.split)
  path = os.path.join(directory, f"{split}-{fingerprint}-worker{worker}")
  os.makedirs(directory, exist_ok=True)
  if not _is_whole(path):
    for left_over in glob.glob(glob.escape(path) + "*"):
      os.remove(left_over)
    needed, free = num_bytes(record_set), shutil.disk_usage(directory).free
    if needed > free:
      raise errors.InputError(
          f"--cache=disk: {directory}: expected room for the decoded images of "
          f"{record_set.split}, about {needed / 1e9:.3g} GB. Received: "
          f"{free / 1e9:.3g} GB; choose --cache=none.")
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
