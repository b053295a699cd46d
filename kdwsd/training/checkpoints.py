"""TensorFlow checkpoints in a directory: saving, listing, reading, repairing.

TensorFlow writes each checkpoint under a temporary name and, when it is
complete, adds it to its list, the file `checkpoint` in the directory. If the
list cannot be read, the files in the directory are used (`mend_list` rewrites
it).
"""

import atexit
import glob
import os
import re
import shutil
import tempfile

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import literal_paths
from kdwsd import system_errors

# Errors of TensorFlow for a truncated file (IndexError), a checkpoint of
# another model (AssertionError, ValueError), or anything else unreadable.
UNREADABLE = (tf.errors.OpError, AssertionError, IndexError, RuntimeError,
              ValueError)

_NAME = re.compile(r"ckpt-(\d+)$")


class _Manager(tf.train.CheckpointManager):
  """Reports a failure to save in one line, and leaves no partial files."""

  def save(self, checkpoint_number=None, check_interval=True, options=None):
    """See `tf.train.CheckpointManager`.

    Raises:
      errors.InputError: the disk is full, or the system refuses to write.
    """
    try:
      return super().save(checkpoint_number, check_interval, options)
    except tf.errors.OpError as error:
      _remove_partial(self.directory)
      found = system_errors.read(error)
      if not found:
        raise
      raise errors.InputError(system_errors.message(
          literal_paths.named(self.directory), found[1])) from error


class _Discarding(_Manager):
  """Saves for the sake of the other workers and keeps no files.

  A stopped worker does not wait for its threads, nor for the removal of what it
  has written elsewhere: up to `keep` checkpoints of a gigabyte each time.
  """

  def save(self, *args, **kwargs):
    """See `_Manager`; the files are gone when it returns."""
    path = super().save(*args, **kwargs)
    for name in glob.glob(path + ".*"):  # Its name is literal already.
      os.remove(name)
    return path


