"""The folder of a run: its layout, and the progress of the run.

    config.json        settings
    checkpoints/       the last few states: model, optimizer, step
    best/              weights of the best validation; figure.json, its metric.
                       Without validation: averaged weights of the last step,
                       if any
    unvalidated/       a newer state, from a run that was stopped before its
                       validation
    history.jsonl      one JSON object for each log line and validation
    loss.png           history.jsonl as a plot
    summaries/         for TensorBoard
    cache/             decoded images
    evaluation/SPLIT/  metrics, plots and predictions, see `summary.write`
    .lock              see `workdir_lock`

A run is fresh until `checkpoints/` has its first state. It is trained when the
last state is that of the last step, and done when it is also evaluated.
`repair` repairs files that a crash or a bad disk has damaged, before a run
resumes.
"""

import dataclasses
import glob
import os
import sys

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import literal_paths
from kdwsd import places
from kdwsd import system_errors
from kdwsd.evaluation import summary
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import history
from kdwsd.training import models
from kdwsd.training import workdir_lock


@dataclasses.dataclass(frozen=True)
class Progress:
  """Steps of the newest checkpoints of a run; -1 for none.

  Attributes:
    last: step of the newest one in `checkpoints/`.
    unvalidated: step of the one in `unvalidated/`.
    best: step of the one in `best/`.
    best_is_validated: whether the best one was chosen by its metric.
  """
  last: int
  unvalidated: int
  best: int
  best_is_validated: bool

  @property
  def is_fresh(self):
    """Whether the run has saved nothing yet."""
    return self.last < 0

  @property
  def validation_is_pending(self):
    """Whether a resumed run begins with an interrupted validation."""
    return self.unvalidated > self.last


def check(path):
  """Checks the path of a run, or of the runs of all stages.

  Raises:
    errors.InputError: it is not local.
  """
  places.check_local(
      path, "because a run is locked, resumed and repaired there; copy a "
      "finished one to an object store")


