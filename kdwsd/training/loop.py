"""The outer loop, on Orbit: steps, checkpoints, validation, log. No stage.

A stage hands in a step function, one replica's view, that gives a loss per
image. Here the sum is divided by the global batch, once, so that summed
gradients of all replicas are those of the mean over the batch.
"""

import contextlib
import datetime
import io
import os
import time

from absl import logging
import numpy as np
import orbit
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import checkpoints
from kdwsd.training import history
from kdwsd.training import optimizers
from kdwsd.training import strategies

SUMMARIES = "summaries"


class Trainer(orbit.StandardTrainer):
  """The inner loop: forward, backward, update, on every replica."""

  def __init__(self, *, strategy, variables, optimizer, step, loss_names,
               dataset, global_batch_size, seed, global_step):
    """Makes the inner loop.

    Args:
      strategy: `tf.distribute.Strategy` whose scope made all that follows.
      variables: list of those that are trained.
      optimizer: Keras optimizer, loss scaling included.
      step: function of (batch, dropout_seeds) to a dictionary of [B] losses;
        `loss` is minimised.
      loss_names: the keys of that dictionary.
      dataset: distributed batches with `example_index`.
      global_batch_size: images a step over all replicas.
      seed: of dropout.
      global_step: variable that counts steps.
    """
    super().__init__(dataset)
    self._strategy = strategy
    self._variables = variables
    self._optimizer = optimizer
    self._step = step
    self._global_batch_size = global_batch_size
    self._seed = seed
    self._global_step = global_step
    self._first_step = 0
    self._started = 0.0
    with strategy.scope():
      self._means = {
          name: tf.keras.metrics.Mean(name, dtype=tf.float32)
          for name in (*loss_names, "gradient_norm")}

  def train_loop_begin(self):
    """Forgets the figures of the loop before."""
    for mean in self._means.values():
      mean.reset_state()
    self._first_step = int(self._global_step.numpy())
    self._started = time.perf_counter()

  def train_step(self, iterator):
    """Takes one step on all replicas."""
    self._strategy.run(self._replica_step, args=(next(iterator),))
    self._global_step.assign_add(1)

  def _replica_step(self, batch):
    index = tf.cast(batch["example_index"] % tf.int32.max, tf.int32)
    dropout_seeds = tf.stack(
        [tf.fill(tf.shape(index), self._seed), index], axis=1)    # [b, 2]
    scaling = isinstance(
        self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    with tf.GradientTape() as tape:
      losses = self._step(batch, dropout_seeds)                   # each [b]
      loss = tf.reduce_sum(losses["loss"]) / self._global_batch_size
      if scaling:
        loss = self._optimizer.get_scaled_loss(loss)
    variables = self._variables
    gradients = tape.gradient(loss, variables)
    missing = [v.name for v, g in zip(variables, gradients) if g is None]
    if missing:
      raise ValueError(
          "Expected a gradient for every trainable variable. Received: none "
          f"for {', '.join(missing)}.")
    if scaling:
      gradients = self._optimizer.get_unscaled_gradients(gradients)
    gradients = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, gradients)
    self._optimizer.apply_gradients(
        zip(gradients, variables), skip_gradients_aggregation=True)
    for name, values in losses.items():
      self._means[name].update_state(values)
    norm = tf.linalg.global_norm(gradients)
    # Loss scaling skips a step whose gradients overflow, so it does not count.
    counts = tf.math.is_finite(norm) if scaling else True
    self._means["gradient_norm"].update_state(
        tf.where(counts, norm, 0.0), sample_weight=tf.cast(counts, tf.float32))

  def train_loop_end(self):
    """Gives the figures of the loop; a loss that is not finite is an error."""
    figures = {name: float(mean.result().numpy())
               for name, mean in self._means.items()}
    seconds = time.perf_counter() - self._started
    step = int(self._global_step.numpy())
    for name in ("loss", "gradient_norm"):
      if not np.isfinite(figures[name]):
        raise errors.InputError(
            f"steps {self._first_step + 1} to {step}: expected a finite "
            f"{name.replace('_', ' ')}. Received: {figures[name]}. The last "
            "checkpoint is from before; try a lower --learning_rate, "
            "--clip_norm, or look for proposals with odd scores.")
    figures["learning_rate"] = float(np.array(self._optimizer.learning_rate))
    figures["images_per_second"] = (
        (step - self._first_step) * self._global_batch_size / seconds)
    return figures


