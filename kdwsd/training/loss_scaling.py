"""Counts the steps that loss scaling skips under mixed_float16.

Keras's LossScaleOptimizer multiplies the loss so that small gradients do not
underflow in float16. If a gradient overflows on any replica, it skips the step
on all replicas and halves the scale, down to 1. This is normal now and then,
mostly in the first steps. A run that skips all steps is stopped with an error.
"""

import numpy as np
import tensorflow as tf

from kdwsd import errors

# Number of steps skipped in a row after which a run with the minimum scale is
# stopped. The initial scale is 2^15, so about 15 skipped steps reach 1.
_PATIENCE = 20


class SkippedSteps:
  """Counts the steps of an inner loop that were skipped."""

  def __init__(self, optimizer):
    """Creates the counter; call it in the strategy's scope.

    Args:
      optimizer: `tf.keras.mixed_precision.LossScaleOptimizer`.
    """
    self._optimizer = optimizer
    self._applied = tf.keras.metrics.Mean("applied", dtype=tf.float32)
    self._in_a_row = 0

  def reset_state(self):
    """Starts counting for a new loop."""
    self._applied.reset_state()

  def update_state(self, gradients):
    """Counts a step; called on each replica.

    Args:
      gradients: list of tensors, summed over all replicas.
    """
    self._applied.update_state(tf.cast(tf.reduce_all(
        [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]), tf.float32))

  def figures(self, first, last):
    """Metrics of a loop that has ended.

    Args:
      first: first step of the loop.
      last: last step of the loop.

    Returns:
      Dict of `skipped_steps` and the `loss_scale` after the loop.

    Raises:
      errors.InputError: the last `_PATIENCE` steps or more were all skipped.
    """
    count = last - first + 1
    skipped = round(count * (1 - float(self._applied.result().numpy())))
    self._in_a_row = self._in_a_row + count if skipped == count else 0
    scale = float(np.array(self._optimizer.loss_scale))
    if scale <= 1 and self._in_a_row >= _PATIENCE:
      raise errors.InputError(
          f"steps {last - self._in_a_row + 1} to {last}: expected gradients "
          "that float16 can hold. Received: NaN or infinity in each of these "
          "steps, all of which were skipped, although the loss scale is down "
          "to 1. The last checkpoint is from before these steps; try a lower "
          "--learning_rate, --clip_norm or --mixed_precision=mixed_bfloat16, "
          "and check the scores of the proposals for extreme values.")
    return {"skipped_steps": skipped, "loss_scale": scale}


def mean(metric):
  """The mean over the finite values of a loop; NaN if there are none.

  Args:
    metric: `tf.keras.metrics.Mean` updated by `update_mean`.
  """
  return float(metric.result().numpy()) if metric.count.numpy() else np.nan


def update_mean(metric, values):
  """Updates a mean with the finite values of a step, which may be skipped.

  Args:
    metric: `tf.keras.metrics.Mean`.
    values: float tensor of any shape.
  """
  finite = tf.math.is_finite(values)
  metric.update_state(tf.where(finite, values, tf.zeros_like(values)),
                      sample_weight=tf.cast(finite, tf.float32))
