"""Where a run keeps its state, and how it is found again.

`WORKDIR/checkpoints/` holds the last few states, `WORKDIR/best/` the one with
the best validation figure. TensorFlow writes each under a temporary name and
lists it in the directory's `checkpoint` file only when it is whole. Where that
list cannot be read, the files that are there count (`repair` writes it anew).
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
from kdwsd import literal_paths
from kdwsd import system_errors
from kdwsd.training import config as config_lib
from kdwsd.training import models

LAST = "checkpoints"
BEST = "best"

# What TensorFlow raises for a file cut short (IndexError), one of another
# model (AssertionError, ValueError), or anything else it cannot read.
_UNREADABLE = (tf.errors.OpError, AssertionError, IndexError, RuntimeError,
               ValueError)

_NAME = re.compile(r"ckpt-(\d+)$")


class _Manager(tf.train.CheckpointManager):
  """Says in one line why it cannot save, and leaves nothing half-written."""

  def save(self, checkpoint_number=None, check_interval=True, options=None):
    """See `tf.train.CheckpointManager`.

    Raises:
      errors.InputError: the system has no room, or does not allow it.
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


def make_manager(checkpoint, directory, *, keep, chief=True):
  """Makes a checkpoint manager.

  Args:
    checkpoint: `tf.train.Checkpoint`.
    directory: where to keep the files.
    keep: number of checkpoints to keep.
    chief: False on all workers but the first: they take part in saving, as
      TensorFlow demands, into a place of their own.

  Returns:
    `tf.train.CheckpointManager`.
  """
  if chief:
    os.makedirs(directory, exist_ok=True)
    _remove_partial(directory)
  else:
    directory = tempfile.mkdtemp(prefix="kdwsd-worker-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
  # It removes old files by pattern: not those of `run1` for a run `run[12]`.
  return _Manager(checkpoint, literal_paths.literal(directory),
                  max_to_keep=keep)


def restore_latest(checkpoint, directory):
  """Restores the newest checkpoint that can be read.

  Args:
    checkpoint: `tf.train.Checkpoint` whose variables exist.
    directory: of the checkpoints.

  Returns:
    The path restored, None where there is no checkpoint.

  Raises:
    errors.InputError: there are checkpoints, but none can be read.
  """
  paths = listed(directory)
  if not paths:
    return None
  problems = []
  for path in paths[::-1]:
    try:
      if not _are_there(path):
        raise ValueError("no such files.")
      checkpoint.restore(
          literal_paths.literal(path)).assert_existing_objects_matched()
    except _UNREADABLE as error:
      problems.append(f"{path}: {system_errors.first_line(error)}")
      logging.warning("Checkpoint cannot be read, trying the one before. %s",
                      problems[-1])
      continue
    return path
  raise errors.InputError(
      f"{directory}: expected a checkpoint that fits this run. Received: "
      + "; ".join(problems) + ". Nothing was changed there; in another "
      "--workdir the run begins anew.")


def listed(directory):
  """The checkpoints of a directory.

  Args:
    directory: of checkpoints; it need not be there.

  Returns:
    Paths without extension, oldest first: those that TensorFlow's list names,
    whether or not they are there; without a list that can be read, those that
    are there.
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


def read_list(directory):
  """TensorFlow's list of the checkpoints of a directory.

  Returns:
    A `CheckpointState`, or None where there is none that can be read.
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
  """Whether a checkpoint is there and all its checksums are right.

  Args:
    path: without extension.

  Raises:
    errors.InputError: the system does not let it be read, so that nobody can
      tell.
  """
  if not _are_there(path):
    return False
  try:
    reader = tf.train.load_checkpoint(literal_paths.literal(path))
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except _UNREADABLE:
    return False
  return True


def _are_there(path):
  """Whether the files of a checkpoint are there.

  Raises:
    errors.InputError: the system does not let them be read.
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
  """The step that a checkpoint's name tells."""
  return int(_NAME.search(path).group(1))


def load_model(workdir, checkpoint="best"):
  """Loads the trained model of a run.

  Args:
    workdir: of the run.
    checkpoint: see `find`.

  Returns:
    (`wsddn.WSDDN` of stage wsd, else `student.Student`, with its weights;
    `config.Config`).

  Raises:
    errors.InputError: no such run or checkpoint, or one that does not fit.
  """
  config = config_lib.read(workdir)
  path = find(workdir, checkpoint)
  model = models.build(config)
  restore(tf.train.Checkpoint(model=models.as_saved(model, config)), path,
          workdir)
  return model, config


def restore(checkpoint, path, workdir):
  """Restores part of a run's checkpoint, all of what is asked for.

  Args:
    checkpoint: `tf.train.Checkpoint` of what to restore.
    path: of the run's checkpoint.
    workdir: of the run, for the message.

  Raises:
    errors.InputError: the checkpoint lacks some of it, or cannot be read.
  """
  try:
    status = checkpoint.restore(literal_paths.literal(path))
    status.expect_partial().assert_existing_objects_matched()
  except _UNREADABLE as error:
    if not _are_there(path):
      raise errors.InputError(
          f"{path}: expected a checkpoint. Received: no such files.") from error
    if not is_readable(path):
      raise errors.InputError(
          f"{path}: expected a whole checkpoint. Received: a damaged file; the "
          f"command that trained {workdir} puts it right.") from error
    raise errors.InputError(
        f"{path}: expected a checkpoint of the model in "
        f"{config_lib.path(workdir)}. Received: "
        f"{system_errors.first_line(error)}.") from error


def best_step(workdir):
  """Step of the best checkpoint, or of the last where none was validated."""
  return step_of(find(workdir, "best"))


def last_step(workdir):
  """Step of the last checkpoint; None where there is none."""
  path = _newest(os.path.join(workdir, LAST))
  return step_of(path) if path else None


def find(workdir, checkpoint):
  """Finds a checkpoint of a run.

  Args:
    workdir: of the run.
    checkpoint: `best` (falls back to `last` where no validation was made),
      `last`, or a checkpoint's path.

  Returns:
    The checkpoint's path without extension.

  Raises:
    errors.InputError: there is none, or the best one is gone.
  """
  for name, directories in (("best", (BEST, LAST)), ("last", (LAST,))):
    if checkpoint == name:
      for directory in directories:
        paths = listed(os.path.join(workdir, directory))
        path = _newest(os.path.join(workdir, directory))
        if paths and directory == BEST and path != paths[-1]:
          raise errors.InputError(
              f"{paths[-1]}: expected the run's best checkpoint. Received: no "
              f"such file; --checkpoint=last takes the last one.")
        if path:
          return path
      raise errors.InputError(
          f"{workdir}: expected a checkpoint under {LAST}/. Received: none; "
          "the run has not saved one yet.")
  if not os.path.exists(checkpoint + ".index"):
    raise errors.InputError(
        "--checkpoint: expected best, last, or the path of a checkpoint "
        f"without its extension. Received: {checkpoint!r}.")
  return checkpoint


def _newest(directory):
  """The newest checkpoint whose files are there, or None."""
  for path in listed(directory)[::-1]:
    if os.path.exists(path + ".index"):
      return path
    logging.warning("%s is gone; looking for the one before.", path)
  return None


def _remove_partial(directory):
  """Removes what a save left that was cut off."""
  for partial in glob.glob(os.path.join(glob.escape(directory), "*_temp")):
    shutil.rmtree(partial, ignore_errors=True)
  for name in ("checkpoint.tmp*", "figure.json.tmp*"):
    for partial in glob.glob(os.path.join(glob.escape(directory), name)):
      os.remove(partial)
