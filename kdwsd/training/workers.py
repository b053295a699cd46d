"""The worker processes of one run: start, common settings, loss of a worker.

`TF_CONFIG` lists the workers; training and communication are left to
TensorFlow's strategy and collectives. This module keeps a worker from waiting
silently for ever when another one does not start, has different settings, was
interrupted, or has died.
"""

import contextlib
import dataclasses
import functools
import json
import os
import socket
import threading
import time

from absl import logging
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.data import input_pipeline

# Exit status if another worker is missing: `EX_TEMPFAIL` of sysexits.h, because
# restarting all workers may succeed.
EXIT_LOST = 75

# Seconds.
START_TIMEOUT = 600.0
_START_INTERVAL = 0.5
# A worker is lost after this many failed connections in a row.
_PROBE_INTERVAL = 5.0
_PROBES = 3
# Time that the main thread has to exit; it may hang in a collective.
_PATIENCE = 30.0

_TYPES = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run.

  Attributes:
    addresses: `host:port` of each worker; the first one writes shared files.
    index: index of this process.
  """
  addresses: tuple[str, ...]
  index: int


def read_cluster():
  """Reads the workers of a run from `TF_CONFIG`.

  Returns:
    `Cluster`; None if the variable is not set or lists no workers.

  Raises:
    errors.InputError: it does not define the workers and this process's task.
  """
  text = os.environ.get("TF_CONFIG")
  if not text:
    return None
  try:
    content = json.loads(text)
  except ValueError as error:
    raise errors.InputError(
        f"TF_CONFIG: expected JSON. Received: {text!r}; {error}.") from error
  if not isinstance(content, dict) or not content.get("cluster"):
    if content == {} or isinstance(content, dict) and not content.get("task"):
      return None
    raise _bad('{"cluster": {...}, "task": {...}}', text)
  cluster, task = content["cluster"], content.get("task")
  if not isinstance(cluster, dict) or not all(
      kind in _TYPES and isinstance(addresses, list) and all(
          isinstance(address, str) and address.rpartition(":")[2].isdigit()
          and address.rpartition(":")[0] for address in addresses)
      for kind, addresses in cluster.items()):
    raise _bad('a cluster such as {"worker": ["host:port", "host:port"]}',
               json.dumps(cluster))
  addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
  if len(set(addresses)) < len(addresses):
    raise _bad("an address for each worker", json.dumps(cluster))
  if not isinstance(task, dict) or task.get("type") not in cluster:
    raise _bad(f"a task whose type is one of {', '.join(cluster)}",
               json.dumps(task))
  number = len(cluster[task["type"]])
  index = str(task.get("index"))
  if not index.isdigit() or int(index) >= number:
    raise _bad(f"a task whose index is from 0 to {number - 1}",
               json.dumps(task))
  before = len(cluster.get("chief", [])) if task["type"] == "worker" else 0
  return Cluster(tuple(addresses), before + int(index))


def wait_for_others(cluster):
  """Waits until all workers have started.

  TensorFlow would wait for an hour and ignore signals. Here each worker listens
  on the port that TensorFlow will use until it has connected to all others.

  Args:
    cluster: `Cluster`.

  Raises:
    errors.InputError: the port is in use.
    interruption.Interrupted: not all have started within `START_TIMEOUT`.
  """
  if len(cluster.addresses) == 1:
    return
  port = int(cluster.addresses[cluster.index].rpartition(":")[2])
  try:
    listener = _listen(port)
  except OSError as error:
    raise errors.InputError(
        f"TF_CONFIG: expected a free port for worker {cluster.index}. "
        f"Received: {port}; {error.strerror}.") from error
  logging.info(
      "Worker %d of %d has started and waits for the others (%g minutes).",
      cluster.index, len(cluster.addresses), START_TIMEOUT / 60)
  until = time.monotonic() + START_TIMEOUT
  with listener:
    while missing := unreachable(cluster):
      if time.monotonic() > until:
        raise interruption.Interrupted(
            f"the lack of {missing}", EXIT_LOST,
            f"error: TF_CONFIG: expected {len(cluster.addresses)} workers "
            f"within {START_TIMEOUT:g} s. Received: all but {missing}. Start "
            "all workers again.")
      with contextlib.suppress(OSError):  # No more connections.
        while True:
          listener.accept()[0].close()
      time.sleep(_START_INTERVAL)
  logging.info("All workers have started.")


def begin(strategy, config, train_set):
  """Waits for all workers and checks that they have the same settings.

  From here to `end` a thread watches the other workers. If one dies, it exits
  this process with `EXIT_LOST`, even while a step hangs.

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


@contextlib.contextmanager
def lost_workers_reported():
  """Turns an error due to a lost worker into one line that names the worker.

  Raises:
    interruption.Interrupted: another worker cannot be reached.
  """
  try:
    yield
  except tf.errors.OpError:
    cluster = read_cluster()
    if cluster is None:
      raise
    for _ in range(_PROBES):
      missing = unreachable(cluster)
      if missing:
        raise _lost(missing) from None
      time.sleep(_PROBE_INTERVAL)
    raise


def unreachable(cluster):
  """Text that lists the other workers that do not listen; empty for none."""
  return " and ".join(
      f"worker {i} ({address})" for i, address in enumerate(cluster.addresses)
      if i != cluster.index and not _listens(address))


def _cluster(strategy):
  """The `Cluster` of a strategy; None if this is the only worker."""
  if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
    return None
  cluster = read_cluster()
  return cluster if cluster and len(cluster.addresses) > 1 else None


@functools.lru_cache(maxsize=1)
def _sum(strategy):
  """A function that sums over workers; a graph takes a third of the time."""
  @tf.function(autograph=False)
  def add_up(values):
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

  return add_up


def _listen(port):
  """Opens a non-blocking listener on a port of this machine."""
  both = socket.has_dualstack_ipv6()
  listener = socket.create_server(
      ("", port), family=socket.AF_INET6 if both else socket.AF_INET,
      dualstack_ipv6=both)
  listener.setblocking(False)
  return listener


def _listens(address):
  host, _, port = address.rpartition(":")
  try:
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
      return True
  except OSError:
    return False


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
      missing = unreachable(cluster)
      missed = missed + 1 if missing else 0
    lost = _lost(missing)
    interruption.request(lost)
    time.sleep(_PATIENCE)
    _end(lost.message)

  threading.Thread(target=look, daemon=True).start()


def _lost(missing):
  return interruption.Interrupted(
      f"the loss of {missing}", EXIT_LOST,
      f"error: lost {missing}; training needs all workers. Start all of them "
      "again: the same command resumes from the last checkpoint.")


def _end(message):
  logging.error("%s", message)
  logging.flush()
  os._exit(EXIT_LOST)


def _bad(expected, received):
  return errors.InputError(
      f"TF_CONFIG: expected {expected}. Received: {received}.")
