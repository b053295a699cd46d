"""Exports on disk: what TensorFlow Serving watches, never half-written.

    MODEL_DIR/
      3/                      a version: TensorFlow Serving takes the highest
        saved_model.pb
        variables/
        assets/classes.txt    class names, one a line
        assets.extra/tf_serving_warmup_requests
        export.json           what it is, from what it was made

A version comes into being by a rename: it is written in a directory beside it
whose name is no number, so that a server looking meanwhile passes it by.
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
from kdwsd import system_errors
from kdwsd.serving import quiet
from kdwsd.serving import signatures

CLASS_FILE = "classes.txt"
METADATA_FILE = "export.json"
WARMUP_FILE = "tf_serving_warmup_requests"

_PARTIAL = ".partial-"
# TensorFlow Serving keeps versions in 64 bits.
_MAX_VERSION = 2 ** 63 - 1


def versions(model_directory):
  """Versions there, sorted; empty where there is no such directory."""
  try:
    names = os.listdir(model_directory)
  except (FileNotFoundError, NotADirectoryError):
    return []
  return sorted(
      int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,18}", name)
      and os.path.isdir(os.path.join(model_directory, name)))


def version_path(model_directory, version):
  """Where a version lies, or will."""
  return os.path.join(model_directory, str(version))


@contextlib.contextmanager
def new_version(model_directory, version=None):
  """Yields a directory to write in, that becomes a version at the end.

  If the block raises, nothing of it stays. If the process is killed, the
  directory stays, under a name that no server takes for a version, until the
  next export removes it.

  Args:
    model_directory: made if it is missing.
    version: its number; by default one more than the highest there, or 1.

  Yields:
    (path of the temporary directory, the version).

  Raises:
    errors.InputError: the version exists, another export is at work there, or
      the place cannot be written.
  """
  model_directory = os.path.abspath(model_directory)
  if version is not None and not 0 <= version <= _MAX_VERSION:
    raise errors.InputError(
        f"--version: expected 0 to {_MAX_VERSION}. Received: {version}.")
  made = _missing_parents(model_directory)
  temporary, lock = None, None
  try:
    with _readable_errors(model_directory):
      os.makedirs(model_directory, exist_ok=True)
      lock = _lock(model_directory)
      _remove_left_overs(model_directory)
      there = versions(model_directory)
      if version is None:
        version = there[-1] + 1 if there else 1
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
    for directory in made:  # The deepest first; full ones stay.
      with contextlib.suppress(OSError):
        os.rmdir(directory)
    if lock is not None:
      os.close(lock)


def write(servable, directory):
  """Writes a model as SavedModel.

  Args:
    servable: a `signatures.Servable`.
    directory: where to; may exist.

  Raises:
    errors.InputError: the disk is full or cannot be written.
  """
  os.makedirs(directory, exist_ok=True)
  # In there, so that it goes with the rest if the process is killed.
  with tempfile.TemporaryDirectory(dir=directory) as scratch:
    class_file = os.path.join(scratch, CLASS_FILE)
    files.write_text(
        class_file, "".join(name + "\n" for name in servable.classes))
    servable.module.class_file = tf.saved_model.Asset(class_file)
    try:
      with quiet.logs():
        tf.saved_model.save(
            servable.module, directory, signatures=servable.signatures,
            # They are for training: exact RoI pooling has one.
            options=tf.saved_model.SaveOptions(
                experimental_custom_gradients=False))
    except tf.errors.OpError as error:
      raise errors.InputError(
          f"{directory}: expected to write the model there. Received: "
          f"{system_errors.first_line(error)}.") from error
  if signatures.CLASSIFY in servable.signatures:
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        directory)
    updater.replace_method_name(
        signature_key=signatures.CLASSIFY,
        method_name=signatures.CLASSIFY_METHOD, tags="serve")
    with quiet.logs():
      updater.save()
    # It is of the file before; servers do without.
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(directory, "fingerprint.pb"))


def write_metadata(directory, metadata):
  """Writes `export.json` of a version."""
  files.write_json(os.path.join(directory, METADATA_FILE), metadata)


def read_metadata(directory):
  """Reads `export.json` of a version.

  Raises:
    errors.InputError: it is missing or no JSON object.
  """
  path = os.path.join(directory, METADATA_FILE)
  metadata = files.read_json(path)
  if not isinstance(metadata, dict):
    raise errors.InputError(
        f"{path}: expected what `python -m kdwsd.export` writes. Received: "
        f"{type(metadata).__name__}.")
  return metadata


def read_classes(directory):
  """Class names of a version, in order.

  Raises:
    errors.InputError: their file is missing.
  """
  path = os.path.join(directory, "assets", CLASS_FILE)
  try:
    with open(path, encoding="utf-8") as file:
      return tuple(file.read().splitlines())
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected class names, one a line. Received: "
        f"{error.strerror}.") from error


def find(path):
  """Finds the version that a user means.

  Args:
    path: of a version, or of the directory that holds versions: the highest.

  Returns:
    Path of the version.

  Raises:
    errors.InputError: there is no export.
  """
  if os.path.exists(os.path.join(path, "saved_model.pb")):
    return path
  there = versions(path)
  if not there:
    raise errors.InputError(
        f"{path}: expected an export, as `python -m kdwsd.export` writes. "
        "Received: no version there.")
  return version_path(path, there[-1])


def _check_free(model_directory, version):
  path = version_path(model_directory, version)
  if os.path.lexists(path):
    raise errors.InputError(
        f"{path}: expected a version that does not exist yet; a server may "
        "have it loaded. Received: one that does. Without --version the next "
        "free number is taken.")


def _missing_parents(directory):
  """Directories that `makedirs` would make, the deepest first."""
  missing = []
  while not os.path.lexists(directory):
    missing.append(directory)
    directory = os.path.dirname(directory)
  return missing


def _lock(directory):
  """Keeps other exports out; the kernel lets go if the process is killed."""
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(descriptor)
    raise errors.InputError(
        f"{directory}: expected to be the only export at work there. "
        "Received: another one.") from error
  except OSError:
    # A file system without locks: two exports at once are the user's care.
    pass
  return descriptor


def _remove_left_overs(directory):
  for name in os.listdir(directory):
    if name.startswith(_PARTIAL):
      shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


@contextlib.contextmanager
def _readable_errors(model_directory):
  """Turns what a full or forbidden disk raises into one line."""
  try:
    yield
  except OSError as error:
    raise errors.InputError(
        f"--output: {model_directory}: expected a place that can be written. "
        f"Received: {error.strerror or error}.") from error


def _open_to_all(directory):
  """A server runs as somebody else; mkdtemp's directories are for one only."""
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
