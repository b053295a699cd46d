"""Learning rates as functions of the step: what Caffe calls `lr_policy`.

Steps count from 0. Every schedule is a Keras `LearningRateSchedule`: it takes
an integer tensor, returns a float32 scalar, runs inside a `tf.function`, and
goes into an optimizer's `learning_rate`.

The release of MLIC-KD-WSD never published its solver; its users divided the
rate by 10 by hand whenever the test loss stalled. `plateau` does that.
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
      figure stalls (see `Plateau`).
    base_rate: learning rate after the warm-up.
    total_steps: length of the training; only `cosine` needs it.
    warmup_steps: the first that many steps rise linearly: step s has the
      share (s + 1) / warmup_steps of the rate, so none is lost on a rate of 0.
    boundaries: for `step`, rising; a step equal to a boundary has the new
      rate, as in Caffe's `multistep`.
    factor: what a boundary or a plateau multiplies the rate by.
    patience: see `Plateau`.
    min_improvement: see `Plateau`.
    higher_is_better: see `Plateau`.

  Returns:
    A `Schedule`, for `plateau` a `Plateau`.

  Raises:
    errors.InputError: a value that makes no schedule.
  """
  if kind not in KINDS:
    raise errors.InputError(
        f"Learning-rate schedule: expected one of {', '.join(KINDS)}. "
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
  """A rate that depends on the step alone; arguments as in `make`."""

  def __init__(self, *, kind, base_rate, total_steps=0, warmup_steps=0,
               boundaries=(), factor=0.1):
    super().__init__()
    boundaries = tuple(int(b) for b in boundaries)
    _check(base_rate, warmup_steps, factor)
    if kind == "cosine" and total_steps <= warmup_steps:
      raise errors.InputError(
          "Cosine schedule: expected more steps in all than the "
          f"{warmup_steps} of the warm-up. Received: {total_steps}.")
    if kind == "step" and (list(boundaries) != sorted(set(boundaries))
                           or boundaries[:1] < (1,)):
      raise errors.InputError(
          "Step schedule: expected at least one boundary, all positive and "
          f"rising. Received: {list(boundaries)}.")
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
  """A rate that drops when a validation figure no longer gets better.

  Call `update(figure)` after each evaluation, outside of `tf.function`. Scale,
  best figure and count of stalled evaluations are variables; an optimizer
  built with the schedule takes them into its checkpoint, so that a resumed
  run drops its rate when an undisturbed one does. Make it in the strategy's
  scope. With several workers each must call `update` with the same figure.

  Args:
    base_rate: learning rate after the warm-up.
    warmup_steps: as in `make`.
    factor: what a plateau multiplies the rate by.
    patience: the rate drops at the evaluation that is the `patience`-th in a
      row without improvement; the count then starts anew.
    min_improvement: a figure must beat the best by more than this.
    higher_is_better: False for a loss.
  """

  def __init__(self, *, base_rate, warmup_steps=0, factor=0.1, patience=2,
               min_improvement=0.0, higher_is_better=True):
    super().__init__(name="plateau")
    _check(base_rate, warmup_steps, factor)
    if patience < 1:
      raise errors.InputError(
          "Plateau schedule: expected a patience of at least 1 evaluation. "
          f"Received: {patience}.")
    self.base_rate = float(base_rate)
    self.warmup_steps = int(warmup_steps)
    self.factor = float(factor)
    self.patience = int(patience)
    self.min_improvement = float(min_improvement)
    self.higher_is_better = bool(higher_is_better)
    # `_best` is kept with the sign that makes larger better.
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
    """What the plateaus so far multiply the rate by, a Python float."""
    return float(self._scale.numpy())

  def update(self, figure):
    """Takes the figure of one evaluation.

    Args:
      figure: number; one that is not finite counts as no improvement.

    Returns:
      True if the rate dropped.
    """
    # Rounded as the variable rounds: else the same figure might beat itself.
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
        "Learning rate: expected a positive number. Received: "
        f"{base_rate}.")
  if warmup_steps < 0:
    raise errors.InputError(
        "Warm-up: expected 0 steps or more. Received: "
        f"{warmup_steps}.")
  if not 0 < factor <= 1:
    raise errors.InputError(
        "Learning-rate factor: expected a number above 0 and at most 1. "
        f"Received: {factor}.")
