"""The versions of a model: watched on disk, loaded, swapped, let go.

What TF Serving does with its policy `latest 1` and the versions that labels
name: the newest version directory answers calls that name no version. A new
one is loaded and warmed up beside the old one, then takes over at once; the
old one goes when its last call has ended. One that does not load is reported
in the status, and the old one goes on.
"""

import contextlib
import dataclasses
import gc
import os
import re
import threading

from absl import logging

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import servables

LOADING = "LOADING"
AVAILABLE = "AVAILABLE"
UNLOADING = "UNLOADING"
END = "END"


@dataclasses.dataclass(frozen=True)
class Reference:
  """What a call names: a model, and a version or a label or neither."""

  name: str
  version: int = None
  label: str = None


@dataclasses.dataclass(frozen=True)
class Status:
  """What became of a version: `state` as in TF Serving, `code` of `codes`."""

  version: int
  state: str
  code: str = codes.OK
  message: str = ""


class Model:
  """A model of one name, in versions."""

  def __init__(self, name, base_path, *, labels=None, poll_seconds=1.0):
    """Makes a model without versions.

    Args:
      name: that calls give.
      base_path: directory whose subdirectories of numeric names are versions.
      labels: {label: version}; these versions stay loaded.
      poll_seconds: between looks at the directory.
    """
    self.name = name
    self.base_path = os.path.abspath(base_path)
    self.labels = dict(labels or {})
    self._poll_seconds = poll_seconds
    self._lock = threading.Lock()
    self._loaded = {}  # {version: LoadedVersion}, those that answer calls.
    self._retired = []
    self._statuses = {}  # {version: Status}
    self._failed = {}  # {version: what its files were like}
    self._stopping = threading.Event()
    self._watcher = threading.Thread(target=self._watch, name="versions")

  def start(self):
    """Loads what is there, then watches.

    Raises:
      errors.InputError: there is no version, none can be loaded, or one that
        a label names is not there.
    """
    there = self._versions_on_disk()
    if not there:
      raise errors.InputError(
          f"{self.base_path}: expected subdirectories whose names are numbers, "
          "the versions of an export. Received: none.")
    for label, version in self.labels.items():
      if version not in there:
        raise errors.InputError(
            f"label {label}: expected a version in {self.base_path}: "
            f"{', '.join(map(str, sorted(there)))}. Received: {version}.")
    self.poll()
    failed = [status for _, status in sorted(self._statuses.items())
              if status.state != AVAILABLE]
    if not self._loaded or set(self.labels.values()) - set(self._loaded):
      raise errors.InputError("; ".join(
          f"{there[status.version]}: expected a SavedModel that can be served. "
          f"Received: {status.message}" for status in failed))
    self._watcher.start()

  def stop(self):
    """Ends the watch; a version being loaded is loaded first."""
    self._stopping.set()
    if self._watcher.is_alive():
      self._watcher.join()

  @contextlib.contextmanager
  def use(self, reference):
    """Keeps a version in memory for the length of a call.

    Args:
      reference: a `Reference`.

    Yields:
      `servables.LoadedVersion`.

    Raises:
      codes.ServingError: it does not exist.
    """
    with self._lock:
      loaded = self._find(reference)
      loaded.users += 1
    try:
      yield loaded
    finally:
      with self._lock:
        loaded.users -= 1

  def statuses(self, reference):
    """What became of versions.

    Args:
      reference: a `Reference`; without version and label, all versions.

    Returns:
      List of `Status`, newest first.

    Raises:
      codes.ServingError: there is none.
    """
    with self._lock:
      statuses = dict(self._statuses) if reference.name == self.name else {}
      version = reference.version
      if reference.label is not None and statuses:
        version = self._labelled(reference.label)
    if version is not None:
      if version not in statuses:
        raise codes.ServingError(
            codes.NOT_FOUND, f"Could not find version {version} of model "
            f"{reference.name}")
      return [statuses[version]]
    if not statuses:
      raise codes.ServingError(
          codes.NOT_FOUND,
          f"Could not find any versions of model {reference.name}")
    return [status for _, status in sorted(statuses.items(), reverse=True)]

  def available(self):
    """Numbers of the versions that answer calls, ascending."""
    with self._lock:
      return sorted(self._loaded)

  def poll(self):
    """Looks at the directory once and does what it asks for."""
    there = self._versions_on_disk()
    if there:  # With none at all, a share has gone: better stay.
      latest = max(there)
      keep = {latest, *self.labels.values()}
      for version in sorted(keep & set(there)):
        if not self._stopping.is_set() and version not in self._loaded:
          self._load(there[version], version)
      if latest in self._loaded:
        for version in set(self._loaded) - keep:
          self._retire(version)
    self._let_go()

  def _watch(self):
    while not self._stopping.wait(self._poll_seconds):
      try:
        self.poll()
      except Exception:  # pylint: disable=broad-exception-caught
        logging.exception("Watching %s failed; going on.", self.base_path)

  def _versions_on_disk(self):
    """Paths of the version directories, by number."""
    try:
      with os.scandir(self.base_path) as entries:
        return {
            int(entry.name): entry.path
            for entry in sorted(entries, key=lambda entry: entry.name)
            if re.fullmatch("[0-9]{1,18}", entry.name) and entry.is_dir()}
    except OSError as error:
      if not self._loaded:
        raise errors.InputError(
            f"{self.base_path}: expected the directory of an export. "
            f"Received: {error.strerror}.") from error
      return {}

  def _find(self, reference):
    """The version a call names; the lock is held."""
    if not reference.name:
      raise codes.invalid("ModelSpec has no name specified.")
    version = reference.version
    if reference.name == self.name:
      if reference.label is not None:
        version = self._labelled(reference.label)
      elif version is None and self._loaded:
        version = max(self._loaded)
      if version in self._loaded:
        return self._loaded[version]
    asked = (f"Latest({reference.name})" if version is None
             else f"Specific({reference.name}, {version})")
    raise codes.ServingError(
        codes.NOT_FOUND, f"Servable not found for request: {asked}")

  def _labelled(self, label):
    if label not in self.labels:
      raise codes.invalid(f"Unrecognized servable version label: {label}")
    return self.labels[label]

  def _load(self, path, version):
    files = _fingerprint(path)
    if self._failed.get(version) == files:
      return
    logging.info("Loading version %d of %s.", version, self.name)
    self._set_status(Status(version, LOADING))
    try:
      loaded = servables.load(
          path, version, lambda: not self._stopping.is_set())
    except Exception as error:  # pylint: disable=broad-exception-caught
      cause = codes.from_exception(error)
      self._failed[version] = files
      self._set_status(Status(version, END, cause.code, cause.message))
      logging.warning(
          "%s: expected a SavedModel that can be served. Received: %s. It is "
          "tried again when its files change.", path, cause.message)
      return
    with self._lock:
      self._failed.pop(version, None)
      self._loaded[version] = loaded
      self._statuses[version] = Status(version, AVAILABLE)
    logging.info("Version %d of %s is available.", version, self.name)

  def _retire(self, version):
    with self._lock:
      self._retired.append(self._loaded.pop(version))
      self._statuses[version] = Status(version, UNLOADING)

  def _let_go(self):
    """Frees retired versions that no call uses."""
    with self._lock:
      free = [loaded for loaded in self._retired if not loaded.users]
      self._retired = [loaded for loaded in self._retired if loaded.users]
    if not free:
      return
    for loaded in free:
      with self._lock:
        if loaded.version not in self._loaded:  # It may have come back.
          self._statuses[loaded.version] = Status(loaded.version, END)
      logging.info("Version %d of %s is unloaded.", loaded.version, self.name)
    del free, loaded
    gc.collect()  # A loaded model is full of cycles.

  def _set_status(self, status):
    with self._lock:
      self._statuses[status.version] = status


def _fingerprint(path):
  """What tells whether files in a directory have changed."""
  found = []
  for directory, _, names in os.walk(path):
    for name in sorted(names):
      with contextlib.suppress(OSError):
        stat = os.stat(os.path.join(directory, name))
        found.append((directory, name, stat.st_size, stat.st_mtime_ns))
  return sorted(found)
