"""Where a run keeps its state, and how it is found again.

`WORKDIR/checkpoints/` holds the last few states, `WORKDIR/best/` the one with
the best validation figure. TensorFlow writes each under a temporary name and
lists it in the directory's `checkpoint` file only when it is whole.
"""

import glob
import os
import shutil
import tempfile

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import config as config_lib
from kdwsd.training import models

LAST = "checkpoints"
BEST = "best"

# What TensorFlow raises for a file cut short (IndexError), one of another
# model (AssertionError, ValueError), or anything else it cannot read.
_UNREADABLE = (tf.errors.OpError, AssertionError, IndexError, ValueError)


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
    for partial in glob.glob(os.path.join(glob.escape(directory), "*_temp")):
      shutil.rmtree(partial)  # Of a save that was cut off.
  else:
    directory = tempfile.mkdtemp(prefix="kdwsd-worker-")
  return tf.train.CheckpointManager(
      checkpoint, directory, max_to_keep=keep)


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
  state = tf.train.get_checkpoint_state(directory)
  if state is None:
    return None
  paths = list(state.all_model_checkpoint_paths)[::-1]
  problems = []
  for path in paths:
    try:
      checkpoint.restore(path).assert_existing_objects_matched()
    except _UNREADABLE as error:
      problems.append(f"{path}: {str(error).splitlines()[0]}")
      logging.warning("Checkpoint cannot be read, trying the one before. %s",
                      problems[-1])
      continue
    return path
  raise errors.InputError(
      f"{directory}: expected a checkpoint that fits this run. Received: "
      + "; ".join(problems))


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
    status = checkpoint.restore(path)
    status.expect_partial().assert_existing_objects_matched()
  except _UNREADABLE as error:
    raise errors.InputError(
        f"{path}: expected a checkpoint of the model in "
        f"{config_lib.path(workdir)}. Received: "
        f"{str(error).splitlines()[0]}") from error


def best_step(workdir):
  """Step of the best checkpoint, or of the last where none was validated."""
  return int(find(workdir, "best").rsplit("-", 1)[1])


def last_step(workdir):
  """Step of the last checkpoint; None where there is none."""
  path = tf.train.latest_checkpoint(os.path.join(workdir, LAST))
  return int(path.rsplit("-", 1)[1]) if path else None


def find(workdir, checkpoint):
  """Finds a checkpoint of a run.

  Args:
    workdir: of the run.
    checkpoint: `best` (falls back to `last` where no validation was made),
      `last`, or a checkpoint's path.

  Returns:
    The checkpoint's path without extension.

  Raises:
    errors.InputError: there is none.
  """
  for name, directories in (("best", (BEST, LAST)), ("last", (LAST,))):
    if checkpoint == name:
      for directory in directories:
        path = tf.train.latest_checkpoint(os.path.join(workdir, directory))
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
