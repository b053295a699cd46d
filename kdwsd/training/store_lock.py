"""The next best of a lock where the file system has none: an object `.lock`.

Its holder writes it anew every `_RENEWAL` seconds, with another number. A
second process watches it: if it changes, another process trains there; if it
stays the same for `_WATCH` seconds, its holder was killed and it is taken over.
No clocks of two machines are compared.

It is advisory. Two processes that start within a second may both take it, and
one that stood still for longer than `_WATCH` seconds loses it. Both are told
when they next `check`, before anything is uploaded.
"""

import contextlib
import datetime
import os
import socket
import tempfile
import threading
import time
import uuid

from absl import logging

from kdwsd import errors
from kdwsd import places

FILE = ".lock"

# Seconds.
_RENEWAL = 15.0
_WATCH = 60.0
_LOOK = 2.0


@contextlib.contextmanager
def hold(workdir):
  """Holds a remote work directory while the block runs.

  Args:
    workdir: remote path of a run, or of a chain of them.

  Yields:
    The `Lock`.

  Raises:
    errors.InputError: another process holds it, or it cannot be written.
  """
  lock = Lock(workdir)
  try:
    lock.take()
  except OSError as error:
    raise errors.InputError(
        f"{workdir}: expected a place that can be written. Received: "
        f"{error.strerror or error}.") from error
  try:
    yield lock
  finally:
    lock.release()


class Lock:
  """The lock of one work directory."""

  def __init__(self, workdir):
    self._workdir = workdir
    self._path = f"{workdir}/{FILE}"
    self._id = uuid.uuid4().hex
    now = datetime.datetime.now().isoformat(" ", "seconds")
    self._holder = (
        f"process {os.getpid()} on {socket.gethostname()} since {now}")
    self._number = 0
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._renew, daemon=True)

  def take(self):
    """Waits for another holder to show that it lives, then takes the lock.

    Raises:
      errors.InputError: it does.
      OSError: the lock cannot be read or written.
    """
    found = _read(self._path)
    if found is not None and not _is_dead(found):
      logging.info(
          "%s is held by %s; waiting %g s for a sign that it still trains.",
          self._workdir, _holder(found), _WATCH)
      until = time.monotonic() + _WATCH
      while time.monotonic() < until:
        time.sleep(_LOOK)
        now = _read(self._path)
        if now is None:
          break
        # It is empty for a moment where what is written is not replaced whole.
        if now and now != found:
          raise self._taken(now)
      found = now
    if found is not None:
      logging.warning("%s was left by %s; taking it over.", self._path,
                      _holder(found))
    places.makedirs(self._workdir)
    self._write()
    self.check()
    self._thread.start()

  def check(self):
    """Checks that no other process has taken the lock.

    Raises:
      errors.InputError: one has.
    """
    try:
      found = _read(self._path)
    except OSError:
      return  # What comes next will tell, or it was for a moment.
    if found and self._id not in found:
      raise self._taken(found)

  def release(self):
    """Removes the lock, unless it is another's by now."""
    self._ended.set()
    if self._thread.is_alive():
      self._thread.join()
    with contextlib.suppress(OSError):
      if self._id in (_read(self._path) or ""):
        places.remove(self._path)

  def _renew(self):
    while not self._ended.wait(_RENEWAL):
      try:
        self.check()
        self._write()
      except errors.InputError:
        return  # `check` in the main thread will say so.
      except OSError as error:
        logging.warning("%s cannot be renewed: %s.", self._path,
                        error.strerror or error)

  def _write(self):
    self._number += 1
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
      file.write(
          f"{self._holder}\n{_machine()}\n{self._id}\n{self._number}\n")
      file.flush()
      places.upload(file.name, self._path)

  def _taken(self, found):
    return errors.InputError(
        f"{self._workdir}: expected a work directory in which no other process "
        f"trains. Received: one held by {_holder(found)}; let it end, or use "
        "another --workdir.")


def _read(path):
  """The content of a lock; None if there is none."""
  try:
    with places.open_bytes(path) as file:
      return file.read(1000).decode("utf-8", "replace")
  except FileNotFoundError:
    return None


def _holder(content):
  return content.split("\n", 1)[0][:200] or "another process"


def _machine():
  """Where numbers of processes mean the same; empty if that is not known.

  Containers of one name may have different processes.
  """
  try:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
      return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""


def _is_dead(content):
  """Whether the holder was a process of this machine that has ended."""
  lines = content.split("\n")
  number = lines[0].removeprefix("process ").split(" ")[0]
  if not number.isdigit() or not _machine() or _machine() not in lines[1:2]:
    return False
  try:
    os.kill(int(number), 0)
  except ProcessLookupError:
    return True
  except (OSError, OverflowError):
    pass
  return False
