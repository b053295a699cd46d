"""The inner loop: training steps on all replicas, without I/O.

The step function of a stage computes one replica's loss per image. The sum over
images is divided by the global batch size here, once, so that the gradients
summed over all replicas are those of the mean loss of the batch.
"""

import contextlib
import time

import numpy as np
import orbit
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import loss_scaling
from kdwsd.training import workers


class Trainer(orbit.StandardTrainer):
  """Forward pass, backward pass and update, on every replica."""

  def __init__(self, *, strategy, variables, optimizer, step, loss_names,
               dataset, global_batch_size, seed, global_step, prepare=None):
    """Makes the inner loop.

    Args:
      strategy: `tf.distribute.Strategy` in whose scope the other arguments
        were made.
      variables: list of the trained variables.
      optimizer: Keras optimizer, loss scaling included.
      step: function of (batch, dropout_seeds) to a dictionary of [B] losses;
        `loss` is minimised.
      loss_names: keys of that dictionary.
      dataset: distributed batches with `example_index`.
      global_batch_size: images per step over all replicas.
      seed: seed of dropout.
      global_step: variable that counts steps.
      prepare: function of a batch of `dataset` to the batch that `step` takes;
        runs on the replica and is never compiled with the step, because its
        input may have another shape in every step. None if they are the same.
    """
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    super().__init__(
        dataset, orbit.StandardTrainerOptions(use_tf_while_loop=on_tpu))
    self._strategy = strategy
    self._variables = variables
    self._optimizer = optimizer
    self._step = step
    self._prepare = prepare
    self._global_batch_size = global_batch_size
    self._seed = seed
    self._global_step = global_step
    self._first_step = 0
    self._started = 0.0
    self._warm = False
    self.interrupted = None
    with strategy.scope():
      self._means = {
          name: tf.keras.metrics.Mean(name, dtype=tf.float32)
          for name in (*loss_names, "gradient_norm")}
      self._skipped = None
      if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        self._skipped = loss_scaling.SkippedSteps(optimizer)

  def create_train_loop_fn(self):
    """Makes the loop; an interruption stops it after the current step.

    On a TPU the loop is one program and can only be stopped after its last
    step.
    """
    if self._train_options.use_tf_while_loop:
      whole_loop = super().create_train_loop_fn()

      def loop(iterator, num_steps):
        whole_loop(iterator, num_steps)
        self.interrupted = workers.interrupted(self._strategy)
      return loop

    step = tf.function(self.train_step, autograph=False)

    def steps(iterator, num_steps):
      for _ in range(int(num_steps)):
        # The first step includes compilation, which may be interrupted.
        with contextlib.nullcontext() if self._warm else interruption.at_once():
          step(iterator)
        self._warm = True
        self.interrupted = workers.interrupted(self._strategy)
        if self.interrupted:
          return
    return steps

  def train_loop_begin(self):
    """Resets the means.

    Raises:
      interruption.Interrupted: a worker was interrupted.
    """
    if self.interrupted:
      raise self.interrupted
    for mean in self._means.values():
      mean.reset_state()
    if self._skipped:
      self._skipped.reset_state()
    self._first_step = int(self._global_step.numpy())
    self._started = time.perf_counter()

  def train_step(self, iterator):
    """Takes one step on all replicas."""
    self._strategy.run(self._prepare_and_step, args=(next(iterator),))
    self._global_step.assign_add(1)

  def _prepare_and_step(self, batch):
    self._replica_step(self._prepare(batch) if self._prepare else batch)

  def _replica_step(self, batch):
    index = tf.cast(batch["example_index"] % tf.int32.max, tf.int32)
    dropout_seeds = tf.stack(
        [tf.fill(tf.shape(index), self._seed), index], axis=1)    # [b, 2]
    with tf.GradientTape() as tape:
      losses = self._step(batch, dropout_seeds)                   # each [b]
      loss = tf.reduce_sum(losses["loss"]) / self._global_batch_size
      if self._skipped:
        loss = self._optimizer.get_scaled_loss(loss)
    variables = self._variables
    gradients = tape.gradient(loss, variables)
    missing = [v.name for v, g in zip(variables, gradients) if g is None]
    if missing:
      raise ValueError(
          "Expected a gradient for every trainable variable. Received: none "
          f"for {', '.join(missing)}.")
    if self._skipped:
      gradients = self._optimizer.get_unscaled_gradients(gradients)
    gradients = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, gradients)
    self._optimizer.apply_gradients(
        zip(gradients, variables), skip_gradients_aggregation=True)
    figures = {**losses, "gradient_norm": tf.linalg.global_norm(gradients)}
    for name, values in figures.items():
      if self._skipped:
        loss_scaling.update_mean(self._means[name], values)
      else:
        self._means[name].update_state(values)
    if self._skipped:
      self._skipped.update_state(gradients)

  def train_loop_end(self):
    """Returns the means over the loop: {name: float}.

    Raises:
      errors.InputError: the loss or the gradient is not finite.
    """
    figures = {name: loss_scaling.mean(mean)
               for name, mean in self._means.items()}
    seconds = time.perf_counter() - self._started
    step = int(self._global_step.numpy())
    if self._skipped:
      figures.update(self._skipped.figures(self._first_step + 1, step))
    for name in ("loss", "gradient_norm"):
      # Skipped steps are reported; `loss_scaling` raises if all are skipped.
      if not np.isfinite(figures[name]) and not self._skipped:
        raise errors.InputError(
            f"steps {self._first_step + 1} to {step}: expected a finite "
            f"{name.replace('_', ' ')}. Received: {figures[name]}. The last "
            "checkpoint is from before these steps; try a lower "
            "--learning_rate or --clip_norm, and check the scores of the "
            "proposals for extreme values.")
    figures["learning_rate"] = float(np.array(self._optimizer.learning_rate))
    figures["images_per_second"] = (
        (step - self._first_step) * self._global_batch_size / seconds)
    return figures
