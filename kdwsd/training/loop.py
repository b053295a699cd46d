"""The outer loop, on Orbit: checkpoints, validation, log. No stage.

Log lines are written, and checkpoints saved, at multiples of their intervals,
wherever a run was stopped. A run that is told to stop saves after the step it
is in. Where a validation is due then, or was under way, the checkpoint goes to
`UNVALIDATED`, and a resumed run begins with the validation.
"""

import contextlib
import datetime
import io
import os
import shutil

from absl import logging
import orbit
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import checkpoints
from kdwsd.training import history
from kdwsd.training import optimizers
from kdwsd.training import strategies
from kdwsd.training import workers


def run(*, make_trainer, strategy, model, variables, optimizer, global_step,
        folder, train_steps, steps_per_loop, checkpoint_interval,
        eval_interval, keep_checkpoints, best_figure, global_batch_size,
        initialize, evaluate, plateau=None):
  """Trains to `train_steps`, going on where a stopped run ended.

  Args:
    make_trainer: function of the step to start from, giving an
      `inner_loop.Trainer`.
    strategy: its strategy.
    model: trackable that checkpoints hold under `model`.
    variables: list of those that are trained.
    optimizer: its optimizer. Where it averages weights, the averages are what
      is validated and what the best checkpoint holds.
    global_step: its step.
    folder: `run_folder.RunFolder`.
    train_steps: step at which to stop.
    steps_per_loop: steps between log lines.
    checkpoint_interval: steps between checkpoints.
    eval_interval: steps between validations; 0 for none before the end.
    keep_checkpoints: how many of the last checkpoints to keep.
    best_figure: the validation figure by which the best checkpoint is chosen.
    global_batch_size: images a step.
    initialize: function without arguments that gives a new run its pretrained
      weights; not called on resuming.
    evaluate: function without arguments giving a dictionary of validation
      figures, or None where there is nothing to validate on; pictures that
      it hands to `tf.summary` lie beside the figures.
    plateau: schedule to tell `best_figure` of each validation.

  Raises:
    errors.InputError: a loss that is not finite, no such figure, or workers
      that do not share the work directory.
    interruption.Interrupted: the run was told to stop.
  """
  chief = strategies.is_chief(strategy)
  progress = _agreed_progress(strategy, folder)
  unvalidated = progress.validation_is_pending
  if progress.is_fresh:
    initialize()  # Before `build`: averages of weights start from the weights.
  with strategy.scope():
    optimizer.build(variables)
  checkpoint = tf.train.Checkpoint(
      model=model, optimizer=optimizer, global_step=global_step)

  manager = checkpoints.make_manager(
      checkpoint, folder.checkpoints, keep=keep_checkpoints, chief=chief)
  best_manager = checkpoints.make_manager(
      tf.train.Checkpoint(model=model), folder.best, keep=1, chief=chief)
  if progress.is_fresh:
    manager.save(checkpoint_number=0)
  else:
    if unvalidated:
      try:
        path = checkpoints.restore_latest(checkpoint, folder.unvalidated)
      except errors.InputError:  # It has been logged which file.
        unvalidated = False
    if not unvalidated:
      path = checkpoints.restore_latest(checkpoint, folder.checkpoints)
    logging.info("Resuming from %s.", path)
  if chief:
    history.rewind(folder.history_file, int(global_step.numpy()),
                   validated=not unvalidated)
    if not unvalidated:  # What is there was validated, or is half a save.
      shutil.rmtree(folder.unvalidated, ignore_errors=True)

  new_best = orbit.actions.NewBestMetric(
      lambda figures: figures[best_figure], write_metric=chief,
      filename=folder.best_figure)
  writer = tf.summary.create_file_writer(
      os.path.join(folder.summaries, "validation")
  ) if chief else tf.summary.create_noop_writer()

  def save():
    manager.save(checkpoint_number=global_step.numpy())

  def save_unvalidated():
    checkpoints.make_manager(
        checkpoint, folder.unvalidated, keep=1, chief=chief).save(
            checkpoint_number=global_step.numpy())

  def stop_here(interrupted, where=""):
    raise interruption.Interrupted(
        interrupted.reason, interrupted.code,
        f"Stopped at step {int(global_step.numpy())}{where} by "
        f"{interrupted.reason}; the same command goes on.")

  def validate():
    step = int(global_step.numpy())
    try:
      with writer.as_default(step=step), optimizers.averaged(
          optimizer, variables):
        with interruption.at_once():
          figures = evaluate()
        for name, value in figures.items():
          tf.summary.scalar(name, value)
    except interruption.Interrupted as interrupted:
      save_unvalidated()
      stop_here(interrupted, ", before it was validated,")
    writer.flush()
    if best_figure not in figures:
      raise errors.InputError(
          "--best_figure: expected a figure that the validation gives: "
          f"{', '.join(sorted(figures)) or 'none, for it has no labels'}. "
          f"Received: {best_figure!r}.")
    logging.info("step %d | validation | %s %.4f", step, best_figure,
                 figures[best_figure])
    if chief:
      history.append(folder.history_file, {"step": step, "figures": figures})
    if new_best.test(figures):
      with optimizers.averaged(optimizer, variables):
        best_manager.save(checkpoint_number=step)
      new_best.commit(figures)
    if plateau is not None and plateau.update(figures[best_figure]):
      logging.info("step %d | %s has stalled, the learning rate drops.", step,
                   best_figure)

  def next_stop(step):
    """Next step at which to validate; a validation saves when it is done."""
    if evaluate is None or not eval_interval:
      return train_steps
    return min(train_steps, (step // eval_interval + 1) * eval_interval)

  def save_if_due(unused_output):
    # Where a validation follows, it saves: a schedule or the best checkpoint
    # must not miss a figure because a run was stopped in between.
    step = int(global_step.numpy())
    if step < stop and (
        step % checkpoint_interval == 0 or trainer.interrupted):
      save()

  trainer = make_trainer(int(global_step.numpy()))
  controller = orbit.Controller(
      strategy=strategy, trainer=trainer, global_step=global_step,
      steps_per_loop=lambda step: steps_per_loop - int(step) % steps_per_loop,
      summary_interval=steps_per_loop,
      summary_dir=folder.summaries if chief else None,
      train_actions=[
          _Progress(global_step, train_steps, global_batch_size,
                    folder.history_file if chief else None),
          save_if_due])

  with interruption.deferred():
    while unvalidated or int(global_step.numpy()) < train_steps:
      if not unvalidated:
        stop = next_stop(int(global_step.numpy()))
        try:
          with _orbit_silenced():
            controller.train(stop)
        except interruption.Interrupted as interrupted:
          if trainer.interrupted is None:
            raise  # Before the first step was done: nothing is to be saved.
          stop_here(interrupted)
        if trainer.interrupted and evaluate is not None:
          save_unvalidated()
          stop_here(trainer.interrupted, ", before it was validated,")
      if evaluate is not None:
        validate()
      save()
      if unvalidated and chief:
        shutil.rmtree(folder.unvalidated, ignore_errors=True)
      unvalidated = False
      interrupted = trainer.interrupted or workers.interrupted(strategy)
      if interrupted:
        stop_here(interrupted)


def _agreed_progress(strategy, folder):
  """The `run_folder.Progress` of a run, which all workers must see alike.

  Raises:
    errors.InputError: workers do not share the work directory.
  """
  progress = folder.progress()
  # All have looked when this is done: none has saved anything yet.
  found = workers.gather(
      strategy, [progress.last, progress.unvalidated])             # [W, 2]
  if (found != found[0]).any():
    raise errors.InputError(
        f"--workdir: {folder.path}: expected a directory that all workers "
        "share. Received: last checkpoints of steps "
        + ", ".join(str(row.max()) for row in found) + " (-1: none).")
  return progress


@contextlib.contextmanager
def _orbit_silenced():
  """Orbit logs and prints several lines a loop; `_Progress` writes the one."""
  def is_ours(record):
    return os.path.basename(os.path.dirname(record.pathname)) != "orbit"
  handler = logging.get_absl_handler()
  handler.addFilter(is_ours)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    handler.removeFilter(is_ours)


class _Progress:
  """A log line and a line of history after each inner loop."""

  def __init__(self, global_step, train_steps, global_batch_size, history_file):
    self._global_step = global_step
    self._train_steps = train_steps
    self._global_batch_size = global_batch_size
    self._history_file = history_file
    self._rate = None
    self._has_learnt = True

  def __call__(self, output):
    step = int(self._global_step.numpy())
    rate = output["images_per_second"]
    # The first loop holds the tracing: it counts only until there is another.
    self._rate = rate if self._rate is None else (
        max(rate, 0.7 * self._rate + 0.3 * rate))
    remaining = (self._train_steps - step) * self._global_batch_size
    eta = datetime.timedelta(seconds=round(remaining / self._rate))
    skipped = ""
    if output.get("skipped_steps"):
      skipped = (f" | {output['skipped_steps']} steps skipped, loss scale "
                 f"{output['loss_scale']:g}")
    logging.info(
        "step %d/%d | loss %.4f | rate %.2e | gradient norm %.3g%s | "
        "%.2f images/s | ETA %s", step, self._train_steps, output["loss"],
        output["learning_rate"], output["gradient_norm"], skipped, rate, eta)
    if output["gradient_norm"] == 0 and self._has_learnt:
      self._has_learnt = False  # Told once.
      logging.warning(
          "step %d: the gradient was 0 in every step since the last line, so "
          "that nothing is learnt. Probable causes: all images with the same "
          "labels, features that are 0 (--score_scale, a learning rate that "
          "was too high), or a loss that is at its least.", step)
    if self._history_file:
      history.append(self._history_file, {"step": step, **output})
