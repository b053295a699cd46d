"""Runs of several workers: processes of their own, as users start them."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
import tensorflow as tf

from tests import whole_runs
from tests.training import fake_cluster

_FLAGS = {
    "backbone": "small", "backbone_weights": "none", "fc_units": 16,
    "train_sizes": "32,48", "eval_size": 32, "num_proposals": 8,
    "global_batch_size": 4, "train_steps": 40, "steps_per_loop": 2,
    "checkpoint_interval": 4, "eval_interval": 20, "learning_rate": 1e-3,
    "spatial_weight": 1e-4,
}

_CHAIN = {
    **_FLAGS, "stage": "all", "eval_size": 48, "student_size": 56,
    "train_steps": 8, "checkpoint_interval": 2, "eval_interval": 4,
}

_STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")

# Of the machine, busy or not.
_LONG = 1200


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
  return whole_runs.write_records(tmp_path_factory)


@pytest.fixture(scope="module", name="alone")
def fixture_alone(data, tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp("alone"))
  done, = _Workers(data, workdir, 1).end()
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.fixture(scope="module", name="chain_alone")
def fixture_chain_alone(data, tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp("chain"))
  done, = _Workers(data, workdir, 1, **_CHAIN).end()
  assert done.returncode == 0, done.stderr
  return workdir


class _Workers:
  """The processes of one run; one alone is an ordinary run."""

  def __init__(self, data, workdir, number, *, differing=None, **flags):
    """Starts them; `differing` has flags of the last one alone."""
    self.workdir = workdir
    addresses = [f"127.0.0.1:{fake_cluster.free_port()}"
                 for _ in range(number)]
    self.processes, self._started = [], []
    for index in range(number):
      environment = {}
      given = {**_FLAGS, "data": data, "workdir": workdir, **flags}
      if number > 1:
        given["distribution_strategy"] = "multi_worker_mirrored"
        environment["TF_CONFIG"] = json.dumps({
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index}})
      if index == number - 1:
        given.update(differing or {})
      self._started.append((given, environment))
      self.processes.append(whole_runs.start(given, environment))

  def until(self, step):
    """Waits until all have come to a step."""
    whole_runs.wait_for_step(self.processes, self.workdir, step, _LONG)
    return self

  @contextlib.contextmanager
  def slowed(self, index, stops, pause):
    """Stops one of them in turns for these seconds, and lets it run."""
    done = threading.Event()

    def slow():
      for seconds in itertools.cycle(stops):
        for number, until in ((signal.SIGSTOP, seconds),
                              (signal.SIGCONT, pause)):
          self.processes[index].send_signal(number)
          if done.wait(until):
            return

    thread = threading.Thread(target=slow)
    thread.start()
    try:
      yield self
    finally:
      done.set()
      thread.join()
      self.processes[index].send_signal(signal.SIGCONT)

  def tell(self, index, number):
    """Sends one of them a signal."""
    assert self.processes[index].poll() is None, "ended before it was told"
    self.processes[index].send_signal(number)
    return self

  def kept_alive(self):
    """Starts each one that ends badly again, alone; returns how often."""
    count, deadline = 0, time.monotonic() + _LONG
    while time.monotonic() < deadline:
      codes = [process.poll() for process in self.processes]
      if not any(code is None or code for code in codes):
        return count
      for index, code in enumerate(codes):
        if code:
          count += 1
          self.processes[index] = whole_runs.start(*self._started[index])
      time.sleep(0.1)
    raise AssertionError(f"still at it, after {count} times")

  def end(self):
    """A `CompletedProcess` for each."""
    done = []
    for process in self.processes:
      out, err = process.communicate(timeout=_LONG)
      done.append(subprocess.CompletedProcess(
          process.args, process.returncode, out, err))
    return done


def _assert_close(expected, received):
  whole_runs.assert_close_weights(
      expected, received, relative=1e-3, absolute=1e-6)


@pytest.mark.slow
def test_two_workers_are_one_whatever_happens_to_them(data, alone, tmp_path):
  workdir = str(tmp_path)

  # One dies: the other says so, and ends.
  running = _Workers(data, workdir, 2).until(6).tell(1, signal.SIGKILL)
  start = time.monotonic()
  survivor, _ = running.end()
  assert time.monotonic() - start < 60
  assert survivor.returncode == 75, survivor.stderr
  assert "error: lost worker 1 (127.0.0.1:" in survivor.stderr
  assert "Traceback" not in survivor.stderr

  # One is told to stop: both do, after the same step, with one checkpoint.
  done = _Workers(data, workdir, 2).until(14).tell(1, signal.SIGTERM).end()
  steps = []
  for one, reason in zip(done, ("what stopped worker 1", "SIGTERM")):
    assert one.returncode == 143, one.stderr
    assert "Traceback" not in one.stderr
    steps.append(int(re.search(
        rf"Stopped at step (\d+)\D* by {reason}; the same", one.stderr)[1]))
  assert "Resuming from" in done[0].stderr
  assert steps[0] == steps[1]
  folder = "checkpoints" if steps[0] != 20 else "unvalidated"
  assert tf.train.latest_checkpoint(
      os.path.join(workdir, folder)).endswith(f"-{steps[0]}")

  for one in _Workers(data, workdir, 2).end():
    assert one.returncode == 0, one.stderr
  _assert_close(alone, workdir)


@pytest.mark.parametrize("flags, said", [
    ({"learning_rate": 2e-3}, "--learning_rate 0.001 of worker 0, 0.002 of"),
    ({"train_split": "test"}, "--train_split trainval of worker 0, test of")])
def test_workers_with_other_flags_are_refused(flags, said, data, tmp_path):
  workdir = str(tmp_path / "run")
  for one in _Workers(data, workdir, 2, differing=flags).end():
    assert one.returncode == 2, one.stderr
    assert "expected the same settings in all workers." in one.stderr
    assert said in one.stderr
    assert "Traceback" not in one.stderr
  assert not os.path.exists(workdir) or "checkpoints" not in os.listdir(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("number, cache", [
    (4, "none"), (2, "memory"), (2, "disk")])
def test_many_workers_and_caches_are_one(number, cache, data, alone, tmp_path):
  for one in _Workers(data, str(tmp_path), number, cache=cache).end():
    assert one.returncode == 0, one.stderr
  _assert_close(alone, str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("given", ["nothing", "teacher", "another store"])
def test_a_chain_of_two_workers_is_that_of_one(
    given, data, chain_alone, tmp_path):
  flags = dict(_CHAIN)
  if given == "teacher":
    flags["teacher"] = os.path.join(chain_alone, "wsd")
  # By tf.io.gfile, each worker has a copy of its own.
  scheme = "file://" if given == "another store" else ""
  for one in _Workers(data, f"{scheme}{tmp_path}", 2, **flags).end():
    assert one.returncode == 0, one.stderr
  for stage in _STAGES:
    _assert_close(os.path.join(chain_alone, stage),
                  os.path.join(str(tmp_path), stage))


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_is_started_again_alone_gets_the_other_to_follow(
    index, data, alone, tmp_path):
  running = _Workers(data, str(tmp_path), 2).until(6)
  assert running.tell(index, signal.SIGKILL).kept_alive() == 2
  _assert_close(alone, str(tmp_path))


@pytest.mark.slow
def test_eight_workers_of_which_one_is_slow_and_one_dies_are_one(
    data, tmp_path):
  flags = {"global_batch_size": 8, "train_steps": 24, "eval_interval": 12}
  one, = _Workers(data, str(tmp_path / "alone"), 1, **flags).end()
  assert one.returncode == 0, one.stderr
  workdir = str(tmp_path / "run")

  # A worker that stands still for longer than a dead one would be missed for
  # is waited for. Another dies: all others end.
  running = _Workers(data, workdir, 8, **flags)
  with running.until(4).slowed(7, stops=(25, 1, 1), pause=1):
    running.until(10).tell(3, signal.SIGKILL)
    start = time.monotonic()
    statuses = [one.wait(_LONG) for i, one in enumerate(running.processes)
                if i not in (3, 7)]
    assert time.monotonic() - start < 60
  assert statuses == [75] * 6
  lost = running.end()
  assert (lost[3].returncode, lost[7].returncode) == (-signal.SIGKILL, 75)
  for one in lost[:3] + lost[4:]:
    # Those that ended before are missing, too.
    assert re.search(r"error: lost .*\bworker 3 \(127.0.0.1:", one.stderr)
    assert "Traceback" not in one.stderr

  # As a cluster manager does, with the slow one in the middle of them.
  running = _Workers(data, workdir, 8, **flags)
  with running.until(14).slowed(7, stops=(1,), pause=0.5):
    done = running.end()
  for one in done:
    assert one.returncode == 0, one.stderr
  assert re.search(r"Resuming from .*ckpt-(8|12)\.", done[0].stderr)
  _assert_close(str(tmp_path / "alone"), workdir)
