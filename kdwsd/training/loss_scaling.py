"""What mixed_float16 skips: counted, told, and not for ever.

Keras's LossScaleOptimizer multiplies the loss, so that small gradients do not
vanish in float16. Where one overflows, on whichever replica, it skips the step
on all of them and halves the scale, down to 1. That happens now and then, most
of all in the first steps. A run in which it always happens trains nothing.
"""

import numpy as np
import tensorflow as tf

from kdwsd import errors

# Steps skipped in a row, the scale being at its least, after which a run ends:
# the first scale is 2^15, so some 15 are skipped on the way there.
_PATIENCE = 20


class SkippedSteps:
  """Counts the steps of an inner loop that were skipped."""

  def __init__(self, optimizer):
    """Makes the count; call it in the strategy's scope.

    Args:
      optimizer: `tf.keras.mixed_precision.LossScaleOptimizer`.
    """
    self._optimizer = optimizer
    self._applied = tf.keras.metrics.Mean("applied", dtype=tf.float32)
    self._in_a_row = 0

  def reset_state(self):
    """Begins a loop."""
    self._applied.reset_state()

  def update_state(self, gradients):
    """Takes a step of one replica.

    Args:
      gradients: list of tensors, those that all replicas apply.
    """
    self._applied.update_state(tf.cast(tf.reduce_all(
        [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]), tf.float32))

  def figures(self, first, last):
    """Ends a loop.

    Args:
      first: its first step.
      last: its last step.

    Returns:
      Dict of `skipped_steps` and the `loss_scale` after the loop.

    Raises:
      errors.InputError: for many steps, all have been skipped.
    """
    count = last - first + 1
    skipped = round(count * (1 - float(self._applied.result().numpy())))
    self._in_a_row = self._in_a_row + count if skipped == count else 0
    scale = float(np.array(self._optimizer.loss_scale))
    if scale <= 1 and self._in_a_row >= _PATIENCE:
      raise errors.InputError(
          f"steps {last - self._in_a_row + 1} to {last}: expected gradients "
          "that float16 can hold. Received: NaN or infinity in each of these "
          "steps, all of which were skipped, although the loss is no longer "
          "scaled up. The last checkpoint has nothing of them; try a lower "
          "--learning_rate, --clip_norm, --mixed_precision=mixed_bfloat16, or "
          "look for proposals with odd scores.")
    return {"skipped_steps": skipped, "loss_scale": scale}


def mean(metric):
  """The mean of a loop over what was finite; NaN where nothing was.

  Args:
    metric: `tf.keras.metrics.Mean` that `update_mean` has fed.
  """
  return float(metric.result().numpy()) if metric.count.numpy() else np.nan


def update_mean(metric, values):
  """Feeds a mean with what is finite of a step that may be skipped.

  Args:
    metric: `tf.keras.metrics.Mean`.
    values: float tensor of any shape.
  """
  finite = tf.math.is_finite(values)
  metric.update_state(tf.where(finite, values, tf.zeros_like(values)),
                      sample_weight=tf.cast(finite, tf.float32))
