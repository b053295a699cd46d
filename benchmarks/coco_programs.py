"""A run of `kdwsd.train` on a split of MS-COCO's size, and its report.

Training is stopped within an epoch and resumed by the same command. This module
does not import TensorFlow, which the programs need for themselves.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from benchmarks import clocks
from kdwsd import files

_BATCH = 2
_LEAST_LINES = 2  # Log lines until training is stopped.
_POLL_SECONDS = 0.2
_LATE_STEPS = 2000  # More than are trained until the signal is heeded.
_TIME = r"(\d\d):(\d\d):(\d\d)"


def train(directory, split, work, steps):
  """Trains a small classifier, interrupts it within an epoch, and resumes it.

  Args:
    directory: of the split.
    split: its name.
    work: folder for the run, `run/cls`.
    steps: step from which on it is interrupted.

  Returns:
    `clocks.Taken` of the resumed program, which does one step.
  """
  workdir = os.path.join(work, "run", "cls")
  shutil.rmtree(workdir, ignore_errors=True)
  flags = [
      "--stage=cls", "--backbone=small", "--backbone_weights=none",
      "--student_size=56", "--eval_size=64", "--fc_units=0",
      f"--global_batch_size={_BATCH}", f"--data={directory}",
      f"--train_split={split}", "--eval_split=", f"--workdir={workdir}",
      f"--steps_per_loop={min(100, max(1, steps // _LEAST_LINES))}",
      "--checkpoint_interval=5000"]
  start = time.monotonic()
  with open(os.path.join(work, "train.log"), "wb") as log:
    process = subprocess.Popen(
        _command("train", f"--train_steps={2 * steps + _LATE_STEPS}", *flags),
        stderr=log, stdout=log)
    try:
      while _last_step(workdir) < steps:
        if process.poll() is not None:
          raise _failure("train", process.returncode, log.name)
        time.sleep(_POLL_SECONDS)
      process.send_signal(signal.SIGTERM)
      process.wait()
    finally:
      process.kill()
  trained = time.monotonic() - start
  stopped = max(int(re.match(r"ckpt-(\d+)\.index", name)[1])
                for name in os.listdir(os.path.join(workdir, "checkpoints"))
                if name.endswith(".index"))
  clock = clocks.Clock()
  _run(work, "train", f"--train_steps={stopped + 1}", *flags)
  taken = clock.taken(stopped * _BATCH)
  if _last_step(workdir) != stopped + 1:
    raise RuntimeError(f"Expected step {stopped + 1} to be the last one.")
  with open(log.name, encoding="utf-8") as file:
    resumed = seconds_to_step(file.read(), stopped + 1)
  return dataclasses.replace(taken, remark=(
      f"{trained:.0f} s of training to step {stopped:,}, batches of {_BATCH}, "
      f"status {process.returncode}; the resumed program ended its first step "
      f"{resumed} s after it began to read the checkpoint"))


def seconds_to_step(text, step):
  """Whole seconds from "Resuming from" to a step's line of a training's log."""
  found = re.search(rf"^{_TIME} Resuming from (?:.*\n)+?{_TIME} step {step}/",
                    text, re.MULTILINE)
  begin, end = (
      int(found[group]) * 3600 + int(found[group + 1]) * 60
      + int(found[group + 2]) for group in (1, 4))
  return (end - begin) % 86400


def report(directory, split, work):
  """Evaluates the classifier of `train`, and writes its report."""
  card = files.read_json(os.path.join(directory, f"{split}.json"))
  count = card["num_images"]
  run = os.path.join(work, "run")
  clock = clocks.Clock()
  _run(work, "evaluate", f"--workdir={os.path.join(run, 'cls')}",
       f"--data={directory}", f"--split={split}", "--checkpoint=last")
  evaluated = clock.taken(count)
  _run(work, "report", run, f"--split={split}")
  taken = clock.taken(count, disk_bytes=clocks.size(run))
  return dataclasses.replace(taken, remark=(
      f"{evaluated.seconds:.0f} s of it the evaluation"))


def _command(program, *arguments):
  return [sys.executable, "-m", f"kdwsd.{program}", *arguments]


def _run(work, program, *arguments):
  with open(os.path.join(work, f"{program}.log"), "ab") as log:
    status = subprocess.run(_command(program, *arguments), stderr=log,
                            stdout=log, check=False).returncode
  if status:
    raise _failure(program, status, log.name)


def _failure(program, status, log):
  """An error with the last line of the program's log."""
  with open(log, encoding="utf-8", errors="replace") as file:
    lines = file.read().split("\n")
  last = next((line for line in reversed(lines) if line.strip()), "no message")
  return RuntimeError(f"{program} exited with status {status}: {last}")


def _last_step(workdir):
  """Step of the last line of a run's history; 0 before the first."""
  try:
    with open(os.path.join(workdir, "history.jsonl"), "rb") as file:
      file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
      lines = [line for line in file.read().splitlines() if line[:1] == b"{"]
    return json.loads(lines[-1])["step"]
  except (OSError, IndexError, ValueError):
    return 0
