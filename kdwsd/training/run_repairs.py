"""Repairs a run's small files that list the checkpoints.

Checkpoints have checksums, and damaged ones are skipped on resuming. Without
the small files, a run would start from scratch or fail although there are
intact checkpoints.
"""

import glob
import os

from absl import logging

from kdwsd import files
from kdwsd.training import checkpoints


def repair(folder, best_figure):
  """Repairs the files of a run before it resumes; logs each repair.

  Args:
    folder: `run_folder.RunFolder`.
    best_figure: metric by which the run chooses its best checkpoint. If it has
      changed, the best checkpoint's value of the new metric is used.
  """
  checkpoints.mend_list(folder.checkpoints)
  checkpoints.mend_list(folder.best)
  paths = checkpoints.listed(folder.best)
  if paths and not checkpoints.is_readable(paths[-1]):
    logging.warning(
        "%s: expected the run's best checkpoint. Received: a damaged or "
        "missing file; the search for the best starts again.", paths[-1])
    for path in [*glob.glob(os.path.join(glob.escape(folder.best), "ckpt-*")),
                 os.path.join(folder.best, "checkpoint"), folder.best_figure]:
      if os.path.exists(path):
        os.remove(path)
  elif folder.best_value() is None:
    _mend_figure(folder, best_figure, paths, "a damaged file" if os.path.exists(
        folder.best_figure) else "no such file")
  elif folder.has_config() and folder.read_config().best_figure != best_figure:
    _mend_figure(folder, best_figure, paths, "that of another metric")


def _mend_figure(folder, name, paths, received):
  """Takes the best checkpoint's metric from the history, or removes it."""
  step = checkpoints.step_of(paths[-1]) if paths else None
  value = next((
      entry["figures"][name] for entry in folder.read_history()
      if entry["step"] == step and name in entry.get("figures", ())), None)
  exists = os.path.exists(folder.best_figure)
  if value is None and not exists:
    return  # A run without validation has no such file.
  logging.warning(
      "%s: expected the best %s so far. Received: %s; %s.",
      folder.best_figure, name, received, "the search for the best starts again"
      if value is None else f"the history has {value}")
  if value is None:
    os.remove(folder.best_figure)
  else:
    files.write_json(folder.best_figure, value)
