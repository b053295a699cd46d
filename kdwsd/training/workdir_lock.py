"""A lock: one process at a time trains in a work directory.

It is the operating system's lock on the file `.lock`. It ends with the process
that holds it, so a killed run never blocks its restart. The file says who holds
it, for the message to a second process.
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

  At the end it removes what it made: the lock's file, and a directory that is
  still empty. Where the file system has no locks, it warns and continues.

  Args:
    workdir: work directory of a run, or of a chain of them.

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
    # While it is still locked: who opened it meanwhile will check again.
    with contextlib.suppress(OSError):
      os.remove(path)
    os.close(lock)
    if made:
      with contextlib.suppress(OSError):
        os.rmdir(workdir)


def _lock(path, workdir):
  """Opens the file and locks it; returns its descriptor."""
  while True:
    # For writing too: NFS locks no other files. Child processes do not inherit
    # the descriptor.
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
          "%s cannot be locked on this file system (%s): make sure that no "
          "other process trains in it.", workdir, error.strerror)
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
  """Writes who holds the lock, unless the disk is full."""
  now = datetime.datetime.now().isoformat(" ", "seconds")
  with contextlib.suppress(OSError):
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()} "
             f"since {now}".encode())
