"""Atomic writing of files.

Every output is written under a temporary name in the same directory, synced
and renamed, so that a reader sees the old file, the new one, or none. The
temporary file is locked while it is written; one without a lock was left by a
killed process and is removed when the same file is written again.

Files of other file systems (see `places`) are written to a temporary folder of
this machine, copied under a temporary name and renamed, without locks.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
import time
import uuid

from kdwsd import errors
from kdwsd import places

_PARTIAL = ".partial-"

# Seconds. Where the file system has no locks, age decides: a live process
# writes to its temporary file far more often.
_ABANDONED_AFTER = 3600


@contextlib.contextmanager
def atomic_path(path):
  """Yields a temporary path that is renamed to `path` if the block succeeds.

  Args:
    path: final path; missing parent directories are made.

  Yields:
    A local path with the same extension, and in the same directory unless that
    is remote, for the block to write. It is removed if the block raises.

  Raises:
    errors.InputError: the directory cannot be written, or the disk is full.
  """
  path = os.fspath(path)
  if places.is_remote(path):
    with _remote_path(path) as temporary:
      yield temporary
    return
  path = os.path.abspath(path)
  directory, name = os.path.split(path)
  try:
    os.makedirs(directory, exist_ok=True)
    _remove_abandoned(directory, name)
    lock, temporary = _make_temporary(directory, name)
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a place that can be written. Received: "
        f"{error.strerror}.") from error
  try:
    yield temporary
    _sync(temporary)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected to write the file. Received: "
        f"{error.strerror or error}.") from error
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)
    os.close(lock)


def is_being_written(path):
  """Whether a living process is within `atomic_path` of this local path."""
  directory, name = os.path.split(os.path.abspath(path))
  return os.path.isdir(directory) and _remove_abandoned(directory, name)


def write_bytes(path, content):
  """Writes bytes atomically."""
  with atomic_path(path) as temporary:
    with open(temporary, "wb") as file:
      file.write(content)


def write_text(path, content):
  """Writes text as UTF-8, atomically."""
  write_bytes(path, content.encode("utf-8"))


def write_json(path, content):
  """Writes readable JSON, atomically."""
  write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
  """Reads a JSON file.

  Raises:
    errors.InputError: the file is missing, unreadable or not JSON.
  """
  try:
    with places.open_text(path, encoding="utf-8-sig") as file:
      return json.load(file)
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a JSON file. Received: {error.strerror}."
    ) from error
  except (ValueError, RecursionError) as error:
    raise errors.InputError(
        f"{path}: expected JSON. Received: {error}.") from error


def upload(path, remote):
  """Copies a local file to a remote path, as a whole or not at all.

  Args:
    path: of the local file.
    remote: path of the copy; missing folders are made.

  Raises:
    OSError: it cannot be written.
  """
  directory, name = os.path.split(remote)
  partial = f"{directory}/{_PARTIAL}{uuid.uuid4().hex}-{name}"
  places.makedirs(directory)
  try:
    places.upload(path, partial)
    places.rename(partial, remote)
  except BaseException:
    with contextlib.suppress(OSError, errors.InputError):
      places.remove(partial)
    raise


def is_partial(path):
  """Whether a file is a temporary one, left by a killed process or not."""
  return os.path.basename(path).startswith(_PARTIAL)


@contextlib.contextmanager
def _remote_path(path):
  """`atomic_path` on a file system of TensorFlow's, by way of a local file.

  So the block may write with any library.
  """
  directory, name = os.path.split(path)
  try:
    places.makedirs(directory)
    for other in places.listdir(directory):
      if _is_of(other, name):
        written = places.getmtime(f"{directory}/{other}")
        # 0 where the file system does not say.
        if written and time.time() - written >= _ABANDONED_AFTER:
          places.remove(f"{directory}/{other}")
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a place that can be written. Received: "
        f"{error.strerror}.") from error
  with tempfile.TemporaryDirectory() as folder:
    temporary = os.path.join(folder, name)
    try:
      yield temporary
      upload(temporary, path)
    except OSError as error:
      raise errors.InputError(
          f"{path}: expected to write the file. Received: "
          f"{error.strerror or error}.") from error


def _is_of(other, name):
  """Whether a file is a temporary one of an output."""
  return re.fullmatch(
      re.escape(_PARTIAL) + "[^-]*-" + re.escape(name), other)


def _make_temporary(directory, name):
  """Makes an empty file, locked until it is closed or the process ends."""
  while True:
    lock, path = tempfile.mkstemp(
        dir=directory, prefix=_PARTIAL, suffix="-" + name)
    with contextlib.suppress(OSError):  # A file system without locks.
      fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.exists(path):
      return lock, path
    os.close(lock)  # Another process removed it before it was locked.


def _remove_abandoned(directory, name):
  """Removes temporary files of killed processes for the same output.

  Returns:
    Whether a living process writes that output.
  """
  living = False
  for other in os.listdir(directory):
    if not _is_of(other, name):
      continue
    path = os.path.join(directory, other)
    with contextlib.suppress(OSError), open(path, "rb+") as file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        living = True
        continue
      except OSError:
        if time.time() - os.path.getmtime(path) < _ABANDONED_AFTER:
          living = True
          continue
      os.remove(path)
  return living


def _sync(path):
  with open(path, "rb+") as file:
    os.fsync(file.fileno())
