"""One process trains in a work directory at a time.

The lock is the operating system's, on the file `.lock` there: it goes with the
process that holds it, however that ends, so a killed run never stands in the
way of its restart. The file says who holds it, for the one that is refused.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import socket

from absl import logging

from kdwsd import errors
from kdwsd import system_errors

FILE = ".lock"

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def hold(workdir):
  """Holds a work directory, made if missing, while the block runs.

  What it made itself goes at the end: the lock's file, and a directory that is
  still empty. Where the file system has no locks, it warns and goes on.

  Args:
    workdir: of a run, or of a chain of them.

  Yields:
    None.

  Raises:
    errors.InputError: another process holds it, or it cannot be written.
  """
  made = not os.path.isdir(workdir)
  path = os.path.join(workdir, FILE)
  with system_errors.reported(path):
    os.makedirs(workdir, exist_ok=True)
    lock = _lock(path, workdir)
  try:
    _sign(lock)
    yield
  finally:
    # While it is still locked: who has opened it meanwhile will look again.
    with contextlib.suppress(OSError):
      os.remove(path)
    os.close(lock)
    if made:
      with contextlib.suppress(OSError):
        os.rmdir(workdir)


def _lock(path, workdir):
  """Opens the file and locks it; returns its descriptor."""
  while True:
    # For writing, too: over NFS no other can be locked. Programs that are
    # started do not inherit it.
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _HELD:
        holder = os.read(lock, 200).decode("utf-8", "replace")
        os.close(lock)
        raise errors.InputError(
            f"{workdir}: expected a work directory in which no other process "
            f"trains. Received: one held by {holder or 'another process'}; let "
            "it end, or use another --workdir.") from error
      logging.warning(
          "%s cannot be locked here (%s): take care that no other process "
          "trains in it.", workdir, error.strerror)
      return lock
    if _is_at(lock, path):
      return lock
    os.close(lock)  # Its holder has just ended and removed it.


def _is_at(lock, path):
  """Whether a path still leads to an open file."""
  try:
    return os.path.samestat(os.fstat(lock), os.stat(path))
  except FileNotFoundError:
    return False


def _sign(lock):
  """Writes who holds the lock; it holds without, too, on a full disk."""
  now = datetime.datetime.now().isoformat(" ", "seconds")
  with contextlib.suppress(OSError):
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()} "
             f"since {now}".encode())
