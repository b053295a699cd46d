"""Loss scaling under mixed_float16, and the steps that it skips.

The loss is multiplied by a scale so that small gradients do not underflow in
float16. If a gradient overflows on any replica, the step is skipped on all
replicas and the scale is halved, down to 1. This is normal now and then, mostly
in the first steps. A run that skips all steps is stopped with an error.
"""

import tensorflow as tf

from kdwsd import errors

# Number of steps skipped in a row after which a run with the minimum scale is
# stopped. The initial scale is 2^15, so about 15 skipped steps reach 1.
_PATIENCE = 20


class LossScale(tf.Module):
  """The scale of `tf.keras.mixed_precision.LossScaleOptimizer`.

  That class checks every gradient for overflow again, and updates weights under
  a condition that the host must read, in a way that XLA compiles on GPUs alone.
  Here the caller checks and updates. As an attribute `loss_scale` of an
  optimizer, this has the same names in checkpoints as Keras's.

  Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.
  """

  def __init__(self, initial=2.0 ** 15, growth_steps=2000):
    """Makes the scale; call it in the strategy's scope.

    Args:
      initial: the first scale; by default Keras's.
      growth_steps: number of steps in a row without overflow after which the
        scale is doubled; by default Keras's.
    """
    super().__init__(name="loss_scale")
    self._growth_steps = growth_steps
    self.current_loss_scale = tf.Variable(
        initial, trainable=False, dtype=tf.float32, name="current_loss_scale")
    self.good_steps = tf.Variable(
        0, trainable=False, dtype=tf.int64, name="good_steps")

  def scale(self, loss):
    """The scaled loss."""
    return loss * tf.cast(self.current_loss_scale, loss.dtype)

  def unscale(self, gradients):
    """The gradients of the loss, from those of the scaled loss."""
    reciprocal = 1.0 / self.current_loss_scale
    return [gradient * tf.cast(reciprocal, gradient.dtype)
            for gradient in gradients]

  def update(self, finite):
    """Adapts the scale after a step; called on each replica.

    Args:
      finite: scalar bool, whether no gradient overflowed; the same on all
        replicas.
    """
    scale, good_steps = self.current_loss_scale, self.good_steps + 1
    doubled = 2.0 * scale
    grows = finite & (good_steps >= self._growth_steps)
    self.good_steps.assign(tf.where(
        finite & ~grows, good_steps, tf.zeros_like(good_steps)))
    self.current_loss_scale.assign(tf.where(
        finite,
        tf.where(grows & tf.math.is_finite(doubled), doubled, scale),
        tf.maximum(scale / 2.0, 1.0)))


class SkippedSteps:
  """Stops a run of which all steps are skipped."""

  def __init__(self):
    self._in_a_row = 0

  def figures(self, first, last, applied, scale):
    """Metrics of a loop that has ended.

    Args:
      first: first step of the loop.
      last: last step of the loop.
      applied: share of its steps that were not skipped.
      scale: the loss scale after the loop.

    Returns:
      Dict of `skipped_steps` and `loss_scale`.

    Raises:
      errors.InputError: the last `_PATIENCE` steps or more were all skipped.
    """
    count = last - first + 1
    skipped = round(count * (1 - applied))
    self._in_a_row = self._in_a_row + count if skipped == count else 0
    if scale <= 1 and self._in_a_row >= _PATIENCE:
      raise errors.InputError(
          f"steps {last - self._in_a_row + 1} to {last}: expected gradients "
          "that float16 can hold. Received: NaN or infinity in each of these "
          "steps, all of which were skipped, although the loss scale is down "
          "to 1. The last checkpoint is from before these steps; try a lower "
          "--learning_rate, --clip_norm or --mixed_precision=mixed_bfloat16, "
          "and check the scores of the proposals for extreme values.")
    return {"skipped_steps": skipped, "loss_scale": scale}
