"""The inner loop: training steps on all replicas, without I/O.

The step function of a stage computes one replica's loss per image. The sum over
images is divided by the global batch size here, once, so that the gradients
summed over all replicas are those of the mean loss of the batch.
"""

import contextlib
import time

from absl import logging
import numpy as np
import orbit
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import compilation
from kdwsd.training import loss_scaling
from kdwsd.training import means
from kdwsd.training import profiling
from kdwsd.training import strategies
from kdwsd.training import workers


class Trainer(orbit.StandardTrainer):
  """Forward pass, backward pass and update, on every replica."""

  def __init__(self, *, strategy, variables, optimizer, step, loss_names,
               dataset, global_batch_size, seed, global_step, prepare=None,
               jit_compile="off", deterministic=False, side=None,
               profile=None):
    """Makes the inner loop.

    Args:
      strategy: `tf.distribute.Strategy` in whose scope the other arguments
        were made.
      variables: list of the trained variables.
      optimizer: from `optimizers.make`.
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
      jit_compile: what `compilation.choose` returned.
      deterministic: whether ops are deterministic, and gradients must be the
        same each time.
      side: function of a step, counted from 0, to the side of its images in
        pixels, for the log of compilations; None if it is not known.
      profile: `profiling.Profile`; None for no profile.
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
    self._jit_compile = jit_compile
    self._deterministic = deterministic
    self._side = side
    self._profile = profile or profiling.Profile(None, ())
    self._first_step = 0
    self._started = 0.0
    self._warm = False
    self._questions = workers.Questions(strategy)
    self.interrupted = None
    names = [*loss_names, "gradient_norm"]
    self._scale = optimizer.loss_scale
    self._skipped = None
    if self._scale is not None:
      self._skipped = loss_scaling.SkippedSteps()
      names.append("applied")
    with strategy.scope():
      optimizer.build(variables)
      self._means = means.Means(names, strategy)
    self._make_functions()

  def _make_functions(self):
    """Makes the functions of a step, compiled or not."""
    on_tpu = self._train_options.use_tf_while_loop

    def wrap(function):
      if self._jit_compile != "off":
        return compilation.compiled(function)
      if self._deterministic and not on_tpu:
        return compilation.reproducible(
            function, strategies.on_gpus(self._strategy))
      return function

    # A reduction over replicas cannot be inside of a compiled function.
    self._whole = wrap(
        lambda batch: self._update(*self._differentiate(batch)))
    self._compute = wrap(self._differentiate)
    self._apply = wrap(self._update)
    # One trace for all sides of images.
    self._run = tf.function(
        self._step_on, autograph=False,
        input_signature=[self.train_dataset.element_spec])

  def create_train_loop_fn(self):
    """Makes the loop; an interruption stops it after the current step.

    Several workers agree on the step, about once a second.

    On a TPU the loop is one program and can only be stopped after its last
    step.
    """
    if self._train_options.use_tf_while_loop:
      whole_loop = super().create_train_loop_fn()

      def loop(iterator, num_steps):
        whole_loop(iterator, num_steps)
        self.interrupted = workers.interrupted(self._strategy)
      return loop

    take = self._make_step()

    def steps(iterator, num_steps):
      for step in range(self._first_step, self._first_step + int(num_steps)):
        # The first step includes compilation, which may be interrupted.
        with contextlib.nullcontext() if self._warm else interruption.at_once():
          with self._profile.of(step + 1):
            take(iterator, step)
        self._warm = True
        self.interrupted = self._questions.after_step()
        if self.interrupted:
          self._profile.stop()
          return
    return steps

  def _make_step(self):
    """Makes the function of the iterator and of a step that takes the step."""
    if self._jit_compile == "off":
      whole = tf.function(self.train_step, autograph=False)
      return lambda iterator, unused_step: whole(iterator)
    # Apart, so that a batch that XLA has refused can be used uncompiled.
    @tf.function(autograph=False)
    def fetch(iterator):
      return next(iterator)

    seen = set()

    def take(iterator, step):
      side = self._side(step) if self._side else None
      batch = fetch(iterator)
      if side in seen:
        self._run(batch)
      else:
        self._run_first(batch, step, side)
      seen.add(side)
    return take

  def _run_first(self, batch, step, side):
    """Takes the first step with images of a side.

    Raises:
      errors.InputError: XLA refuses to compile it and must.
    """
    if self._jit_compile != "off":
      logging.info("Compiling the step%s.",
                   f" for images of {side} pixels" if side else "")
    try:
      with interruption.limited():
        self._run(batch)
    except tf.errors.OpError as error:
      refusal = compilation.refusal(error)
      if self._jit_compile == "off" or refusal is None:
        raise
      if self._jit_compile == "on":
        raise errors.InputError(
            "--jit_compile=on: expected a step that XLA can compile. Received: "
            f"{refusal}. Use auto or off.") from error
      logging.info("Compilation by XLA: off, because it refuses: %s", refusal)
      self._jit_compile = "off"
      self._make_functions()
      self._global_step.assign(step)  # Nothing else has changed.
      self._run(batch)

  def train_loop_begin(self):
    """Resets the means.

    Raises:
      interruption.Interrupted: a worker was interrupted, also while the outer
        loop saved, which may take as long as many steps.
    """
    self.interrupted = self.interrupted or workers.interrupted(self._strategy)
    if self.interrupted:
      raise self.interrupted
    self._means.reset()
    self._first_step = int(self._global_step.numpy())
    self._started = time.perf_counter()

  def train_step(self, iterator):
    """Takes one step on all replicas."""
    self._step_on(next(iterator))

  def _step_on(self, batch):
    self._strategy.run(self._prepare_and_step, args=(batch,))
    self._global_step.assign_add(1)

  def _prepare_and_step(self, batch):
    self._replica_step(self._prepare(batch) if self._prepare else batch)

  def _replica_step(self, batch):
    if self._strategy.num_replicas_in_sync == 1:
      self._whole(batch)
      return
    losses, gradients = self._compute(batch)
    gradients = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, gradients)
    self._apply(losses, gradients)

  def _differentiate(self, batch):
    """One replica's losses, each [b], and gradients."""
    index = tf.cast(batch["example_index"] % tf.int32.max, tf.int32)
    dropout_seeds = tf.stack(
        [tf.fill(tf.shape(index), self._seed), index], axis=1)    # [b, 2]
    with tf.GradientTape() as tape:
      losses = self._step(batch, dropout_seeds)                   # each [b]
      loss = tf.reduce_sum(losses["loss"]) / self._global_batch_size
      if self._scale is not None:
        loss = self._scale.scale(loss)
    variables = self._variables
    gradients = tape.gradient(loss, variables)
    missing = [v.name for v, g in zip(variables, gradients) if g is None]
    if missing:
      raise ValueError(
          "Expected a gradient for every trainable variable. Received: none "
          f"for {', '.join(missing)}.")
    if self._scale is not None:
      gradients = self._scale.unscale(gradients)
    return losses, gradients

  def _update(self, losses, gradients):
    """Updates a replica's variables by gradients summed over all replicas."""
    # Read once, for clipping, for the log and for the check: it is finite if
    # all gradients are and it is below 1.8e19, whose square float32 holds.
    norm = tf.linalg.global_norm(gradients)
    figures = {**losses, "gradient_norm": norm}
    if self._scale is None:
      self._optimizer.update(gradients, self._variables, norm)
    else:
      finite = tf.math.is_finite(norm)
      figures["applied"] = tf.cast(finite, tf.float32)
      self._scale.update(finite)
      self._optimizer.update_if(
          finite, gradients, self._variables, norm,
          select=self._jit_compile != "off")
    self._means.update(figures, finite_only=self._scale is not None)

  def train_loop_end(self):
    """Returns the means over the loop: {name: float}.

    Raises:
      errors.InputError: the loss or the gradient is not finite.
    """
    figures = self._means.read()
    seconds = time.perf_counter() - self._started
    step = int(self._global_step.numpy())
    if self._skipped:
      figures.update(self._skipped.figures(
          self._first_step + 1, step, figures.pop("applied"),
          float(self._scale.current_loss_scale.numpy())))
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
