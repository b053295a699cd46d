"""Exports on disk, in TensorFlow Serving's layout, published atomically.

    MODEL_DIR/
      3/                      a version: TensorFlow Serving takes the highest
        saved_model.pb
        variables/
        assets/classes.txt    class names, one a line
        assets.extra/tf_serving_warmup_requests
        export.json           origin and interface, see `description`

A version is written to a directory whose name is not a number, which servers
ignore, and then renamed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile

import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd import quiet
from kdwsd import system_errors
from kdwsd.serving import remote_exports
from kdwsd.serving import signatures

CLASS_FILE = "classes.txt"
METADATA_FILE = "export.json"
WARMUP_FILE = "tf_serving_warmup_requests"

_PARTIAL = ".partial-"
# TensorFlow Serving keeps versions in 64 bits.
_MAX_VERSION = 2 ** 63 - 1


def versions(model_directory):
  """Existing versions, sorted; empty if there is no such directory."""
  try:
    names = places.listdir(model_directory)
  except (FileNotFoundError, NotADirectoryError):
    return []
  is_there = (remote_exports.is_whole if places.is_remote(model_directory)
              else os.path.isdir)
  return sorted(
      int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,18}", name)
      and is_there(os.path.join(model_directory, name)))


def version_path(model_directory, version):
  """Path of a version, existing or not."""
  return os.path.join(model_directory, str(version))


@contextlib.contextmanager
def new_version(model_directory, version=None):
  """Yields a temporary directory that becomes a version when the block ends.

  If the block raises, the directory is removed. If the process is killed, it
  stays, under a name that servers ignore, until the next export removes it.

  Args:
    model_directory: created if missing.
    version: version number; by default one more than the highest, or 1.

  Yields:
    (path of the temporary directory, the version).

  Raises:
    errors.InputError: the version exists, another export is running there, or
      the directory cannot be written.
  """
  model_directory = places.abspath(model_directory)
  if version is not None and not 0 <= version <= _MAX_VERSION:
    raise errors.InputError(
        f"--version: expected 0 to {_MAX_VERSION}. Received: {version}.")
  if places.is_remote(model_directory):
    version = _number(model_directory, version)
    with remote_exports.new_version(
        version_path(model_directory, version),
        lambda: _check_free(model_directory, version)) as temporary:
      yield temporary, version
    return
  made = _missing_parents(model_directory)
  temporary, lock = None, None
  try:
    with _readable_errors(model_directory):
      os.makedirs(model_directory, exist_ok=True)
      lock = _lock(model_directory)
      _remove_left_overs(model_directory)
      version = _number(model_directory, version)
      _check_free(model_directory, version)
      temporary = tempfile.mkdtemp(dir=model_directory, prefix=_PARTIAL)
    with _readable_errors(model_directory):
      yield temporary, version
      _open_to_all(temporary)
      _sync(temporary)
      _check_free(model_directory, version)
      os.rename(temporary, version_path(model_directory, version))
      _sync_directory(model_directory)
  finally:
    if temporary:
      shutil.rmtree(temporary, ignore_errors=True)
    for directory in made:  # Deepest first; only empty ones go.
      with contextlib.suppress(OSError):
        os.rmdir(directory)
    if lock is not None:
      os.close(lock)


def write(servable, directory):
  """Writes a model as a SavedModel.

  Args:
    servable: a `signatures.Servable`.
    directory: to write to; may exist.

  Raises:
    errors.InputError: the disk is full or cannot be written.
  """
  os.makedirs(directory, exist_ok=True)
  # Inside `directory`, to be removed with it if the process is killed.
  with tempfile.TemporaryDirectory(dir=directory) as scratch:
    class_file = os.path.join(scratch, CLASS_FILE)
    files.write_text(
        class_file, "".join(name + "\n" for name in servable.classes))
    servable.module.class_file = tf.saved_model.Asset(class_file)
    try:
      with quiet.logs():
        tf.saved_model.save(
            servable.module, directory, signatures=servable.signatures,
            # Needed only for training; exact RoI pooling has one.
            options=tf.saved_model.SaveOptions(
                experimental_custom_gradients=False))
    except tf.errors.OpError as error:
      raise errors.InputError(
          f"{directory}: expected to write the model. Received: "
          f"{system_errors.first_line(error)}.") from error
  if signatures.CLASSIFY in servable.signatures:
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        directory)
    updater.replace_method_name(
        signature_key=signatures.CLASSIFY,
        method_name=signatures.CLASSIFY_METHOD, tags="serve")
    with quiet.logs():
      updater.save()
    # It belongs to the file before the update; servers do not need it.
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(directory, "fingerprint.pb"))


def write_metadata(directory, metadata):
  """Writes `export.json` of a version."""
  files.write_json(os.path.join(directory, METADATA_FILE), metadata)


def read_metadata(directory):
  """Reads `export.json` of a version.

  Raises:
    errors.InputError: it is missing or not a JSON object.
  """
  path = os.path.join(directory, METADATA_FILE)
  metadata = files.read_json(path)
  if not isinstance(metadata, dict):
    raise errors.InputError(
        f"{path}: expected a JSON object, as `python -m kdwsd.export` writes. "
        f"Received: {type(metadata).__name__}.")
  return metadata


def read_classes(directory):
  """Class names of a version, in order.

  Raises:
    errors.InputError: their file is missing.
  """
  path = os.path.join(directory, "assets", CLASS_FILE)
  try:
    with places.open_text(path, encoding="utf-8") as file:
      return tuple(file.read().splitlines())
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected class names, one a line. Received: "
        f"{error.strerror}.") from error


def find(path):
  """Resolves a path to a version.

  Args:
    path: a version, or a directory of versions, of which the highest is taken.

  Returns:
    Path of the version.

  Raises:
    errors.InputError: there is no export.
  """
  if places.exists(os.path.join(path, remote_exports.MODEL_FILE)):
    return path
  there = versions(path)
  if not there:
    raise errors.InputError(
        f"{path}: expected an export, as `python -m kdwsd.export` writes. "
        "Received: no version there.")
  return version_path(path, there[-1])


def _number(model_directory, version):
  """The version, or the next free number for None."""
  if version is None:
    there = versions(model_directory)
    version = there[-1] + 1 if there else 1
  return version


def _check_free(model_directory, version):
  path = version_path(model_directory, version)
  if remote_exports.is_whole(path) if places.is_remote(path) else (
      os.path.lexists(path)):
    raise errors.InputError(
        f"{path}: expected a version that does not exist yet, since a server "
        "may have loaded it. Received: an existing one. Without --version the "
        "next free number is taken.")


def _missing_parents(directory):
  """Directories that `makedirs` would create, deepest first."""
  missing = []
  while not os.path.lexists(directory):
    missing.append(directory)
    directory = os.path.dirname(directory)
  return missing


def _lock(directory):
  """Locks out other exports; the kernel releases it if we are killed."""
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(descriptor)
    raise errors.InputError(
        f"{directory}: expected no other export running there. Received: "
        "one.") from error
  except OSError:
    # The file system has no locks: the user must not run two exports at once.
    pass
  return descriptor


def _remove_left_overs(directory):
  for name in os.listdir(directory):
    if name.startswith(_PARTIAL):
      shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


@contextlib.contextmanager
def _readable_errors(model_directory):
  """Turns an OSError into an `InputError`."""
  try:
    yield
  except OSError as error:
    raise errors.InputError(
        f"--output: {model_directory}: expected a writable directory. "
        f"Received: {error.strerror or error}.") from error


def _open_to_all(directory):
  """Adds read access for others: servers run as another user."""
  for folder, _, names in os.walk(directory):
    os.chmod(folder, 0o755)
    for name in names:
      os.chmod(os.path.join(folder, name), 0o644)


def _sync(directory):
  for folder, _, names in os.walk(directory):
    for name in names:
      with open(os.path.join(folder, name), "rb+") as file:
        os.fsync(file.fileno())
    _sync_directory(folder)


def _sync_directory(directory):
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
