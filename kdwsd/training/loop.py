"""The outer loop, on Orbit: checkpoints, validation and log of any stage.

Log lines are written and checkpoints saved at multiples of their intervals, for
resumed runs, too, and checkpoints at a log line where steps are slow. An
interrupted run saves after the current step. While a validation is due or in
progress, which may take longer than the steps before it, the state is in
`unvalidated/`; a run that ends then resumes with it.
"""

import contextlib
import dataclasses
import os
import shutil
import time

from absl import logging
import orbit
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import checkpoints
from kdwsd.training import history
from kdwsd.training import loop_log
from kdwsd.training import optimizers
from kdwsd.training import run_folder
from kdwsd.training import strategies
from kdwsd.training import workers

# Seconds. A preemptible machine does not wait for a step of a minute, so slow
# steps may not be all lost that a checkpoint interval has.
_LONGEST_UNSAVED = 600.0

_UNVALIDATED = ", before it was validated,"


class OuterLoop:
  """Trains a run to its last step, from scratch or from its last checkpoint.

  All workers run the loop and take part in saving and validation; only the
  first worker, the chief, writes to the run's folder.
  """

  def __init__(self, *,
               # What is trained.
               make_trainer, strategy, model, variables, optimizer, global_step,
               initialize,
               # How long, and what is logged and saved on the way.
               folder, train_steps, global_batch_size, steps_per_loop,
               checkpoint_interval, keep_checkpoints,
               # How it is validated.
               evaluate, eval_interval, best_figure, plateau=None):
    """Makes the loop; nothing is read or written yet.

    Args:
      make_trainer: function of the first step that returns an
        `inner_loop.Trainer`.
      strategy: `tf.distribute.Strategy` of the trainer.
      model: trackable that checkpoints save under `model`.
      variables: list of the trained variables.
      optimizer: optimizer of the trainer. If it averages weights, the averages
        are validated and saved in the best checkpoint.
      global_step: variable that counts steps.
      initialize: function without arguments that sets the initial weights of a
        new run; not called on resuming.
      folder: `run_folder.RunFolder`.
      train_steps: step at which to stop.
      global_batch_size: images per step.
      steps_per_loop: steps between log lines.
      checkpoint_interval: steps between checkpoints.
      keep_checkpoints: how many of the last checkpoints to keep.
      evaluate: function without arguments that returns a dictionary of
        validation metrics and may write images to `tf.summary`; or None.
      eval_interval: steps between validations; 0 for only one, at the end.
      best_figure: name of the metric by which the best checkpoint is chosen.
      plateau: schedule whose `update` gets `best_figure` of each validation.
    """
    self._make_trainer = make_trainer
    self._strategy = strategy
    self._chief = strategies.is_chief(strategy)
    self._model = model
    self._variables = variables
    self._optimizer = optimizer
    self._global_step = global_step
    self._initialize = initialize

    self._folder = folder
    self._train_steps = train_steps
    self._global_batch_size = global_batch_size
    self._steps_per_loop = steps_per_loop
    self._checkpoint_interval = checkpoint_interval
    self._keep_checkpoints = keep_checkpoints

    self._evaluate = evaluate
    self._eval_interval = eval_interval
    self._best_figure = best_figure
    self._plateau = plateau
    self._validation_is_pending = False
    self._saved_step, self._saved_at = -1, time.monotonic()

  def run(self):
    """Trains, validates and saves until the last step.

    Raises:
      errors.InputError: a loss that is not finite, no such metric, or workers
        that do not share the work directory.
      interruption.Interrupted: the run was interrupted and has been saved.
    """
    self._restore_or_initialize()
    if self._evaluate:
      self._prepare_validation()
    self._prepare_training()
    with interruption.deferred():
      while self._validation_is_pending or self._step < self._train_steps:
        if not self._validation_is_pending:
          self._train_until(self._next_stop())
        if self._evaluate:
          self._validate()
        else:
          self._save_averages()
        self._save()
        interrupted = (
            self._trainer.interrupted or workers.interrupted(self._strategy))
        if interrupted:
          self._exit(interrupted)
      if self._best_step < 0:
        self._save_averages()
      self._store()

  @property
  def _step(self):
    return int(self._global_step.numpy())

  # Where a run starts.

  def _restore_or_initialize(self):
    """Sets all variables to what the run starts or resumes from."""
    progress = self._agreed_progress()
    self._best_step = progress.best
    self._best_is_validated = progress.best_is_validated
    if progress.is_fresh:
      # Before `build`: averages of weights start from the weights.
      self._initialize()
    with self._strategy.scope():
      self._optimizer.build(self._variables)
    self._checkpoint = tf.train.Checkpoint(
        model=self._model, optimizer=self._optimizer,
        global_step=self._global_step)
    self._manager = checkpoints.make_manager(
        self._checkpoint, self._folder.checkpoints,
        keep=self._keep_checkpoints, chief=self._chief)
    self._best_manager = checkpoints.make_manager(
        tf.train.Checkpoint(model=self._model), self._folder.best, keep=1,
        chief=self._chief)
    if progress.is_fresh:
      self._save()
    else:
      self._restore(pending=progress.validation_is_pending)
    if self._chief:
      history.rewind(self._folder.history_file, self._step,
                     validated=not self._validation_is_pending)
      if not self._validation_is_pending:  # Validated, or half a save.
        shutil.rmtree(self._folder.unvalidated, ignore_errors=True)

  def _agreed_progress(self):
    """The chief's `run_folder.Progress`; all must see the same checkpoints."""
    # When `gather` returns, all workers have read; none has saved anything yet.
    found = workers.gather(self._strategy, dataclasses.astuple(
        self._folder.progress()))                                  # [W, 4]
    if (found[:, :2] != found[0, :2]).any():
      raise errors.InputError(
          f"--workdir: {self._folder.path}: expected a directory that all "
          "workers share. Received: last checkpoints of steps "
          + ", ".join(str(row[:2].max()) for row in found) + " (-1: none).")
    return run_folder.Progress(*found[0].tolist())

  def _restore(self, pending):
    """Restores the newest state that can be read."""
    if pending:
      with contextlib.suppress(errors.InputError):  # Already logged.
        path = checkpoints.restore_latest(
            self._checkpoint, self._folder.unvalidated)
        self._validation_is_pending = True
    if not self._validation_is_pending:
      path = checkpoints.restore_latest(
          self._checkpoint, self._folder.checkpoints)
    self._saved_step = self._step
    logging.info("Resuming from %s.", self._folder.named(path))

  # Training.

  def _prepare_training(self):
    self._trainer = self._make_trainer(self._step)
    interval = self._steps_per_loop
    self._controller = orbit.Controller(
        strategy=self._strategy, trainer=self._trainer,
        global_step=self._global_step,
        steps_per_loop=lambda step: interval - int(step) % interval,
        summary_interval=interval,
        summary_dir=self._folder.summaries if self._chief else None,
        train_actions=[loop_log.Progress(
            self._global_step, self._train_steps, self._global_batch_size,
            self._folder.history_file if self._chief else None),
                       self._save_if_due])

  def _next_stop(self):
    """Next step at which to validate, or the last step."""
    interval = self._eval_interval
    if not self._evaluate or not interval:
      return self._train_steps
    return min(self._train_steps, (self._step // interval + 1) * interval)

  def _train_until(self, stop):
    """Trains up to a step; saves on the way, but not at that step."""
    self._stop = stop
    try:
      with loop_log.orbit_silenced():
        self._controller.train(stop)
    except interruption.Interrupted as interrupted:
      if self._trainer.interrupted is None:
        raise  # Before the first step: there is nothing to save.
      if self._saved_step != self._step:
        self._save()
      self._exit(interrupted)
    if self._trainer.interrupted and self._evaluate:
      self._save_unvalidated()
      self._exit(self._trainer.interrupted, _UNVALIDATED)

  def _save_if_due(self, unused_output):
    """Saves between stops, after an inner loop.

    At a stop the validation comes first: a schedule or the best checkpoint must
    not miss a metric because the run was interrupted in between.
    """
    if self._step < self._stop and (
        self._step % self._checkpoint_interval == 0
        or self._trainer.interrupted or self._is_overdue()):
      self._save()

  def _is_overdue(self):
    """Whether nothing was saved for long, by the clock of the chief."""
    late = time.monotonic() - self._saved_at > _LONGEST_UNSAVED
    return bool(workers.gather(self._strategy, [late])[0, 0])

  def _save(self):
    self._manager.save(checkpoint_number=self._step)
    self._saved_step, self._saved_at = self._step, time.monotonic()
    if self._validation_is_pending:
      self._validation_is_pending = False
      if self._chief:
        shutil.rmtree(self._folder.unvalidated, ignore_errors=True)
    self._store()

  def _store(self):
    """Uploads what has changed, if the folder is on an object store."""
    if self._chief:
      self._folder.store()

  def _save_unvalidated(self):
    """Saves a state whose validation is due."""
    # Without its files: this worker takes part as in any save.
    manager = self._manager if not self._chief else checkpoints.make_manager(
        self._checkpoint, self._folder.unvalidated, keep=1)
    manager.save(checkpoint_number=self._step)
    self._validation_is_pending = True
    self._store()

  # Validation.

  def _prepare_validation(self):
    new_best = orbit.actions.NewBestMetric(
        self._best_figure, filename=self._folder.best_figure,
        write_metric=self._chief)
    self._keep_if_best = orbit.actions.ConditionalAction(
        condition=new_best.test, action=[self._save_best, new_best.commit])
    self._writer = tf.summary.create_file_writer(
        os.path.join(self._folder.summaries, "validation")
    ) if self._chief else tf.summary.create_noop_writer()

  def _validate(self):
    """Evaluates the model, and saves it if it is the best so far."""
    name, step = self._best_figure, self._step
    if not self._validation_is_pending:
      self._save_unvalidated()
    try:
      with self._writer.as_default(step=step), self._averaged():
        with interruption.at_once():
          metrics = self._evaluate()
        for key, value in metrics.items():
          tf.summary.scalar(key, value)
    except interruption.Interrupted as interrupted:
      self._exit(interrupted, _UNVALIDATED)
    self._writer.flush()
    if name not in metrics:
      raise errors.InputError(
          "--best_figure: expected a metric of the validation: "
          f"{', '.join(sorted(metrics)) or 'none, because it has no labels'}. "
          f"Received: {name!r}.")
    logging.info("step %d | validation | %s %.4f", step, name, metrics[name])
    if self._chief:
      history.append(
          self._folder.history_file, {"step": step, "figures": metrics})
    self._keep_if_best(metrics)
    if self._plateau is not None and self._plateau.update(metrics[name]):
      logging.info("step %d | %s stalled: the learning rate drops.", step, name)

  def _averaged(self):
    return optimizers.averaged(self._optimizer, self._variables)

  def _save_best(self, unused_metrics=None):
    with self._averaged():
      self._best_manager.save(checkpoint_number=self._step)
    self._best_step = self._step

  def _save_averages(self):
    """Saves averaged weights, if any, as the best when there is no validation.

    Without a best checkpoint, its readers use the last one, which holds the
    weights without averaging.
    """
    if optimizers.averages(self._optimizer) and not self._best_is_validated:
      self._save_best()

  # Interruption.

  def _exit(self, interrupted, where=""):
    raise interruption.Interrupted(
        interrupted.reason, interrupted.code,
        f"Stopped at step {self._step}{where} by {interrupted.reason}; the "
        "same command resumes the run.")
