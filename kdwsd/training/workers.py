"""The worker processes of one run: who they are, agree on, and wait for.

`TF_CONFIG` lists the workers, TensorFlow's collectives carry their messages,
and its strategy trains. This module keeps a worker from waiting without end or
explanation for another that does not start, has other settings, was
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

# Exit status where another worker is missing; `EX_TEMPFAIL` of sysexits.h, for
# a restart of all may well succeed.
EXIT_LOST = 75

# Seconds.
START_TIMEOUT = 600.0
_START_INTERVAL = 0.5
# A worker that cannot be reached so often in a row is lost.
_PROBE_INTERVAL = 5.0
_PROBES = 3
# What the main thread, in a collective that will not end, is given to end.
_PATIENCE = 30.0

_TYPES = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run.

  Attributes:
    addresses: `host:port` of each; the first writes what all share.
    index: which of them this process is.
  """
  addresses: tuple[str, ...]
  index: int


def read_cluster():
  """Reads the workers of a run from `TF_CONFIG`.

  Returns:
    `Cluster`; None where the variable is not set, or names nobody.

  Raises:
    errors.InputError: it does not say who there is and who this process is.
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
  """Waits until all workers are up, before TensorFlow does.

  TensorFlow would wait for an hour and ignore signals meanwhile. Here each
  worker listens on TensorFlow's later port until it has reached all others.

  Args:
    cluster: `Cluster`.

  Raises:
    errors.InputError: the port is taken.
    interruption.Interrupted: not all have come within `START_TIMEOUT`.
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
      "Worker %d of %d has started; it waits %g minutes for the others.",
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
      with contextlib.suppress(OSError):  # Nobody has come meanwhile.
        while True:
          listener.accept()[0].close()
      time.sleep(_START_INTERVAL)
  logging.info("All workers have started.")


def begin(strategy, config, train_set):
  """Waits for all workers and checks that they have the same settings.

  From here to `end` the others are watched. If one dies, this process exits
  with `EXIT_LOST`, even within a step, which could not end.

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
  """Waits for all workers, and stops watching them."""
  if _cluster(strategy) is not None:
    gather(strategy, [0])
    _unwatched.set()


def gather(strategy, values):
  """Gathers numbers of all workers; all must call it at the same point.

  Args:
    strategy: `tf.distribute.Strategy`.
    values: [n] int, n the same in all.

  Returns:
    [W, n] int64, one row a worker.
  """
  cluster = _cluster(strategy)
  if cluster is None:
    return np.array([values], np.int64)
  table = np.zeros([len(cluster.addresses), len(values)], np.int64)
  table[cluster.index] = values
  return _sum(strategy)(tf.constant(table)).numpy()


def interrupted(strategy):
  """What interrupts the workers, if any of them was told to stop.

  All must call it at the same point, and all get the same answer. TensorFlow's
  own PreemptionCheckpointHandler agrees on a step by keys that can be set once
  a process, but a process may run several stages, and it adds a variable to the
  checkpoints.

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
  """Inside, an error due to a lost worker becomes one line that names it.

  Raises:
    interruption.Interrupted: another worker is gone.
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
  """In words, which other workers do not listen; empty for none."""
  return " and ".join(
      f"worker {i} ({address})" for i, address in enumerate(cluster.addresses)
      if i != cluster.index and not _listens(address))


def _cluster(strategy):
  """The strategy's workers; None where there is but this one."""
  if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
    return None
  cluster = read_cluster()
  return cluster if cluster and len(cluster.addresses) > 1 else None


@functools.lru_cache(maxsize=1)
def _sum(strategy):
  """Adds up over workers; as a graph in a third of the time."""
  @tf.function
  def add_up(values):
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

  return add_up


def _listen(port):
  """Listens at a port of this machine, without waiting for who comes."""
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


# Set while nobody is watched.
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
      f"error: lost {missing}, without which no step can be made. Start all "
      "workers again: the same command resumes from the last checkpoint.")


def _end(message):
  logging.error("%s", message)
  logging.flush()
  os._exit(EXIT_LOST)


def _bad(expected, received):
  return errors.InputError(
      f"TF_CONFIG: expected {expected}. Received: {received}.")
