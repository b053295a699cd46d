"""Writes the report of a chain of runs, one HTML file."""

import datetime
import os
import platform
import shlex

import numpy as np
import tensorflow as tf

import kdwsd
from kdwsd import errors
from kdwsd import files
from kdwsd import invocation
from kdwsd.reporting import comparison
from kdwsd.reporting import measured
from kdwsd.reporting import page
from kdwsd.reporting import page_data
from kdwsd.reporting import repeats
from kdwsd.training import run
from kdwsd.training import run_copies
from kdwsd.training import run_folder

FILE = "report.html"


def write(workdir, *, split=None, output=None):
  """Writes the report, atomically.

  Args:
    workdir: work directory of the chain.
    split: split of the metrics; None for the runs' test split, or else their
      validation split.
    output: path of the HTML file; None for `FILE` in the work directory.

  Returns:
    The path written; the table as text; and as a JSON-serializable dict.

  Raises:
    errors.InputError: no model of the chain was evaluated on the split.
  """
  with run_copies.naming(workdir):
    return _write(workdir, split, output)


def _write(workdir, split, output):
  directory = run_copies.local(workdir)  # First: it has the stages' copies.
  stages = read_stages(workdir)
  given = split
  split = split or _reported_split(workdir, stages)
  command = ["python", "-m", "kdwsd.report", workdir]
  if given:
    command.append(f"--split={given}")
  report = page_data.collect(
      directory, split, stages, command=invocation.adapt(shlex.join(command)),
      versions={"kdwsd": kdwsd.__version__,
                "Python": platform.python_version(),
                "TensorFlow": tf.__version__, "NumPy": np.__version__,
                "system": f"{platform.system()} {platform.machine()}"},
      made=datetime.date.today().isoformat())
  output = output or os.path.join(workdir, FILE)
  files.write_text(output, page.page(report))
  more = repeats.format_lines(report.gain) if report.gain else ()
  return output, comparison.format_table(report.rows, more), {
      **comparison.as_json(report.rows), "gain": repeats.as_json(report.gain)}


def folders(workdir):
  """The `run_folder.RunFolder` of each stage of a chain, by its name."""
  return {stage: run_folder.RunFolder(os.path.join(workdir, stage))
          for stage in run.STAGES}


def read_stages(workdir):
  """Reads settings and histories of the stages that were started.

  Settings may have been written by any version of the package.

  Args:
    workdir: work directory of the chain.

  Returns:
    List of `page_data.Stage`, in the order of training.
  """
  stages = []
  for name, folder in folders(workdir).items():
    if folder.has_config():
      config = files.read_json(folder.config_file)
      measured.check_config(config, folder.config_file)
      stages.append(page_data.Stage(
          name=name, config=config, history=folder.read_history(),
          command=train_command(config, folder.path)))
  return stages


def train_command(config, workdir):
  """The command that repeats a run.

  Args:
    config: dict as in config.json; each key but `classes` is a flag.
    workdir: work directory of the run.

  Returns:
    Text for a shell, one flag per line.
  """
  flags = [f"--workdir={workdir}"]
  for name, value in config.items():
    if name == "classes" or value is None:
      continue
    if name == "deterministic":  # A flag of three values.
      value = "on" if value else "off"
    elif isinstance(value, bool):
      value = str(value).lower()
    elif isinstance(value, (list, tuple)):
      value = ",".join(map(str, value))
    flags.append(f"--{name}={value}")
  return " \\\n  ".join([invocation.adapt("python -m kdwsd.train")]
                       + [shlex.quote(flag) for flag in flags])


def _reported_split(workdir, stages):
  for stage in stages:
    split = stage.config.get("test_split") or stage.config.get("eval_split")
    if split:
      return split
  if not stages:
    raise errors.InputError(
        f"{workdir}: expected the work directory of a chain of runs, with some "
        f"of the sub-directories {', '.join(run.STAGES)}. Received: none of "
        "them.")
  raise errors.InputError(
      "--split: expected the split of the metrics, because these runs have no "
      "--eval_split. Received: none.")
