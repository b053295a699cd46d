"""Learning-rate schedules, Caffe's `lr_policy`.

Steps count from 0. Every schedule is a Keras `LearningRateSchedule`: it takes
an integer tensor, returns a float32 scalar, runs inside a `tf.function`, and
can be an optimizer's `learning_rate`.

The solver of the MLIC-KD-WSD release was never published. Its users divided the
learning rate by 10 by hand whenever the test loss stalled; `plateau` does so.
"""

import math

import tensorflow as tf

from kdwsd import errors

KINDS = ("constant", "step", "cosine", "plateau")


def make(kind, *, base_rate, total_steps=0, warmup_steps=0, boundaries=(),
         factor=0.1, patience=2, min_improvement=0.0, higher_is_better=True):
  """Makes a schedule.

  Args:
    kind: one of `KINDS`. `constant`; `step`: times `factor` at each of
      `boundaries`; `cosine`: half a cosine from `base_rate` after the warm-up
      down to 0 at `total_steps`; `plateau`: times `factor` when a validation
      metric stalls (see `Plateau`).
    base_rate: learning rate after the warm-up.
    total_steps: number of training steps; only `cosine` needs it.
    warmup_steps: number of steps of a linear warm-up: step s has the learning
      rate times (s + 1) / warmup_steps, so that it is never 0.
    boundaries: steps for `step`, in rising order; a step equal to a boundary
      has the new learning rate, as in Caffe's `multistep`.
    factor: factor of the learning rate at a boundary or plateau.
    patience: see `Plateau`.
    min_improvement: see `Plateau`.
    higher_is_better: see `Plateau`.

  Returns:
    A `Schedule`, for `plateau` a `Plateau`.

  Raises:
    errors.InputError: a value out of range.
  """
  if kind not in KINDS:
    raise errors.InputError(
        f"--schedule: expected one of {', '.join(KINDS)}. "
        f"Received: {kind!r}.")
  if kind == "plateau":
    return Plateau(base_rate=base_rate, warmup_steps=warmup_steps,
                   factor=factor, patience=patience,
                   min_improvement=min_improvement,
                   higher_is_better=higher_is_better)
  return Schedule(kind=kind, base_rate=base_rate, total_steps=total_steps,
                  warmup_steps=warmup_steps, boundaries=boundaries,
                  factor=factor)


@tf.keras.utils.register_keras_serializable(package="kdwsd")
class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
  """A learning rate that depends only on the step; arguments as in `make`."""

  def __init__(self, *, kind, base_rate, total_steps=0, warmup_steps=0,
               boundaries=(), factor=0.1):
    super().__init__()
    boundaries = tuple(int(b) for b in boundaries)
    _check(base_rate, warmup_steps, factor)
    if kind == "cosine" and total_steps <= warmup_steps:
      raise errors.InputError(
          f"--train_steps: expected more than the {warmup_steps} of "
          f"--warmup_steps, with --schedule=cosine. Received: {total_steps}.")
    if kind == "step" and (list(boundaries) != sorted(set(boundaries))
                           or boundaries[:1] < (1,)):
      raise errors.InputError(
          "--schedule_boundaries: expected, with --schedule=step, at least one "
          f"step, all positive and rising. Received: {list(boundaries)}.")
    self.kind = kind
    self.base_rate = float(base_rate)
    self.total_steps = int(total_steps)
    self.warmup_steps = int(warmup_steps)
    self.boundaries = boundaries
    self.factor = float(factor)

  def __call__(self, step):
    """Rate of a step: integer scalar tensor -> float32 scalar tensor."""
    step = tf.cast(step, tf.int64)
    with tf.name_scope("learning_rate"):
      return _warmed_up(self._rate(step), step, self.warmup_steps)

  def _rate(self, step):
    if self.kind == "step":
      rates = tf.constant([self.base_rate * self.factor ** passed
                           for passed in range(len(self.boundaries) + 1)])
      passed = tf.reduce_sum(tf.cast(
          step >= tf.constant(self.boundaries, tf.int64), tf.int32))
      return tf.gather(rates, passed)
    if self.kind == "cosine":
      done = (tf.cast(step - self.warmup_steps, tf.float32)
              / (self.total_steps - self.warmup_steps))
      angle = math.pi * tf.clip_by_value(done, 0.0, 1.0)
      return self.base_rate * 0.5 * (1.0 + tf.cos(angle))
    return tf.constant(self.base_rate)

  def get_config(self):
    """Arguments of the constructor."""
    return {
        "kind": self.kind,
        "base_rate": self.base_rate,
        "total_steps": self.total_steps,
        "warmup_steps": self.warmup_steps,
        "boundaries": list(self.boundaries),
        "factor": self.factor,
    }


