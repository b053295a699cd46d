"""Logs the progress of the outer loop, as an Orbit action."""

import contextlib
import datetime
import io
import os

from absl import logging

from kdwsd.training import history


@contextlib.contextmanager
def orbit_silenced():
  """Hides Orbit's own log lines; `Progress` writes one line per loop."""
  def is_ours(record):
    return os.path.basename(os.path.dirname(record.pathname)) != "orbit"
  handler = logging.get_absl_handler()
  handler.addFilter(is_ours)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    handler.removeFilter(is_ours)


class Progress:
  """Writes a log line and a line of history after each inner loop.

  Args:
    global_step: variable that counts steps.
    train_steps: number of steps of the run.
    global_batch_size: images per step.
    history_file: path, see `history.append`; None to write no history.
  """

  def __init__(self, global_step, train_steps, global_batch_size, history_file):
    self._global_step = global_step
    self._train_steps = train_steps
    self._global_batch_size = global_batch_size
    self._history_file = history_file
    self._rate = None
    self._had_gradient = True

  def __call__(self, output):
    """Logs the `output` of `inner_loop.Trainer.train_loop_end`."""
    step = int(self._global_step.numpy())
    rate = output["images_per_second"]
    # The first loop includes tracing, so it counts only until the second one.
    self._rate = rate if self._rate is None else (
        max(rate, 0.7 * self._rate + 0.3 * rate))
    remaining = (self._train_steps - step) * self._global_batch_size
    eta = datetime.timedelta(seconds=round(remaining / self._rate))
    skipped = ""
    if output.get("skipped_steps"):
      skipped = (f" | {output['skipped_steps']} steps skipped, loss scale "
                 f"{output['loss_scale']:g}")
    logging.info(
        "step %d/%d | loss %.4f | learning rate %.2e | gradient norm %.3g%s | "
        "%.2f images/s | ETA %s", step, self._train_steps, output["loss"],
        output["learning_rate"], output["gradient_norm"], skipped, rate, eta)
    if output["gradient_norm"] == 0 and self._had_gradient:
      self._had_gradient = False  # Warns once.
      logging.warning(
          "step %d: the gradient was 0 in every step since the last log line: "
          "the model does not train. Probable causes: all images have the same "
          "labels, all features are 0 (--score_scale, or a learning rate that "
          "was too high), or the loss is at its minimum.", step)
    if self._history_file:
      history.append(self._history_file, {"step": step, **output})
