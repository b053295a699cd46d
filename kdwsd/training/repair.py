"""What a run puts right in its work directory before it goes on.

Checkpoints are read with their checksums, and a bad one is passed over
(`checkpoints.restore_latest`). What is left are the small files that say which
there are: damaged, they would make a run begin anew, or fail, with good
checkpoints beside them.
"""

import glob
import os

from absl import logging

from kdwsd import errors
from kdwsd import files
from kdwsd.training import checkpoints
from kdwsd.training import history

# Of `orbit.actions.NewBestMetric`, in the directory of the best checkpoint.
FIGURE = "figure.json"


def repair(workdir, best_figure):
  """Puts the small files of a work directory right; says what it does.

  Args:
    workdir: of the run; it need not be there.
    best_figure: by which the run chooses its best checkpoint.
  """
  for name in (checkpoints.LAST, checkpoints.BEST):
    _mend_list(os.path.join(workdir, name))
  _mend_best(workdir, best_figure)


def _mend_list(directory):
  """Writes TensorFlow's list of checkpoints anew where it cannot be read."""
  path = os.path.join(directory, "checkpoint")
  paths = checkpoints.listed(directory)
  there = os.path.exists(path)
  if checkpoints.read_list(directory) is not None or not (there or paths):
    return
  logging.warning(
      "%s: expected TensorFlow's list of checkpoints. Received: %s; it is made "
      "anew from the files beside it: %s.", path,
      "a damaged file" if there else "none",
      ", ".join(map(os.path.basename, paths)) or "none")
  if not paths:
    os.remove(path)
    return
  # With their times: CheckpointManager forgets those that have none.
  files.write_text(path, "".join(
      [f'model_checkpoint_path: "{os.path.basename(paths[-1])}"\n']
      + [f'all_model_checkpoint_paths: "{os.path.basename(p)}"\n'
         for p in paths]
      + [f"all_model_checkpoint_timestamps: {os.path.getmtime(p + '.index')}\n"
         for p in paths]
      + ["last_preserved_timestamp: 0\n"]))


def _mend_best(workdir, best_figure):
  """Sees to it that the best checkpoint and its figure belong together."""
  directory = os.path.join(workdir, checkpoints.BEST)
  paths = checkpoints.listed(directory)
  figure = os.path.join(directory, FIGURE)
  if paths and not checkpoints.is_readable(paths[-1]):
    logging.warning(
        "%s: expected the run's best checkpoint. Received: a damaged or "
        "missing file; from here on the best is sought anew.", paths[-1])
    for path in glob.glob(os.path.join(glob.escape(directory), "ckpt-*")):
      os.remove(path)
    for path in (figure, os.path.join(directory, "checkpoint")):
      if os.path.exists(path):
        os.remove(path)
    return
  if _is_number(figure) or not os.path.exists(figure):
    return
  step = checkpoints.step_of(paths[-1]) if paths else None
  value = next((
      entry["figures"][best_figure] for entry in history.read(workdir)
      if entry["step"] == step and best_figure in entry.get("figures", ())),
      None)
  logging.warning(
      "%s: expected the best %s so far. Received: a damaged file; %s.", figure,
      best_figure, "from here on the best is sought anew" if value is None
      else f"by the history it was {value}")
  if value is None:
    os.remove(figure)
  else:
    files.write_json(figure, value)


def _is_number(path):
  try:
    return isinstance(files.read_json(path), float)
  except errors.InputError:
    return False
