r"""Paths that TensorFlow takes as they are, not for patterns.

TensorFlow looks for the files of a checkpoint, and of a SavedModel's variables,
by a pattern made of their path: in `runs/b [v1]` it finds none, and clearing
`runs/b*/checkpoints` it would remove files of `runs/b2`. No escape helps, for
the same text is then opened as it is. So a directory with `[ ] * ? \` in its
path is opened here, and Linux's name for it, `/proc/self/fd/NUMBER`, is what
TensorFlow is given: nothing is written for it, and it ends with the process.
"""

import os
import re
import threading

from kdwsd import errors

_SPECIAL = re.compile(r"[][*?\\]")
_OPENED_BY_PROCESS = "/proc/self/fd"
_OURS = re.compile(re.escape(_OPENED_BY_PROCESS) + r"/(\d+)(?![^/\s;:])")

_directories = {}  # {descriptor: path}; they stay open.
_lock = threading.Lock()


def literal(path):
  """Another name of a path, without characters of patterns.

  Args:
    path: of a directory that is there, or of a file or the files of a
      checkpoint in one; they themselves need not be there.

  Returns:
    The path itself where it has no such characters.

  Raises:
    errors.InputError: the name of the file has them, the directory is not
      there, or the system knows no other names of directories.
  """
  path = os.fspath(path)
  if not _SPECIAL.search(path):
    return path
  if os.path.isdir(path):
    head, tail = path, ""
  else:
    last = max(found.start() for found in _SPECIAL.finditer(path))
    end = path.find("/", last)
    if end < 0:
      raise errors.InputError(
          f"{path}: expected a file name without [ ] * ? and backslash, which "
          "TensorFlow takes for a pattern. Received: one with them; rename "
          "the file.")
    head, tail = path[:end], path[end + 1:].lstrip("/")
  return os.path.join(_OPENED_BY_PROCESS, str(_open(head)), tail).rstrip("/")


def named(text):
  """A message of TensorFlow's with the user's names for `literal` paths."""
  return _OURS.sub(
      lambda found: _directories.get(int(found[1]), found[0]), text)


def _open(directory):
  """Opens a directory, or finds it among those that are open."""
  with _lock:
    try:
      status = os.stat(directory)
      for descriptor, path in _directories.items():
        if path == directory and os.path.samestat(
            os.fstat(descriptor), status):
          return descriptor
      descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
      raise errors.InputError(
          f"{directory}: expected a directory. Received: {error.strerror}."
      ) from error
    _directories[descriptor] = directory
  if not os.path.isdir(os.path.join(_OPENED_BY_PROCESS, str(descriptor))):
    raise errors.InputError(
        f"{directory}: expected a path without [ ] * ? and backslash, which "
        "TensorFlow takes for a pattern on this system. Received: one with "
        "them; move or rename the directory.")
  return descriptor
