"""Runs targets in processes of their own, so that a crash is only a finding."""

import base64
import dataclasses
import json
import os
import pathlib
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tests.fuzz import cases
from tests.fuzz import running

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Without a word for so long a worker hangs. It starts slowly: TensorFlow.
SILENCE_SECONDS, START_SECONDS = 60, 300
_MOST_CRASHES = 20


@dataclasses.dataclass(frozen=True)
class Found:
  """A failure that was kept: `folder` holds the case and what to do."""
  target: str
  signature: str
  folder: str


class Supervisor:
  """Tries targets one after another and keeps what fails."""

  def __init__(self, failures, seed, on_progress=lambda name, counts: None,
               silence_seconds=SILENCE_SECONDS):
    """Sets out.

    Args:
      failures: folder for failing cases; made when there is one.
      seed: int.
      on_progress: called with target and `running.Counts`.
      silence_seconds: after which a worker is taken to hang.
    """
    self._failures, self._seed = failures, seed
    self._on_progress = on_progress
    self._silence = silence_seconds

  def run(self, target, num_inputs):
    """Tries a target.

    Returns:
      `running.Counts` and a list of `Found`.
    """
    total, found, attempt = running.Counts(), {}, 0
    while total.tried < num_inputs and attempt < _MOST_CRASHES:
      counts, failures, end = self._work(
          target, num_inputs - total.tried, f"{self._seed}.{attempt}", total)
      total = _sum(total, counts)
      for failure in failures:
        found.setdefault(failure["signature"], failure)
      if end is not None:  # The case it died of counts, and failed.
        total.tried, total.failed = total.tried + 1, total.failed + 1
        found.setdefault(end["signature"], end)
      elif not counts.tried:
        break
      attempt += 1
    return total, [self._keep(target, failure) for failure in found.values()]

  def _work(self, target, num_inputs, seed, so_far):
    """One worker: counts, failures, and how it died or None."""
    folder = tempfile.mkdtemp(
        prefix="kdwsd-fuzz-",
        dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    case_folder = os.path.join(folder, "case")
    try:
      with open(os.path.join(folder, "log"), "w+b") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", target,
             str(num_inputs), seed, case_folder],
            cwd=_ROOT, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3",
                 "MPLBACKEND": "Agg"})
        try:
          counts, failures, hangs = self._listen(worker, target, so_far)
        finally:
          worker.kill()
          worker.wait()
          worker.stdout.close()
        if failures is not None:
          return counts, failures, None
        log.seek(0)
        why = ("hangs" if hangs else
               f"ends with {_name_of(worker.returncode)}")
        return counts, [], {
            "signature": f"the process {why}",
            "details": log.read()[-4000:].decode("utf-8", "replace"),
            "case": {path: base64.b64encode(content).decode("ascii")
                     for path, content in cases.read(case_folder).items()}}
    finally:
      shutil.rmtree(folder, ignore_errors=True)

  def _listen(self, worker, target, so_far):
    """Counts; failures, or None if it died; and whether it had to be killed."""
    counts, buffer, heard = running.Counts(), b"", False
    with selectors.DefaultSelector() as selector:
      selector.register(worker.stdout, selectors.EVENT_READ)
      while True:
        patience = self._silence if heard else START_SECONDS
        if not selector.select(patience):
          worker.send_signal(signal.SIGKILL)
          return counts, None, True
        chunk = os.read(worker.stdout.fileno(), 2 ** 20)
        if not chunk:
          worker.wait()
          return counts, None, False
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
          heard, said = True, json.loads(line)
          counts = running.Counts(**said["counts"])
          self._on_progress(target, _sum(so_far, counts))
          if said.get("done"):
            return counts, said["failures"], False

  def _keep(self, target, failure):
    short = target.rpartition(".")[2]
    number = 1
    while os.path.exists(os.path.join(self._failures, f"{short}-{number}")):
      number += 1
    folder = os.path.join(self._failures, f"{short}-{number}")
    case = {path: base64.b64decode(content)
            for path, content in failure["case"].items()}
    cases.write(case, os.path.join(folder, "case"))
    command = shlex.join([
        "python", "-m", "tests.fuzz", f"--targets={target}",
        f"--replay={os.path.join(folder, 'case')}"])
    with open(os.path.join(folder, "failure.txt"), "w",
              encoding="utf-8") as file:
      file.write(f"{target}: {failure['signature']}\n\n{command}\n\n"
                 f"{failure['details']}\n")
    return Found(target, failure["signature"], folder)


def progress_line(started, done, total, name, counts):
  """What a terminal shows while it runs."""
  seconds = time.monotonic() - started
  return (f"{done + counts.tried}/{total} inputs, {seconds:.0f} s; {name}: "
          f"{counts.tried} tried, {counts.accepted} accepted, "
          f"{counts.refused} refused, {counts.failed} failed")


def _sum(first, second):
  return running.Counts(
      *(getattr(first, name) + getattr(second, name)
        for name in ("tried", "accepted", "refused", "failed")),
      slowest=max(first.slowest, second.slowest))


def _name_of(status):
  return signal.Signals(-status).name if status < 0 else f"status {status}"
