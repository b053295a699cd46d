r"""Paths with glob characters, in a form that TensorFlow takes literally.

TensorFlow treats the path of a checkpoint or of a SavedModel's variables as a
glob pattern: under `runs/b [v1]` it finds nothing, and while clearing
`runs/b*/checkpoints` it would delete files of `runs/b2`. Escaping does not
help, because the same string is later opened as it stands. Therefore a
directory whose path contains `[ ] * ? \` is opened here, and TensorFlow gets
Linux's alias for it, `/proc/self/fd/NUMBER`. Nothing is written to disk, and
the alias ends with the process.
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
  """An alias of a path without glob characters.

  Args:
    path: an existing directory, or a file or checkpoint prefix in one (which
      need not exist).

  Returns:
    The alias; the path itself if it has no glob characters.

  Raises:
    errors.InputError: the file's own name has glob characters, the directory
      does not exist, or the system offers no such aliases.
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
  """Replaces aliases in a message of TensorFlow's by the user's paths."""
  return _OURS.sub(
      lambda found: _directories.get(int(found[1]), found[0]), text)


def _open(directory):
  """Opens a directory once; returns its descriptor."""
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
