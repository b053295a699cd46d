"""Exports on an object store, which has neither locks nor folders to rename.

A version is there once its `saved_model.pb` is, which is copied last. What a
killed export has copied before is not counted as a version, and is removed when
the same number is taken again.
"""

import contextlib
import logging
import os
import tempfile

from kdwsd import errors
from kdwsd import places

MODEL_FILE = "saved_model.pb"

_fetched = []  # Temporary folders, which are removed when the program ends.


def is_whole(directory):
  """Whether a remote folder is a version of an export."""
  return places.exists(f"{directory}/{MODEL_FILE}")


@contextlib.contextmanager
def new_version(directory, check_free):
  """Yields a local temporary folder that is copied when the block ends.

  Args:
    directory: remote path of the version.
    check_free: function without arguments that raises if the version exists.

  Yields:
    Path of the temporary folder.

  Raises:
    errors.InputError: the version cannot be written.
  """
  parent = os.path.dirname(directory)
  logging.info("%s: this file system has no locks; do not run two exports at "
               "once.", parent)
  try:
    places.makedirs(parent)
    check_free()
    with tempfile.TemporaryDirectory() as temporary:
      yield temporary
      check_free()
      places.rmtree(directory)  # Of a killed export.
      _upload(temporary, directory)
  except OSError as error:
    raise errors.InputError(
        f"--output: {parent}: expected a writable directory. Received: "
        f"{error.strerror or error}.") from error


def _upload(folder, directory):
  found = sorted(os.path.relpath(os.path.join(where, name), folder)
                 for where, _, names in os.walk(folder) for name in names)
  try:
    for name in sorted(found, key=lambda name: name == MODEL_FILE):
      path = f"{directory}/{name}"
      places.makedirs(os.path.dirname(path))
      places.upload(os.path.join(folder, name), path)
  except BaseException:
    with contextlib.suppress(errors.InputError):
      places.rmtree(directory)
    raise


def fetch(directory):
  """Copies a remote folder to this machine until the program ends.

  Args:
    directory: remote path of a version.

  Returns:
    Path of the copy.

  Raises:
    errors.InputError: it cannot be read.
  """
  folder = tempfile.TemporaryDirectory()
  _fetched.append(folder)
  return _download(directory, folder.name)


@contextlib.contextmanager
def copied(directory):
  """Yields a local path of a version: its own, or that of a copy for the block.

  Args:
    directory: path of a version, remote or not.

  Yields:
    The path.

  Raises:
    errors.InputError: it cannot be read.
  """
  if not places.is_remote(directory):
    yield directory
    return
  with tempfile.TemporaryDirectory() as folder:
    yield _download(directory, folder)


def _download(directory, folder):
  try:
    places.download(directory, folder)
  except OSError as error:
    raise errors.InputError(
        f"{error.filename or directory}: expected a file that can be read. "
        f"Received: {error.strerror or error}.") from error
  return folder
