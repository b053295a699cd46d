"""The worker processes of one run: common settings, loss of a worker.

Training and communication are left to TensorFlow's strategy and collectives.
This module keeps a worker from waiting silently for ever when another one has
different settings, was interrupted, or has died; see `cluster` for the start.
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
import threading
import time

from absl import logging
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.data import input_pipeline
from kdwsd.training import cluster as cluster_lib

# Seconds.
# A worker is lost if it is not found to train so often in a row.
_PROBE_INTERVAL = 5.0
_PROBES = 3
# Between questions to all workers whether one is to stop.
_QUESTION_INTERVAL = 1.0
# Time that the main thread has to exit; it may hang in a collective.
_PATIENCE = 30.0


def begin(strategy, config, train_set):
  """Waits for all workers and checks that they have the same settings.

  From here to `end` a thread watches the other workers. If one dies, it exits
  this process with `cluster_lib.EXIT_LOST`, even while a step hangs.

  Args:
    strategy: `tf.distribute.Strategy`.
    config: `config.Config` of the run.
    train_set: `record_files.RecordSet` to train on.

  Raises:
    errors.InputError: a worker has other settings or records.
  """
  cluster = _cluster(strategy)
  if cluster is None:
    return
  mine = {f"--{name}": value
          for name, value in dataclasses.asdict(config).items()}
  mine["the records of --train_split"] = input_pipeline.fingerprint(train_set)
  text = np.frombuffer(json.dumps(mine).encode(), np.uint8)
  lengths = gather(strategy, [len(text)])[:, 0]                      # [W]
  rows = gather(strategy, np.pad(text, [0, max(lengths) - len(text)]))
  everyone = [json.loads(bytes(row[:length].astype(np.uint8)))
              for row, length in zip(rows, lengths)]
  different = [
      f"{name} " + ", ".join(
          f"{one.get(name)} of worker {i}" for i, one in enumerate(everyone))
      for name in mine
      if any(one.get(name) != everyone[0].get(name) for one in everyone)]
  if different:
    raise errors.InputError(
        "expected the same settings in all workers. Received: "
        + "; ".join(different) + ".")
  _watch(cluster)


def end(strategy):
  """Waits for all workers and stops watching them."""
  if _cluster(strategy) is not None:
    gather(strategy, [0])
    _unwatched.set()


def gather(strategy, values):
  """Gathers integers from all workers; all must call it at the same point.

  Args:
    strategy: `tf.distribute.Strategy`.
    values: [n] int, with the same n in all workers.

  Returns:
    [W, n] int64, one row per worker.
  """
  cluster = _cluster(strategy)
  if cluster is None:
    return np.array([values], np.int64)
  table = np.zeros([len(cluster.addresses), len(values)], np.int64)
  table[cluster.index] = values
  return _sum(strategy)(tf.constant(table)).numpy()


def interrupted(strategy):
  """The interruption of any worker, so that all stop after the same step.

  All must call it at the same point, and all get the same exit status.
  TensorFlow's PreemptionCheckpointHandler does not fit: its keys can be set
  only once per process, but a process may run several stages, and it adds a
  variable to the checkpoints.

  Returns:
    `interruption.Interrupted` or None.
  """
  own = interruption.pending()
  if _cluster(strategy) is None:
    return own
  codes = gather(strategy, [own.code if own else 0])[:, 0]           # [W]
  if not codes.any():
    return None
  worker = int(np.flatnonzero(codes)[0])
  return own or interruption.Interrupted(
      f"what stopped worker {worker}", int(codes[worker]))


class Questions:
  """Calls `interrupted` after some steps, the same ones in all workers.

  The workers wait for each other each time, so it is once a second, by the
  clock of the first worker, and not after each step.
  """

  def __init__(self, strategy, clock=time.monotonic):
    """Asks after the first step, then as often as steps take time.

    Args:
      strategy: `tf.distribute.Strategy`.
      clock: function that returns seconds.
    """
    self._strategy, self._clock = strategy, clock
    self._asked, self._taken, self._interval = clock(), 0, 1

  def after_step(self):
    """The interruption of any worker, or None; call it after each step."""
    if _cluster(self._strategy) is None:
      return interruption.pending()
    self._taken += 1
    if self._taken < self._interval:
      return None
    found = interrupted(self._strategy)
    now = self._clock()
    fitting = int(self._taken * _QUESTION_INTERVAL / max(
        now - self._asked, 1e-3))
    # At most twice as many: the first step may have been an easy one.
    wish = max(1, min(fitting, 2 * self._interval))
    self._interval = int(gather(self._strategy, [wish])[0, 0])
    self._asked, self._taken = now, 0
    return found


@contextlib.contextmanager
def lost_workers_reported():
  """Turns an error due to a lost worker into one line that names the worker.

  Raises:
    interruption.Interrupted: another worker cannot be reached.
  """
  try:
    yield
  except tf.errors.OpError as error:
    cluster = cluster_lib.read_cluster()
    if cluster is None:
      raise
    for _ in range(_PROBES):
      missing = cluster_lib.lost(cluster)
      if missing:
        raise _lost(missing) from None
      time.sleep(_PROBE_INTERVAL)
    late = re.search(r"/job:(\w+)\S*/task:(\d+) heartbeat timeout", str(error))
    if late:
      raise _lost(f"task {late[2]} of {late[1]}, which stood still for "
                  f"{cluster_lib.STANDSTILL:g} s") from None
    raise


def _cluster(strategy):
  """The `Cluster` of a strategy; None if this is the only worker."""
  if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
    return None
  cluster = cluster_lib.read_cluster()
  return cluster if cluster and len(cluster.addresses) > 1 else None


@functools.lru_cache(maxsize=1)
def _sum(strategy):
  """A function that sums over workers; a graph takes a third of the time."""
  @tf.function(autograph=False)
  def add_up(values):
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

  return add_up


# Set while no workers are watched.
_unwatched = threading.Event()
_unwatched.set()


def _watch(cluster):
  """Watches the other workers in a thread, until `end`."""
  _unwatched.clear()

  def look():
    missed = 0
    while missed < _PROBES:
      if _unwatched.wait(_PROBE_INTERVAL):
        return
      missing = cluster_lib.lost(cluster)
      missed = missed + 1 if missing else 0
    lost = _lost(missing)
    interruption.request(lost)
    time.sleep(_PATIENCE)
    _end(lost.message)

  threading.Thread(target=look, daemon=True).start()


def _lost(missing):
  return interruption.Interrupted(
      f"the loss of {missing}", cluster_lib.EXIT_LOST,
      f"error: lost {missing}; training needs all workers. Start all of them "
      "again: the same command resumes from the last checkpoint.")


def _end(message):
  logging.error("%s", message)
  logging.flush()
  os._exit(cluster_lib.EXIT_LOST)
