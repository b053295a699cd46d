"""A profile of some steps of a run, for TensorBoard."""

import contextlib

from absl import logging
import tensorflow as tf


class Profile:
  """Records the steps from one to another, both included."""

  def __init__(self, directory, steps):
    """Prepares a profile; nothing is written yet.

    Args:
      directory: where TensorBoard finds the summaries of the run.
      steps: (first, last), counted from 1; empty for no profile.
    """
    self._directory = directory
    self._steps = range(steps[0], steps[1] + 1) if steps else ()
    self._recording = False

  @contextlib.contextmanager
  def of(self, step):
    """Wraps a step; records it if it is one of those to record.

    Args:
      step: its number, counted from 1.

    Yields:
      None.
    """
    if step not in self._steps:
      yield
      return
    if not self._recording:
      tf.profiler.experimental.start(self._directory)
      self._recording = True
    with tf.profiler.experimental.Trace("train", step_num=step, _r=1):
      yield
    if step == self._steps[-1]:
      self.stop()

  def stop(self):
    """Writes what has been recorded, if a run stops before the last step."""
    if self._recording:
      self._recording = False
      tf.profiler.experimental.stop()
      logging.info("Profile of steps %d to %d: %s", self._steps[0],
                   self._steps[-1], self._directory)
