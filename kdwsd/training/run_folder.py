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
    cache/             decoded images; of an object store, see `machine_caches`
    evaluation/SPLIT/  metrics, plots and predictions, see `summary.write`
    .lock              see `workdir_lock`

A run is fresh until `checkpoints/` has its first state. It is trained when the
last state is that of the last step, and done when it is also evaluated.
`run_repairs` repairs files that a crash or a bad disk has damaged, before a run
resumes. The files of a folder on an object store are those of its copy, see
`copied_run`; `store` uploads them.
"""

import contextlib
import dataclasses
import glob
import os
import sys

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import literal_paths
from kdwsd import machine_caches
from kdwsd import system_errors
from kdwsd.evaluation import summary
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import history
from kdwsd.training import models
from kdwsd.training import run_copies
from kdwsd.training import run_repairs


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


class RunFolder:
  """The work directory of one run; it need not exist.

  Attributes:
    path: path of the directory, as given.
    directory: local path of its files: `path`, or that of a copy.
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
    self._copy, self._below = run_copies.find(self.path)
    if self._copy:
      self._copy.refresh(self._below)
    self.directory = (
        self._copy.path(self._below) if self._copy else self.path)
    self.config_file = config_lib.path(self.directory)
    self.history_file = os.path.join(self.directory, "history.jsonl")
    self.loss_plot = os.path.join(self.directory, "loss.png")
    self.checkpoints = os.path.join(self.directory, "checkpoints")
    self.best = os.path.join(self.directory, "best")
    self.best_figure = os.path.join(self.best, "figure.json")
    self.unvalidated = os.path.join(self.directory, "unvalidated")
    self.summaries = os.path.join(self.directory, "summaries")
    self.cache = os.path.join(machine_caches.folder(self.path), "cache")

  def evaluation(self, split):
    """Directory of the metrics on a split."""
    return summary.directory(self.directory, split)

  def measured_splits(self):
    """Names of the splits with metrics, sorted."""
    paths = glob.glob(os.path.join(
        glob.escape(self.evaluation("")), "*", summary.METRICS))
    return sorted(os.path.basename(os.path.dirname(path)) for path in paths)

  @contextlib.contextmanager
  def hold(self):
    """Keeps other processes from training here; see `run_copies.hold`."""
    with run_copies.hold(self.path):
      self._fetch_states()
      for directory in (self.checkpoints, self.best) if self._copy else ():
        for path in checkpoints.unlisted(directory):
          os.remove(path)  # In the store, too, by the next `store`.
      yield

  def store(self):
    """Uploads what has changed, if this is the copy of a remote folder."""
    if self._copy:
      self._copy.store(self._below)

  def named(self, path):
    """The path of a file for messages: as given, not that of its copy."""
    return self._copy.named(path) if self._copy else path

  def _naming(self):
    return self._copy.naming() if self._copy else contextlib.nullcontext()

  def _fetch(self, path):
    """Fetches the data of a checkpoint in the copy, and returns its path."""
    if self._copy:
      start = os.path.relpath(path, self.directory) + ".data-"
      self._copy.fetch(os.path.join(self._below, start))
    return path

  def _fetch_states(self):
    """Fetches what a run resumes from."""
    if not self._copy:
      return
    for directory in (self.checkpoints, self.unvalidated, self.best):
      if checkpoints.read_list(directory) is None:  # None, or it is damaged.
        self._copy.fetch(os.path.join(
            self._below, os.path.relpath(directory, self.directory), ""))
      for path in checkpoints.listed(directory)[::-1]:
        if checkpoints.is_readable(self._fetch(path)):
          break

  # What the run has written.

  def has_config(self):
    """Whether a run was started here."""
    return os.path.exists(self.config_file)

  def read_config(self):
    """Reads the run's `config.Config`; see `config.read`."""
    with self._naming():
      return config_lib.read(self.directory)

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
    with self._naming():
      return self._fetch(self._find(checkpoint))

  def _find(self, checkpoint):
    if checkpoint not in ("best", "last"):
      if checkpoint.startswith(self.path + "/"):
        checkpoint = self.directory + checkpoint[len(self.path):]
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
    with self._naming():
      self._restore(model, config, path)

  def _restore(self, model, config, path):
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
    """Reads the run's `Progress`; what it resumes from is then at hand."""
    if self._copy and not self._copy.is_held:  # Another worker trains there.
      self._copy.refresh(self._below)
      self._fetch_states()
    steps = [checkpoints.step_of(paths[-1]) if paths else -1 for paths in map(
        checkpoints.listed, (self.checkpoints, self.unvalidated, self.best))]
    value = self.best_value()
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
      if paths and not checkpoints.is_readable(self._fetch(paths[-1])):
        logging.warning(
            "%s is damaged; its stage resumes from an intact checkpoint.",
            paths[-1])
        return False
    return all(
        os.path.exists(os.path.join(self.evaluation(split), summary.METRICS))
        for split in splits)

  def repair(self, best_figure):
    """Repairs files that list the checkpoints; see `run_repairs.repair`."""
    run_repairs.repair(self, best_figure)

  def best_value(self):
    """The number in `best_figure`; None if there is none."""
    try:
      value = files.read_json(self.best_figure)
    except errors.InputError:
      return None
    return value if isinstance(value, float) else None