class RunFolder:
  """The work directory of one run; it need not exist.

  Attributes:
    path: path of the directory, as given.
    config_file: path.
    history_file: path; see `history`.
    loss_plot: path.
    checkpoints: directory.
    best: directory.
    best_figure: path of `best/figure.json`, which holds one number.
    unvalidated: directory.
    summaries: directory.
    cache: directory.
  """

  def __init__(self, path):
    self.path = os.fspath(path)
    check(self.path)
    self.config_file = config_lib.path(self.path)
    self.history_file = os.path.join(self.path, "history.jsonl")
    self.loss_plot = os.path.join(self.path, "loss.png")
    self.checkpoints = os.path.join(self.path, "checkpoints")
    self.best = os.path.join(self.path, "best")
    self.best_figure = os.path.join(self.best, "figure.json")
    self.unvalidated = os.path.join(self.path, "unvalidated")
    self.summaries = os.path.join(self.path, "summaries")
    self.cache = os.path.join(self.path, "cache")

  def evaluation(self, split):
    """Directory of the metrics on a split."""
    return summary.directory(self.path, split)

  def measured_splits(self):
    """Names of the splits with metrics, sorted."""
    paths = glob.glob(os.path.join(
        glob.escape(self.evaluation("")), "*", summary.METRICS))
    return sorted(os.path.basename(os.path.dirname(path)) for path in paths)

  def hold(self):
    """Keeps other processes from training here; see `workdir_lock.hold`."""
    return workdir_lock.hold(self.path)

  # What the run has written.

  def has_config(self):
    """Whether a run was started here."""
    return os.path.exists(self.config_file)

  def read_config(self):
    """Reads the run's `config.Config`; see `config.read`."""
    return config_lib.read(self.path)

  def read_history(self):
    """Reads the entries of the history; see `history.read`."""
    return history.read(self.history_file)

  def find(self, checkpoint="best"):
    """Finds a checkpoint of the run.

    Args:
      checkpoint: `best` (falls back to `last` if there is none), `last`, or a
        checkpoint's path.

    Returns:
      The checkpoint's path without extension.

    Raises:
      errors.InputError: no such checkpoint, or the best one has no files.
    """
    if checkpoint not in ("best", "last"):
      if not os.path.exists(checkpoint + ".index"):
        raise errors.InputError(
            "--checkpoint: expected best, last, or the path of a checkpoint "
            f"without its extension. Received: {checkpoint!r}.")
      return checkpoint
    best = checkpoints.listed(self.best) if checkpoint == "best" else []
    if best:
      if not os.path.exists(best[-1] + ".index"):
        raise errors.InputError(
            f"{best[-1]}: expected the run's best checkpoint. Received: no "
            "such file; --checkpoint=last takes the last one.")
      return best[-1]
    path = checkpoints.newest(self.checkpoints)
    if path is None:
      raise errors.InputError(
          f"{self.path}: expected a checkpoint under "
          f"{os.path.basename(self.checkpoints)}/. Received: none; the run has "
          "not saved one yet.")
    return path

  def load_model(self, checkpoint="best"):
    """Loads the trained model.

    Args:
      checkpoint: see `find`.

    Returns:
      (`wsddn.WSDDN` of stage wsd, else `student.Student`, with its weights;
      `config.Config`).

    Raises:
      errors.InputError: no such run or checkpoint, or one that does not fit.
    """
    config = self.read_config()
    path = self.find(checkpoint)
    model = models.build(config)
    self.restore(model, config, path)
    return model, config

  def restore(self, model, config, path):
    """Restores a model's weights from a checkpoint of this run.

    Args:
      model: model from `models.build`.
      config: `config.Config` that it was built from.
      path: path of the checkpoint, from `find`.

    Raises:
      errors.InputError: the checkpoint lacks some weights, or cannot be read.
    """
    checkpoint = tf.train.Checkpoint(model=models.as_saved(model, config))
    try:
      status = checkpoint.restore(literal_paths.literal(path))
      status.expect_partial().assert_existing_objects_matched()
    except checkpoints.UNREADABLE as error:
      if not checkpoints.exists(path):
        raise errors.InputError(
            f"{path}: expected a checkpoint. Received: no such files."
        ) from error
      if not checkpoints.is_readable(path):
        raise errors.InputError(
            f"{path}: expected an intact checkpoint. Received: a damaged file; "
            f"the command that trained {self.path} repairs it.") from error
      raise errors.InputError(
          f"{path}: expected a checkpoint of the model in {self.config_file}. "
          f"Received: {system_errors.first_line(error)}.") from error

  # The progress of the run.

  def progress(self):
    """Reads the run's `Progress`."""
    steps = [checkpoints.step_of(paths[-1]) if paths else -1 for paths in map(
        checkpoints.listed, (self.checkpoints, self.unvalidated, self.best))]
    value = self._best_value()
    # Orbit's NewBestMetric writes the lowest float before any validation.
    return Progress(*steps, best_is_validated=steps[-1] >= 0
                    and value is not None and value > -sys.float_info.max)

  def last_step(self):
    """Step of the last checkpoint; None if there is none."""
    path = checkpoints.newest(self.checkpoints)
    return checkpoints.step_of(path) if path else None

  def is_trained(self, train_steps):
    """Whether the run was trained to a step."""
    step = self.last_step()
    return self.has_config() and step is not None and step >= train_steps

  def is_done(self, train_steps, splits):
    """Whether the run was trained to a step, is intact and was evaluated.

    Args:
      train_steps: number of steps of the run.
      splits: names of the splits that it is evaluated on.
    """
    if not self.is_trained(train_steps):
      return False
    last, best = map(checkpoints.listed, (self.checkpoints, self.best))
    if self.read_config().ema_decay and not best:
      return False  # The averages are not saved yet.
    for paths in (last, best):
      if paths and not checkpoints.is_readable(paths[-1]):
        logging.warning(
            "%s is damaged; its stage resumes from an intact checkpoint.",
            paths[-1])
        return False
    return all(
        os.path.exists(os.path.join(self.evaluation(split), summary.METRICS))
        for split in splits)

  def repair(self, best_figure):
    """Repairs the small files that list the checkpoints; logs each repair.

    Checkpoints have checksums, and damaged ones are skipped on resuming.
    Without the small files, a run would start from scratch or fail although
    there are intact checkpoints.

    Args:
      best_figure: metric by which the run chooses its best checkpoint. If it
        has changed, the best checkpoint's value of the new metric is used.
    """
    checkpoints.mend_list(self.checkpoints)
    checkpoints.mend_list(self.best)
    paths = checkpoints.listed(self.best)
    if paths and not checkpoints.is_readable(paths[-1]):
      logging.warning(
          "%s: expected the run's best checkpoint. Received: a damaged or "
          "missing file; the search for the best starts again.", paths[-1])
      for path in [*glob.glob(os.path.join(glob.escape(self.best), "ckpt-*")),
                   os.path.join(self.best, "checkpoint"), self.best_figure]:
        if os.path.exists(path):
          os.remove(path)
    elif self._best_value() is None:
      self._mend_figure(best_figure, paths, "a damaged file" if os.path.exists(
          self.best_figure) else "no such file")
    elif self.has_config() and self.read_config().best_figure != best_figure:
      self._mend_figure(best_figure, paths, "that of another metric")

  def _mend_figure(self, name, paths, received):
    """Takes the best checkpoint's metric from the history, or removes it."""
    step = checkpoints.step_of(paths[-1]) if paths else None
    value = next((
        entry["figures"][name] for entry in self.read_history()
        if entry["step"] == step and name in entry.get("figures", ())), None)
    exists = os.path.exists(self.best_figure)
    if value is None and not exists:
      return  # A run without validation has no such file.
    logging.warning(
        "%s: expected the best %s so far. Received: %s; %s.",
        self.best_figure, name, received, "the search for the best starts again"
        if value is None else f"the history has {value}")
    if value is None:
      os.remove(self.best_figure)
    else:
      files.write_json(self.best_figure, value)

  def _best_value(self):
    """The number in `best_figure`; None if there is none."""
    try:
      value = files.read_json(self.best_figure)
    except errors.InputError:
      return None
    return value if isinstance(value, float) else None
