"""Paths of any file system: local ones, and those that `tf.io.gfile` takes.

`gs://bucket/folder` is a place on a file system of TensorFlow's; other schemes
are added by packages such as tensorflow-io. Local paths are handled by the
functions of `os` and need no TensorFlow, which this module imports at the first
remote path. Errors of either are OSErrors.

What an object store lacks: locks, so that nothing prevents two programs from
writing the same folder (`training.store_lock` is the next best); folders, which
are there as long as a file is in them; and renaming in one step. An object
appears only when it is written whole, and `rename` copies it before the old one
goes, so files are still there whole or not at all.
"""

import contextlib
import errno
import io
import os
import re
import shutil
import tempfile

from kdwsd import errors

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_NUMBERS = {"NOT_FOUND": errno.ENOENT, "PERMISSION_DENIED": errno.EACCES,
            "UNAUTHENTICATED": errno.EACCES, "ALREADY_EXISTS": errno.EEXIST,
            "RESOURCE_EXHAUSTED": errno.ENOSPC}
_BUFFER = 1 << 20  # Bytes read at once.


def is_remote(path):
  """Whether a path belongs to `tf.io.gfile`: begins with a scheme."""
  return isinstance(path, str) and bool(_SCHEME.match(path))


def check_local(path, what):
  """Raises `InputError` if a path is remote.

  Args:
    path: the path, or None.
    what: what it names and why it is local, for the message.
  """
  if is_remote(path):
    raise errors.InputError(f"{path}: expected a local path, {what}. Received: "
                            f"one of {_SCHEME.match(path)[0]}.")


def exists(path):
  """As `os.path.exists`."""
  return _gfile("exists", path) if is_remote(path) else os.path.exists(path)


def isdir(path):
  """As `os.path.isdir`."""
  return _gfile("isdir", path) if is_remote(path) else os.path.isdir(path)


def isfile(path):
  """As `os.path.isfile`."""
  if not is_remote(path):
    return os.path.isfile(path)
  return _gfile("exists", path) and not _gfile("isdir", path)


def getsize(path):
  """As `os.path.getsize`."""
  return (_gfile("stat", path).length if is_remote(path)
          else os.path.getsize(path))


def getmtime(path):
  """As `os.path.getmtime`."""
  return (_gfile("stat", path).mtime_nsec / 1e9 if is_remote(path)
          else os.path.getmtime(path))


def listdir(path):
  """As `os.listdir`."""
  if not is_remote(path):
    return os.listdir(path)
  # Folders end with a slash on some object stores.
  return [name.rstrip("/") for name in _gfile("listdir", path)]


def walk(path, **options):
  """As `os.walk`."""
  if not is_remote(path):
    return os.walk(path, **options)
  return ((folder.rstrip("/"), [name.rstrip("/") for name in folders], names)
          for folder, folders, names in _gfile("walk", path))


def makedirs(path):
  """As `os.makedirs`; folders that exist are fine."""
  if is_remote(path):
    _gfile("makedirs", path)
  else:
    os.makedirs(path, exist_ok=True)


def remove(path):
  """As `os.remove`."""
  if is_remote(path):
    _gfile("remove", path)
  else:
    os.remove(path)


def rename(old, new):
  """As `os.replace`: an existing file `new` is replaced."""
  if is_remote(new):
    _gfile("rename", old, new, overwrite=True)
  else:
    os.replace(old, new)


def rmtree(path):
  """Removes a folder with its content; no error if that is impossible."""
  if not is_remote(path):
    shutil.rmtree(path, ignore_errors=True)
    return
  with contextlib.suppress(OSError):
    _gfile("rmtree", path)


def abspath(path):
  """As `os.path.abspath`; a remote path is absolute."""
  return path if is_remote(path) else os.path.abspath(path)


def normpath(path):
  """As `os.path.normpath`, behind the scheme and host of a remote path."""
  if not is_remote(path):
    return os.path.normpath(path)
  scheme = _SCHEME.match(path)[0]
  return scheme + os.path.normpath(path[len(scheme):])


