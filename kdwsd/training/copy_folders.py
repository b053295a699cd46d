"""Temporary folders for copies of runs, removed also after a killed process.

Each has a file that its process locks. Where the lock is free, the process was
killed, and the next one removes the folder.
"""

import atexit
import contextlib
import fcntl
import glob
import os
import re
import shutil
import tempfile

_PREFIX = "kdwsd-run-"
_MARK = ".of-a-process"

# No files of the run, because they are still being written.
_UNFINISHED = re.compile(r"^\.|\.tmp\w*$|_temp$")


class Folder:
  """A temporary folder that ends with the process.

  Attributes:
    path: of the folder.
  """

  def __init__(self, name):
    """Makes it, below the folder for temporary files (`TMPDIR`).

    Args:
      name: last part of its path.
    """
    _remove_abandoned()
    self._parent = tempfile.mkdtemp(prefix=_PREFIX)
    self.path = os.path.join(self._parent, name or "run")
    os.mkdir(self.path)
    # Locked before it has its name, by which others look for it.
    mark = os.path.join(self._parent, _MARK)
    self._lock = os.open(mark + ".new", os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):  # No locks: nobody will remove it.
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(mark + ".new", mark)
    atexit.register(self.remove)

  def files(self, below=""):
    """{name: stamp} of the files in a folder, with names from the top."""
    found = {}
    for folder, inner, names in os.walk(os.path.join(self.path, below)):
      inner[:] = [name for name in inner if not _UNFINISHED.search(name)]
      for name in names:
        if not _UNFINISHED.search(name):
          name = os.path.relpath(os.path.join(folder, name), self.path)
          found[name] = self.stamp(name)
    return found

  def stamp(self, name):
    """A value that changes with a file's content."""
    status = os.stat(os.path.join(self.path, name))
    return status.st_size, status.st_mtime_ns, status.st_ino

  def keep(self):
    """Lets the folder stay when the process has ended."""
    atexit.unregister(self.remove)
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(self._parent, _MARK))

  def remove(self):
    """Removes the folder."""
    atexit.unregister(self.remove)
    shutil.rmtree(self._parent, ignore_errors=True)


def _remove_abandoned():
  for mark in glob.glob(os.path.join(
      glob.escape(tempfile.gettempdir()), _PREFIX + "*", _MARK)):
    with contextlib.suppress(OSError), open(mark, "rb+") as file:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      shutil.rmtree(os.path.dirname(mark), ignore_errors=True)