def run(*, make_trainer, strategy, model, variables, optimizer, global_step,
        workdir, train_steps, steps_per_loop, checkpoint_interval,
        eval_interval, keep_checkpoints, best_figure, global_batch_size,
        initialize, evaluate, plateau=None):
  """Trains to `train_steps`, going on where a stopped run ended.

  Args:
    make_trainer: function of the step to start from, giving a `Trainer`.
    strategy: its strategy.
    model: trackable that checkpoints hold under `model`.
    variables: list of those that are trained.
    optimizer: its optimizer. Where it averages weights, the averages are what
      is validated and what the best checkpoint holds.
    global_step: its step.
    workdir: where checkpoints, summaries and history lie.
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
  """
  chief = strategies.is_chief(strategy)
  last_directory = os.path.join(workdir, checkpoints.LAST)
  best_directory = os.path.join(workdir, checkpoints.BEST)
  # Asked once: another worker may save before this one comes to restoring.
  resuming = tf.train.get_checkpoint_state(last_directory) is not None
  if not resuming:
    initialize()  # Before `build`: averages of weights start from the weights.
  with strategy.scope():
    optimizer.build(variables)
  checkpoint = tf.train.Checkpoint(
      model=model, optimizer=optimizer, global_step=global_step)

  manager = checkpoints.make_manager(
      checkpoint, last_directory, keep=keep_checkpoints, chief=chief)
  best_manager = checkpoints.make_manager(
      tf.train.Checkpoint(model=model), best_directory, keep=1, chief=chief)
  if resuming:
    logging.info("Going on from %s.",
                 checkpoints.restore_latest(checkpoint, last_directory))
  else:
    manager.save(checkpoint_number=0)
  if chief:
    history.rewind(workdir, int(global_step.numpy()))

  new_best = orbit.actions.NewBestMetric(
      lambda figures: figures[best_figure], write_metric=chief,
      filename=os.path.join(best_directory, "figure.json"))
  writer = tf.summary.create_file_writer(
      os.path.join(workdir, SUMMARIES, "validation")
  ) if chief else tf.summary.create_noop_writer()

  def save():
    manager.save(checkpoint_number=global_step.numpy())

  def validate():
    step = int(global_step.numpy())
    with writer.as_default(step=step), optimizers.averaged(
        optimizer, variables):
      figures = evaluate()
      for name, value in figures.items():
        tf.summary.scalar(name, value)
    writer.flush()
    if best_figure not in figures:
      raise errors.InputError(
          f"--best_figure: expected one of {', '.join(sorted(figures))}. "
          f"Received: {best_figure!r}.")
    logging.info("step %d | validation | %s %.4f", step, best_figure,
                 figures[best_figure])
    if chief:
      history.append(workdir, {"step": step, "figures": figures})
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
    if step % checkpoint_interval == 0 and step < stop:
      save()

  controller = orbit.Controller(
      strategy=strategy, trainer=make_trainer(int(global_step.numpy())),
      global_step=global_step, steps_per_loop=steps_per_loop,
      summary_interval=steps_per_loop,
      summary_dir=os.path.join(workdir, SUMMARIES) if chief else None,
      train_actions=[
          _Progress(global_step, train_steps, global_batch_size,
                    workdir if chief else None),
          save_if_due])

  while int(global_step.numpy()) < train_steps:
    stop = next_stop(int(global_step.numpy()))
    with _orbit_silenced():
      controller.train(stop)
    if evaluate is not None:
      validate()
    save()


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

  def __init__(self, global_step, train_steps, global_batch_size, workdir):
    self._global_step = global_step
    self._train_steps = train_steps
    self._global_batch_size = global_batch_size
    self._workdir = workdir
    self._rate = None

  def __call__(self, output):
    step = int(self._global_step.numpy())
    rate = output["images_per_second"]
    # The first loop holds the tracing: it counts only until there is another.
    self._rate = rate if self._rate is None else (
        max(rate, 0.7 * self._rate + 0.3 * rate))
    remaining = (self._train_steps - step) * self._global_batch_size
    eta = datetime.timedelta(seconds=round(remaining / self._rate))
    logging.info(
        "step %d/%d | loss %.4f | rate %.2e | gradient norm %.3g | "
        "%.2f images/s | ETA %s", step, self._train_steps, output["loss"],
        output["learning_rate"], output["gradient_norm"], rate, eta)
    if self._workdir:
      history.append(self._workdir, {"step": step, **output})
