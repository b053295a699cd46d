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
from kdwsd.modeling import wsddn
from kdwsd.training import config as config_lib

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
    checkpoint: `best` (falls back to `last` where no validation was made),
      `last`, or a checkpoint's path.

  Returns:
    (`wsddn.WSDDN` with its weights, `config.Config`).

  Raises:
    errors.InputError: no such run or checkpoint, or one that does not fit.
  """
  config = config_lib.read(workdir)
  path = _find(workdir, checkpoint)
  model = wsddn.build(model_config(config))
  try:
    status = tf.train.Checkpoint(model=model).restore(path)
    status.expect_partial().assert_existing_objects_matched()
  except _UNREADABLE as error:
    raise errors.InputError(
        f"{path}: expected a checkpoint of the model in "
        f"{config_lib.path(workdir)}. Received: "
        f"{str(error).splitlines()[0]}") from error
  return model, config


def best_step(workdir):
  """Step of the best checkpoint, or of the last where none was validated."""
  return int(_find(workdir, "best").rsplit("-", 1)[1])


def model_config(config):
  """The teacher's part of a run's config."""
  return wsddn.WSDDNConfig(
      num_classes=len(config.classes),
      backbone=config.backbone,
      backbone_width=config.backbone_width,
      fc_units=config.fc_units,
      dropout_rate=config.dropout_rate,
      roi_pooling=config.roi_pooling,
      score_scale=config.score_scale,
      score_bias=config.score_bias,
      class_temperature=config.class_temperature,
      detection_temperature=config.detection_temperature,
      frozen_stages=config.frozen_stages,
      seed=config.seed)


def _find(workdir, checkpoint):
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