def commonpath(paths):
  """As `os.path.commonpath`, for local paths or those of one scheme."""
  paths = list(paths)
  if not is_remote(paths[0]):
    return os.path.commonpath(paths)
  scheme = _SCHEME.match(paths[0])[0]
  return scheme + os.path.commonpath([path[len(scheme):] for path in paths])


def realpath(path):
  """As `os.path.realpath`; a remote path has no links."""
  return normpath(path) if is_remote(path) else os.path.realpath(path)


def open_bytes(path):
  """Opens a file for reading bytes, with `read`, `seek` and lines."""
  if not is_remote(path):
    return open(path, "rb")
  return io.BufferedReader(_Reader(path), _BUFFER)


def open_text(path, **options):
  """Opens a text file for reading.

  Args:
    path: of the file.
    **options: encoding, errors and newline of `open`.
  """
  if not is_remote(path):
    return open(path, **options)
  return io.TextIOWrapper(open_bytes(path), **options)


def upload(path, remote):
  """Copies a local file to a remote path that does not exist."""
  with open(path, "rb") as file, _translated(remote):
    with _tensorflow().io.gfile.GFile(remote, "wb") as target:
      target.write(b"")  # Or an empty file would not be made.
      shutil.copyfileobj(file, target, _BUFFER)


def download(remote, folder):
  """Copies a remote folder into an existing local one."""
  for where, inner, names in walk(remote):
    below = where[len(remote.rstrip("/")):].strip("/")
    for name in inner:
      os.makedirs(os.path.join(folder, below, name), exist_ok=True)
    for name in names:
      fetch(f"{where}/{name}", os.path.join(folder, below, name))


def fetch(remote, path):
  """Copies a remote file to a local path in an existing folder."""
  with open_bytes(remote) as file, open(path, "wb") as target:
    shutil.copyfileobj(file, target, _BUFFER)


@contextlib.contextmanager
def local_copy(path):
  """Yields a local path of a file, for libraries that open no others.

  Args:
    path: of the file.

  Yields:
    `path` if it is local, else that of a copy, removed when the block ends.
  """
  if not is_remote(path):
    yield path
    return
  with tempfile.TemporaryDirectory() as folder:
    copy = os.path.join(folder, os.path.basename(path))
    fetch(path, copy)
    yield copy


class _Reader(io.RawIOBase):
  """A remote file that can be read from any position."""

  def __init__(self, path):
    super().__init__()
    self._path = path
    with _translated(path):
      self._file = _tensorflow().io.gfile.GFile(path, "rb")
      self._size = self._file.size()
    self._at = 0

  def readable(self):
    return True

  def seekable(self):
    return True

  def tell(self):
    return self._at

  def seek(self, offset, whence=os.SEEK_SET):
    self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at,
                         os.SEEK_END: self._size}[whence]
    return self._at

  def readinto(self, buffer):
    length = max(0, min(len(buffer), self._size - self._at))
    if length:
      with _translated(self._path):
        self._file.seek(self._at)
        content = self._file.read(length)
      length = len(content)
      buffer[:length] = content
      self._at += length
    return length

  def close(self):
    if not self.closed:
      self._file.close()
    super().close()


class _translated:
  """Raises TensorFlow's errors as OSErrors, or as an `InputError`."""

  def __init__(self, path):
    self._path = path

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    code = getattr(error, "error_code", None)
    if code is None:
      return False
    name = _code_name(code)
    text = " ".join(str(error.message).split()) or name
    if name == "UNIMPLEMENTED":
      raise errors.InputError(
          f"{self._path}: expected a file system that this TensorFlow has; "
          "packages such as tensorflow-io bring more. Received: "
          f"{text}.") from error
    number = _NUMBERS.get(name, errno.EIO)
    raise OSError(number, os.strerror(number) if name in _NUMBERS else text,
                  self._path) from error


def _code_name(code):
  from tensorflow.core.protobuf import error_codes_pb2  # pylint: disable=import-outside-toplevel
  return error_codes_pb2.Code.Name(code)


def _gfile(name, path, *args, **kwargs):
  with _translated(path):
    return getattr(_tensorflow().io.gfile, name)(path, *args, **kwargs)


def _tensorflow():
  import tensorflow  # pylint: disable=import-outside-toplevel
  return tensorflow