@tf.keras.utils.register_keras_serializable(package="kdwsd")
class Plateau(tf.Module, tf.keras.optimizers.schedules.LearningRateSchedule):
  """A learning rate that drops when a validation metric stops improving.

  Call `update(figure)` with the metric after each evaluation, outside of
  `tf.function`. Scale, best value and number of stalled evaluations are
  variables, which the checkpoint of the optimizer includes, so that a resumed
  run drops its learning rate when an uninterrupted one does. Make it in the
  strategy's scope. All workers must call `update` with the same value.

  Args:
    base_rate: learning rate after the warm-up.
    warmup_steps: as in `make`.
    factor: factor of the learning rate at a plateau.
    patience: number of evaluations in a row without improvement after which
      the learning rate drops; the count then starts again.
    min_improvement: the metric must exceed the best value by more than this.
    higher_is_better: False for a loss.
  """

  def __init__(self, *, base_rate, warmup_steps=0, factor=0.1, patience=2,
               min_improvement=0.0, higher_is_better=True):
    super().__init__(name="plateau")
    _check(base_rate, warmup_steps, factor)
    if patience < 1:
      raise errors.InputError(
          "--plateau_patience: expected at least 1 evaluation. Received: "
          f"{patience}.")
    self.base_rate = float(base_rate)
    self.warmup_steps = int(warmup_steps)
    self.factor = float(factor)
    self.patience = int(patience)
    self.min_improvement = float(min_improvement)
    self.higher_is_better = bool(higher_is_better)
    # The sign of `_best` is such that larger is better.
    self._scale = tf.Variable(1.0, trainable=False, name="scale")
    self._best = tf.Variable(-math.inf, trainable=False, name="best")
    self._stalled = tf.Variable(0, trainable=False, name="stalled",
                                dtype=tf.int64)

  def __call__(self, step):
    """Rate of a step: integer scalar tensor -> float32 scalar tensor."""
    step = tf.cast(step, tf.int64)
    return _warmed_up(self.base_rate * self._scale, step, self.warmup_steps)

  @property
  def scale(self):
    """Factor of the learning rate due to all plateaus so far, a float."""
    return float(self._scale.numpy())

  def update(self, figure):
    """Records the metric of an evaluation.

    Args:
      figure: value of the metric; if not finite, it counts as no improvement.

    Returns:
      True if the learning rate dropped.
    """
    # Rounded to float32 like the variable: an equal value is no improvement.
    signed = tf.constant(figure if self.higher_is_better else -figure,
                         tf.float32).numpy()
    if math.isfinite(signed) and (
        signed > self._best.numpy() + self.min_improvement):
      self._best.assign(signed)
      self._stalled.assign(0)
      return False
    stalled = int(self._stalled.numpy()) + 1
    drop = stalled >= self.patience
    self._stalled.assign(0 if drop else stalled)
    if drop:
      self._scale.assign(self._scale.numpy() * self.factor)
    return drop

  def get_config(self):
    """Arguments of the constructor."""
    return {
        "base_rate": self.base_rate,
        "warmup_steps": self.warmup_steps,
        "factor": self.factor,
        "patience": self.patience,
        "min_improvement": self.min_improvement,
        "higher_is_better": self.higher_is_better,
    }


def _warmed_up(rate, step, warmup_steps):
  if not warmup_steps:
    return rate
  share = tf.cast(step + 1, tf.float32) / float(warmup_steps)
  return rate * tf.minimum(share, 1.0)


def _check(base_rate, warmup_steps, factor):
  if not (math.isfinite(base_rate) and base_rate > 0):
    raise errors.InputError(
        "--learning_rate: expected a positive number. Received: "
        f"{base_rate}.")
  if warmup_steps < 0:
    raise errors.InputError(
        "--warmup_steps: expected 0 or more. Received: "
        f"{warmup_steps}.")
  if not 0 < factor <= 1:
    raise errors.InputError(
        "--schedule_factor: expected a number above 0 and at most 1. "
        f"Received: {factor}.")