def make_manager(checkpoint, directory, *, keep, chief=True):
  """Makes a checkpoint manager.

  Args:
    checkpoint: `tf.train.Checkpoint`.
    directory: directory of the checkpoints.
    keep: number of checkpoints to keep.
    chief: False on all workers but the first: they take part in saving, as
      TensorFlow requires, into a temporary directory of their own.

  Returns:
    `tf.train.CheckpointManager`.
  """
  if chief:
    os.makedirs(directory, exist_ok=True)
    _remove_partial(directory)
  else:
    directory = tempfile.mkdtemp(prefix="kdwsd-worker-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
  # It removes old files by pattern: for a run `run[12]` not those of `run1`.
  kind = _Manager if chief else _Discarding
  return kind(checkpoint, literal_paths.literal(directory), max_to_keep=keep)


def restore_latest(checkpoint, directory):
  """Restores the newest checkpoint that can be read.

  Args:
    checkpoint: `tf.train.Checkpoint` whose variables exist.
    directory: directory of the checkpoints.

  Returns:
    Path of the restored checkpoint; None if there is none.

  Raises:
    errors.InputError: there are checkpoints, but none can be read.
  """
  paths = listed(directory)
  if not paths:
    return None
  problems = []
  for path in paths[::-1]:
    try:
      if not exists(path):
        raise ValueError("no such files.")
      checkpoint.restore(
          literal_paths.literal(path)).assert_existing_objects_matched()
    except UNREADABLE as error:
      problems.append(f"{path}: {system_errors.first_line(error)}")
      logging.warning("Checkpoint cannot be read; trying the previous one. %s",
                      problems[-1])
      continue
    return path
  raise errors.InputError(
      f"{directory}: expected a checkpoint that fits this run. Received: "
      + "; ".join(problems) + ". Nothing was changed there; with another "
      "--workdir the run starts from scratch.")


def listed(directory):
  """Lists the checkpoints of a directory.

  Args:
    directory: directory of checkpoints; it need not exist.

  Returns:
    Paths without extension, oldest first: those in TensorFlow's list, whether
    or not their files exist; if the list cannot be read, those with files.
  """
  state = read_list(directory)
  if state is not None:
    return list(state.all_model_checkpoint_paths)
  paths = []
  for index in glob.glob(os.path.join(glob.escape(directory), "*.index")):
    path = index[:-len(".index")]
    # The index comes last, so the data is whole.
    if _NAME.search(path) and glob.glob(glob.escape(path) + ".data-*"):
      paths.append(path)
  return sorted(paths, key=step_of)


def unlisted(directory):
  """Files of checkpoints that are not in TensorFlow's list; none without one.

  A killed process leaves them: of a checkpoint that was not complete yet, or of
  one that was no longer needed.
  """
  state = read_list(directory)
  if state is None:
    return []
  stems = set(map(os.path.basename, state.all_model_checkpoint_paths))
  return [path for path in glob.glob(
      os.path.join(glob.escape(directory), "ckpt-*"))
          if os.path.basename(path).split(".")[0] not in stems]


def read_list(directory):
  """TensorFlow's list of the checkpoints of a directory.

  Returns:
    A `CheckpointState`, or None if there is no readable list.
  """
  try:
    state = tf.train.get_checkpoint_state(directory)
  except ValueError:  # Empty, or no text.
    return None
  if state is None or not state.all_model_checkpoint_paths or not all(
      map(_NAME.search, state.all_model_checkpoint_paths)):
    return None
  return state


def is_readable(path):
  """Whether a checkpoint exists and all its checksums are right.

  Args:
    path: without extension.

  Raises:
    errors.InputError: the system refuses to read it.
  """
  if not exists(path):
    return False
  try:
    reader = tf.train.load_checkpoint(literal_paths.literal(path))
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except UNREADABLE:
    return False
  return True


def exists(path):
  """Whether the files of a checkpoint exist.

  Raises:
    errors.InputError: the system refuses to read them.
  """
  data = glob.glob(glob.escape(path) + ".data-*")
  try:
    for name in [path + ".index", *data]:
      with open(name, "rb") as file:
        file.read(1)
  except FileNotFoundError:
    return False
  except OSError as error:
    raise errors.InputError(
        system_errors.message(error.filename or path, error.strerror)
    ) from error
  return bool(data)


def step_of(path):
  """The step in a checkpoint's name."""
  return int(_NAME.search(path).group(1))


def newest(directory):
  """The newest checkpoint of a directory whose files exist, or None."""
  for path in listed(directory)[::-1]:
    if os.path.exists(path + ".index"):
      return path
    logging.warning("%s is missing; looking for the previous one.", path)
  return None


def mend_list(directory):
  """Rewrites TensorFlow's list of checkpoints if it cannot be read."""
  path = os.path.join(directory, "checkpoint")
  paths = listed(directory)
  found = os.path.exists(path)
  if read_list(directory) is not None or not (found or paths):
    return
  logging.warning(
      "%s: expected TensorFlow's list of checkpoints. Received: %s; it is "
      "rewritten from the files beside it: %s.", path,
      "a damaged file" if found else "none",
      ", ".join(map(os.path.basename, paths)) or "none")
  if not paths:
    os.remove(path)
    return
  # With timestamps, because CheckpointManager ignores checkpoints without one.
  files.write_text(path, "".join(
      [f'model_checkpoint_path: "{os.path.basename(paths[-1])}"\n']
      + [f'all_model_checkpoint_paths: "{os.path.basename(p)}"\n'
         for p in paths]
      + [f"all_model_checkpoint_timestamps: {os.path.getmtime(p + '.index')}\n"
         for p in paths]
      + ["last_preserved_timestamp: 0\n"]))


def _remove_partial(directory):
  """Removes what a killed save left."""
  for partial in glob.glob(os.path.join(glob.escape(directory), "*_temp")):
    shutil.rmtree(partial, ignore_errors=True)
  for name in ("checkpoint.tmp*", "figure.json.tmp*"):
    for partial in glob.glob(os.path.join(glob.escape(directory), name)):
      os.remove(partial)
