"""The worker processes of one run, before they train together.

`TF_CONFIG` lists the workers. This module reads it, and keeps a worker from
waiting silently for ever for one that does not start.
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

# There is no public way to change how long TensorFlow waits for a heartbeat.
from tensorflow.python.eager import context

from kdwsd import errors
from kdwsd import interruption

# Exit status if another worker is missing: `EX_TEMPFAIL` of sysexits.h, because
# restarting all workers may succeed.
EXIT_LOST = 75

# Seconds.
START_TIMEOUT = 600.0
# Of workers that have met until they are joined.
JOIN_TIMEOUT = 120.0
_START_INTERVAL = 0.5
# A worker may stand still as long, as virtual machines do while they are moved.
# With TensorFlow's 10 s the others would fail. One whose process or machine is
# gone is missed sooner, because it does not accept connections.
STANDSTILL = 120.0

# For a connection, and for each line that comes over it.
_ANSWER_TIMEOUT = 5.0

_TYPES = ("chief", "worker")

# What a worker says that waits for others, to whoever connects.
_WAITS = b"kdwsd: waits for all workers\n"
# And to a worker, once it has noted that this one has seen it.
_NOTED = b"noted\n"


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
  """Waits until all workers have started and wait, too.

  TensorFlow would wait for an hour and ignore signals. Here each worker listens
  on the port that TensorFlow will use, until it has met all others. One that
  still trains with a worker which was started again has not met it: TensorFlow
  would let neither of them go on.

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
  others = set(range(len(cluster.addresses))) - {cluster.index}
  found, found_by = set(), set()
  with _answering(listener, found_by):
    while True:
      found |= {i for i in others - found
                if _greet(cluster.addresses[i], cluster.index)}
      missing = others - (found & found_by)
      if not missing:
        break
      if time.monotonic() > until:
        named = _named(cluster, missing)
        raise interruption.Interrupted(
            f"the lack of {named}", EXIT_LOST,
            f"error: TF_CONFIG: expected {len(cluster.addresses)} workers "
            f"within {START_TIMEOUT:g} s. Received: all but {named}. Start "
            "all workers again.")
      time.sleep(_START_INTERVAL)
  logging.info("All workers have started.")


@contextlib.contextmanager
def standstill_tolerated():
  """Within it, a strategy is made whose workers may stand still for a while."""
  configured = context.context()
  configured.configure_coordination_service = functools.partial(
      configured.configure_coordination_service,
      heartbeat_timeout_in_ms=int(STANDSTILL * 1000))
  try:
    yield
  finally:
    del configured.configure_coordination_service  # That of the class is left.


def lost(cluster):
  """Text that lists the other workers that do not train; empty for none.

  They do not listen, or they were started again and wait for all others.
  """
  return _named(cluster, [
      i for i, address in enumerate(cluster.addresses)
      if i != cluster.index and not _trains(address)])


def _named(cluster, indices):
  return " and ".join(
      f"worker {i} ({cluster.addresses[i]})" for i in sorted(indices))


def _listen(port):
  """Opens a listener on a port of this machine."""
  both = socket.has_dualstack_ipv6()
  return socket.create_server(
      ("", port), family=socket.AF_INET6 if both else socket.AF_INET,
      dualstack_ipv6=both)


@contextlib.contextmanager
def _answering(listener, found_by):
  """Answers in a thread; adds the workers that ask to the set `found_by`."""
  listener.settimeout(_START_INTERVAL)
  done = threading.Event()

  def answer():
    while not done.is_set():
      with contextlib.suppress(OSError):  # Nobody asked, or it has gone.
        connection, _ = listener.accept()
        with connection:
          connection.settimeout(_ANSWER_TIMEOUT)
          connection.sendall(_WAITS)
          index = connection.recv(16).strip()
          if index.isdigit():
            found_by.add(int(index))
            connection.sendall(_NOTED)

  thread = threading.Thread(target=answer, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    listener.close()


def _greet(address, index):
  """Whether a worker waits, and has noted that this one has seen that.

  Without its note it might wait for this one, which had gone on, for ever.
  """
  with contextlib.suppress(OSError), _connect(address) as connection:
    if _read(connection) == _WAITS:
      connection.sendall(b"%d\n" % index)
      # It may go on once it has noted that, and is not there to be asked again.
      connection.settimeout(STANDSTILL)
      return connection.recv(len(_NOTED)) == _NOTED
  return False


def _trains(address):
  """Whether a worker listens and does not wait for others."""
  with contextlib.suppress(OSError), _connect(address) as connection:
    connection.settimeout(1)
    with contextlib.suppress(TimeoutError, socket.timeout):  # It stands still.
      return _read(connection) != _WAITS
    return True
  return False


def _connect(address):
  host, _, port = address.rpartition(":")
  return socket.create_connection(
      (host.strip("[]"), int(port)), timeout=_ANSWER_TIMEOUT)


def _read(connection):
  """The first bytes that come, as many as of `_WAITS`."""
  content = b""
  while len(content) < len(_WAITS):
    more = connection.recv(len(_WAITS) - len(content))
    if not more:
      break
    content += more
    if not _WAITS.startswith(content):
      break  # TensorFlow's.
  return content


def _bad(expected, received):
  return errors.InputError(
      f"TF_CONFIG: expected {expected}. Received: {received}.")
