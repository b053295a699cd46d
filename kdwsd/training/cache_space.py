"""Disk space of cached arrays: is there enough, and what could be freed."""

import contextlib
import glob
import os
import shlex
import shutil

from absl import logging

from kdwsd import errors


def check(folder, what, whole, needed):
  """Logs the disk space needed, before anything is computed.

  Args:
    folder: where the array is written.
    what: the array, for the message.
    whole: bytes of the whole array.
    needed: bytes of the part that is not written yet.

  Raises:
    errors.InputError: there is too little.
  """
  free = shutil.disk_usage(folder).free
  if needed > free:
    raise errors.InputError(
        f"{folder}: expected {_gigabytes(needed)} of free disk. "
        f"Received: {_gigabytes(free)}; free some space or cache less.")
  logging.info("%s takes %s in %s; %s to compute, %s free.", what,
               _gigabytes(whole), folder, _gigabytes(needed), _gigabytes(free))


def log_others(prefix, folder):
  """Logs one line on arrays of other settings, which may be unused.

  Args:
    prefix: path of the array's folder without its fingerprint.
    folder: path of the array's folder.
  """
  others = sorted({*glob.glob(glob.escape(prefix) + 16 * "[0-9a-f]")}
                  - {folder})
  with contextlib.suppress(OSError):  # One may have been removed just now.
    size = sum(entry.stat().st_size for path in others
               for entry in os.scandir(path))
    if others:
      logging.info(
          "There are also arrays of another teacher, other records or other "
          "settings. If no run needs them, free %s with: rm -r %s",
          _gigabytes(size), shlex.join(others))


def _gigabytes(num_bytes):
  return f"{num_bytes / 1e9:.3f} GB"
