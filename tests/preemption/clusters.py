"""One of two workers gets SIGTERM at a moment; all are then started again."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

from benchmarks import drawn_records
from tests.preemption import notices
from tests.training import fake_cluster

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

# Seconds.
_LIMIT = 900.0

_FLAGS = {
    "data": "records", "device": "cpu", "backbone": "small",
    "backbone_weights": "none", "fc_units": 16, "train_sizes": 64,
    "eval_size": 64, "student_size": 56, "num_proposals": 16,
    "global_batch_size": 2, "train_steps": 400, "steps_per_loop": 10,
    "checkpoint_interval": 100, "eval_interval": 0, "eval_split": "",
    "distribution_strategy": "multi_worker_mirrored", "learning_rate": 1e-5,
}


@dataclasses.dataclass(frozen=True)
class Case:
  """A moment in the life of two workers.

  Attributes:
    moment: for people.
    index: of the worker that gets the signal.
    come: see `notices.Case`; of what this worker has written.
    delay: seconds from there.
    flags: of both, beside the usual ones.
    alone: whether the other one has not been started.
  """
  moment: str
  index: int
  come: object
  delay: float
  flags: dict
  alone: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of it.

  Attributes:
    ends: (seconds from the signal, exit status) of each worker.
    resumed: what the first worker writes when all are started again.
  """
  ends: tuple
  resumed: str


def cases():
  """List of `Case`."""
  step = notices.logged("step 20/")
  wsd = {"stage": "wsd", "workdir": "run/new"}
  cached = {"stage": "kd_prediction", "workdir": "run/new",
            "teacher": "run/wsd", "teacher_cache": "on"}
  validated = {**wsd, "eval_split": "test", "eval_interval": 20,
               "steps_per_loop": 10}
  return [
      Case("waits for the other one", 1, notices.logged("waits for"), 2, wsd,
           alone=True),
      Case("first step", 1, notices.logged("Compilation by XLA"), 2, wsd),
      Case("a step", 1, step, 0.5, wsd),
      Case("a step, the first worker", 0, step, 0.5, wsd),
      Case("validation", 1, step, 1.0, validated),
      Case("validation, the first worker", 0, step, 1.0, validated),
      Case("teacher cache", 1, notices.logged("to compute"), 1.0, cached),
  ]


def prepare(folder):
  """Writes records and trains a teacher."""
  os.makedirs(os.path.join(folder, "records"))
  for split, number in (("trainval", 240), ("test", 600)):
    drawn_records.write(os.path.join(folder, "records"), split, number, 16,
                        num_shards=4)
  with contextlib.ExitStack() as stack:
    process, read = stack.enter_context(_worker(folder, 0, None, {
        **_FLAGS, "stage": "wsd", "workdir": "run/wsd", "train_steps": 1,
        "steps_per_loop": 1, "distribution_strategy": "one_device"}))
    if process.wait(_LIMIT):
      raise RuntimeError(read())


def give(case, folder):
  """Starts workers, gives one of them notice, and starts all again.

  Args:
    case: a `Case`.
    folder: prepared.

  Returns:
    `Outcome`.
  """
  flags = {**_FLAGS, **case.flags}
  running = [case.index] if case.alone else [0, 1]
  with contextlib.ExitStack() as stack:
    addresses = _addresses()
    workers = {index: stack.enter_context(
        _worker(folder, index, addresses, flags)) for index in running}
    process, read = workers[case.index]
    _wait(lambda: case.come(read()), process, read)
    time.sleep(case.delay)
    process.send_signal(signal.SIGTERM)
    start, ends = time.monotonic(), {}
    while len(ends) < len(running):
      for index, (process, _) in workers.items():
        if index not in ends and process.poll() is not None:
          ends[index] = time.monotonic() - start, process.returncode
      time.sleep(0.01)
  with contextlib.ExitStack() as stack:
    addresses = _addresses()
    workers = [stack.enter_context(_worker(folder, index, addresses, flags))
               for index in (0, 1)]
    process, read = workers[0]
    _wait(lambda: notices.logged(r"step \d+/\d+ \|")(read()), process, read)
    resumed = [line.rpartition("/")[2] for line in read().splitlines()
               if "Resuming from" in line]
  return Outcome(tuple(ends[index] for index in running),
                 resumed[0].rstrip(".") if resumed else "from the start")


def _addresses():
  return [f"127.0.0.1:{fake_cluster.free_port()}" for _ in range(2)]


@contextlib.contextmanager
def _worker(folder, index, addresses, flags):
  """Yields its process and a function that reads what it has written."""
  path = os.path.join(os.path.dirname(folder), f"worker-{index}.txt")
  environment = {**os.environ, "PYTHONPATH": _ROOT}
  if addresses:
    environment["TF_CONFIG"] = json.dumps({
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": index}})
  with open(path, "wb") as log:
    process = subprocess.Popen(
        [sys.executable, "-m", "kdwsd.train",
         *(f"--{name}={value}" for name, value in flags.items())],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
        stderr=log)

  def read():
    with open(path, encoding="utf-8", errors="replace") as file:
      return file.read()

  try:
    yield process, read
  finally:
    process.kill()
    process.wait()


def _wait(come, process, read):
  deadline = time.monotonic() + _LIMIT
  while not come():
    if process.poll() is not None or time.monotonic() > deadline:
      raise RuntimeError(f"expected it to come to its moment:\n{read()}")
    time.sleep(0.01)
