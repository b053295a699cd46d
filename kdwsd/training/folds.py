"""Teachers that have not seen the images they teach (cross-fitting).

A teacher knows the labels of its training images by heart, and its scores for
them say less than its scores for others. With folds, the training images are
cut into K parts, each of K teachers is trained without one of them, and the
student learns from the scores that each image has from the teacher that was
trained without it.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import places
from kdwsd.data import dealing
from kdwsd.data import label_counts
from kdwsd.data import records
from kdwsd.evaluation import device_batches
from kdwsd.training import config as config_lib
from kdwsd.training import run_folder
from kdwsd.training import teacher as teacher_lib
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics

# Settings that the runs of all folds have in common: the student's features are
# scaled by those of the first.
_SHARED = [
    name for name, declared in topics.CONFIG_SETTINGS.items()
    if declared.fixed in (setting.WEIGHTS, setting.TRAINED_FOR)
    and "wsd" in declared.stages and name not in ("folds", "left_out_fold")]


@dataclasses.dataclass(frozen=True)
class Teachers:
  """Teachers of K folds, of the same architecture.

  Attributes:
    members: list of `teacher.Teacher`; the k-th was trained without fold k.
    fold_of: [num_images] int64, the fold of each record of the split.
  """
  members: list
  fold_of: np.ndarray

  @property
  def model(self):
    """The first model: architecture and settings are those of all."""
    return self.members[0].model

  @property
  def config(self):
    """`config.Config` of the first run."""
    return self.members[0].config


class ByFold:
  """Computes each image of a batch by the teacher that has not seen it."""

  def __init__(self, functions, fold_of, num_rows):
    """Wraps functions.

    Args:
      functions: list of K functions of a batch, see `device_batches.Filled`.
      fold_of: see `Teachers`.
      num_rows: images in a call.
    """
    self._functions = [
        device_batches.Filled(function, num_rows, fill=device_batches.on_gpu())
        for function in functions]
    self._fold_of = fold_of

  def __call__(self, batch):
    """Computes a batch with `record_index` [B]; returns as the functions."""
    folds = self._fold_of[batch["record_index"].numpy()]          # [B]
    order, parts = [], []
    for fold in np.unique(folds):
      rows = np.flatnonzero(folds == fold)
      order.append(rows)
      parts.append(self._functions[fold](
          {name: tf.gather(values, rows) for name, values in batch.items()}))
    back = np.argsort(np.concatenate(order))                      # [B]
    return tf.nest.map_structure(
        lambda *values: tf.constant(np.concatenate(values)[back]), *parts)


def assign(record_set, num_folds):
  """Cuts the images of a split into folds with the same share of each class.

  Args:
    record_set: a `record_files.RecordSet`.
    num_folds: K.

  Returns:
    [num_images] int64 in [0, K), by the position of the record; see `dealing`
    for what stays together.

  Raises:
    errors.InputError: a fold would have no image.
  """
  return _deal(record_set, num_folds)[0]


def _deal(record_set, num_folds):
  """(what `assign` returns, the `records.LabelledImage` of the split)."""
  images = records.read_labelled_images(
      list(record_set.paths), len(record_set.classes))
  found = dealing.deal(
      dealing.groups_of([image.image_id for image in images]),
      [image.label_ids.tolist() for image in images],
      len(record_set.classes), [1 / num_folds] * num_folds)
  if len(np.unique(found)) < num_folds:
    raise errors.InputError(
        f"{record_set.card_path}: expected {num_folds} groups of images or "
        f"more, for as many folds. Received: {len(np.unique(found))}, of "
        f"{len(images)} images.")
  return found, images


def kept(record_set, config):
  """The images that a run trains on; warns of classes that they lack.

  Args:
    record_set: the training split.
    config: `config.Config`.

  Returns:
    [num_images] bool, or None for all.
  """
  if not config.folds:
    return None
  fold_of, images = _deal(record_set, config.folds)
  keep = fold_of != config.left_out_fold
  present = np.zeros([2, len(record_set.classes)], bool)  # In the rest, at all.
  for image, is_kept in zip(images, keep):
    present[:, image.label_ids] |= [[is_kept], [True]]
  lacking = present[1] & ~present[0]
  if lacking.any():
    label_counts.warn(
        f"{record_set.card_path}: fold {config.left_out_fold}, which this run "
        f"leaves out, has all images of {lacking.sum()} of {len(lacking)} "
        "classes; the run will never predict them: "
        f"{label_counts.names(record_set.classes, lacking)}.")
  return keep


def check_left_out(config):
  """Checks the fold that a teacher is trained without.

  Raises:
    errors.InputError: no such fold.
  """
  if config.folds == 1 or (
      config.left_out_fold >= max(config.folds, 1)):
    raise errors.InputError(
        "--folds and --left_out_fold: expected 2 folds or more, and one of "
        f"them, from 0. Received: {config.folds} and {config.left_out_fold}.")


def check(config):
  """Checks the teachers of a student, without loading them.

  Returns:
    List of the paths of their checkpoints.

  Raises:
    errors.InputError: outputs are not cached, a run is missing or is no
      teacher for these classes, the runs are of different models, or they have
      not left out each fold of the student's records once.
  """
  check_cached(config)
  paths, left_out, first = [], [], None
  for workdir in config.fold_teachers:
    paths.append(teacher_lib.check(
        workdir, config.teacher_checkpoint, config.classes,
        flag="--fold_teachers"))
    of_run = run_folder.RunFolder(workdir).read_config()
    if _records(of_run) != _records(config):
      raise errors.InputError(
          f"--fold_teachers: {workdir}: expected a teacher of folds of the "
          f"student's records, {' '.join(_records(config))}. Received: one of "
          f"{' '.join(_records(of_run))}.")
    first = first or of_run
    different = config_lib.differences(first, of_run, _SHARED)
    if different:
      raise errors.InputError(
          f"--fold_teachers: {workdir}: expected the model of "
          f"{config.fold_teachers[0]}. Received: {different}.")
    left_out.append((of_run.left_out_fold, of_run.folds))
  number = max(first.folds, len(left_out))
  wanted = [(fold, number) for fold in range(number)]
  if left_out != wanted:
    raise errors.InputError(
        "--fold_teachers: expected one run for each fold, in order: "
        f"{_named(wanted)}. Received: {_named(left_out)}.")
  return paths


def check_cached(config):
  """Checks that the outputs of several teachers are cached.

  Raises:
    errors.InputError: they are not; no step runs several teachers.
  """
  cached = (config.teacher_cache == "on" or (
      config.teacher_cache == "auto" and config.stage == "kd_prediction"))
  if not cached or config.teacher_dropout:
    raise errors.InputError(
        "--fold_teachers: expected cached outputs in each stage of "
        "distillation: --teacher_cache=on --noteacher_dropout. Received: "
        f"--teacher_cache={config.teacher_cache}"
        f"{' --teacher_dropout' * config.teacher_dropout} in stage "
        f"{config.stage}.")


def load(config, record_set):
  """Loads what a student learns from.

  Args:
    config: `config.Config` of a stage of distillation.
    record_set: its training split.

  Returns:
    A `teacher.Teacher`, or `Teachers` where `--fold_teachers` names some.

  Raises:
    errors.InputError: see `check` and `teacher.load`.
  """
  if not config.fold_teachers:
    return teacher_lib.load(
        config.teacher, config.teacher_checkpoint, config.classes)
  paths = check(config)
  return Teachers(
      [teacher_lib.load(workdir, path, config.classes)
       for workdir, path in zip(config.fold_teachers, paths)],
      assign(record_set, len(paths)))


def _records(config):
  return places.realpath(config.data), config.train_split


def _named(left_out):
  return ", ".join(f"{fold} of {number}" for fold, number in left_out)
