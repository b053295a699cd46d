"""Requests to the file system of a remote run, tried again if they fail."""

from concurrent import futures
import contextlib
import errno
import os
import time
import uuid

from absl import logging

from kdwsd import files
from kdwsd import places

# Seconds between attempts. In all less than a preemptible machine waits.
_PAUSES = (1.0, 3.0, 9.0)

# For these, another attempt is of no use.
_FINAL = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT,
          errno.EROFS)

_REQUESTS = 16  # At once.


def each(act, arguments):
  """List of `act` of each argument; many at once, for each is a request."""
  with futures.ThreadPoolExecutor(_REQUESTS) as pool:
    return list(pool.map(act, arguments))


def listed(remote, below, *, enters, needs):
  """Lists the files of a folder.

  Args:
    remote: path of the work directory.
    below: folder in it, "" for all.
    enters: function of a folder, whether to list it.
    needs: function of a file, whether to name it.

  Returns:
    Set of names from `remote` on, and those under which a killed process, or
    another one just now, was writing.
  """
  found, partial, folders = set(), [], [below]
  while folders:
    there = [f"{folder}/{name}".lstrip("/") for folder, names in zip(
        folders, each(lambda folder: _names(f"{remote}/{folder}".rstrip("/")),
                      folders)) for name in names]
    kinds = each(lambda name: _again(places.isdir, f"{remote}/{name}"), there)
    folders = []
    for name, is_folder in zip(there, kinds):
      if is_folder:
        folders += [name] if enters(name) else []
      elif files.is_partial(name):
        partial.append(name)
      elif needs(name):
        found.add(name)
  return found, partial


def fetch(remote, path):
  """Copies a file to this machine; False if it is not there."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  partial = f"{path}.tmp{uuid.uuid4().hex}"
  try:
    _again(places.fetch, remote, partial)
    os.replace(partial, path)
  except FileNotFoundError:
    return False
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(partial)
  return True


def upload(path, remote):
  """Copies a file to the store, under a temporary name, and renames it."""
  _again(files.upload, path, remote)


def remove(remote):
  """Removes a file; no error if there is none."""
  with contextlib.suppress(FileNotFoundError):
    _again(places.remove, remote)


def _names(folder):
  try:
    return _again(places.listdir, folder)
  except FileNotFoundError:
    return []


def _again(act, *arguments):
  """Calls a function until it succeeds, but not for long."""
  for pause in _PAUSES:
    try:
      return act(*arguments)
    except OSError as error:
      if error.errno in _FINAL:
        raise
      logging.warning("%s: %s. Trying again in %g s.", arguments[-1],
                      error.strerror or error, pause)
      time.sleep(pause)
  return act(*arguments)
