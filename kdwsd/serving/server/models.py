"""The versions of a model: watched on disk, loaded, swapped, let go.

What TF Serving does with its policy `latest 1` and the versions that labels
name: the newest version directory answers calls that name no version. A new
one is loaded and warmed up beside the old one, then takes over at once; the
old one goes when its last call has ended. One that does not load is reported
in the status, and the old one goes on.

Calls name a version by TF Serving's `ModelSpec`.
"""

import contextlib
import gc
import os
import pathlib
import re
import threading
import weakref

from absl import logging
from tensorflow_serving.apis import get_model_status_pb2

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import servables


class Model:
  """A model of one name, in versions."""

  def __init__(self, name, base_path, *, labels=None, poll_seconds=1.0):
    """Makes a model without versions; labels: {label: version}."""
    self.name = name
    self.base_path = pathlib.Path(base_path).absolute()
    self.labels = dict(labels or {})
    self._poll_seconds = poll_seconds
    self._lock = threading.Lock()
    self._loaded = {}  # {version: LoadedVersion}, those that answer calls.
    self._retired = []  # [(version, weak reference)]
    self._statuses = {}  # {version: ModelVersionStatus}
    self._failed = {}  # {version: what its files were like}
    self._stopping = threading.Event()
    self._watcher = threading.Thread(
        target=self._watch, name="versions", daemon=True)

  def start(self):
    """Loads what is there, then watches.

    Raises:
      errors.InputError: there is no version that can be loaded, or one that a
        label names is not there.
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
    if not self._loaded or set(self.labels.values()) - set(self._loaded):
      raise errors.InputError("; ".join(
          f"{there[version]}: expected a SavedModel that can be served. "
          f"Received: {status.status.error_message}"
          for version, status in sorted(self._statuses.items())
          if version not in self._loaded))
    self._watcher.start()

  def stop(self):
    """Ends the watch; a version being loaded is loaded first."""
    self._stopping.set()
    if self._watcher.is_alive():
      self._watcher.join()

  def find(self, spec):
    """The `servables.LoadedVersion` that a `ModelSpec` names.

    It stays in memory while it is referred to. If there is none, it raises
    `codes.ServingError`.
    """
    if not spec.name:
      raise codes.invalid("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    with self._lock:
      if spec.name == self.name:
        if spec.HasField("version_label"):
          if spec.version_label not in self.labels:
            raise codes.invalid("Unrecognized servable version label: "
                                f"{spec.version_label}")
          version = self.labels[spec.version_label]
        elif version is None:
          version = max(self._loaded, default=None)
        if version in self._loaded:
          return self._loaded[version]
    asked = (f"Latest({spec.name})" if version is None
             else f"Specific({spec.name}, {version})")
    raise codes.ServingError(
        codes.Code.NOT_FOUND, f"Servable not found for request: {asked}")

  def statuses(self, spec):
    """`ModelVersionStatus` of one version or of all, newest first.

    A label is not looked at, nor is it in TF Serving 2.15. If there is no such
    version, it raises `codes.ServingError`.
    """
    asked = spec.version.value if spec.HasField("version") else None
    with self._lock:
      found = [status for version, status in sorted(self._statuses.items())
               if spec.name == self.name and asked in (None, version)]
    if not found:
      what = "any versions" if asked is None else f"version {asked}"
      raise codes.ServingError(
          codes.Code.NOT_FOUND, f"Could not find {what} of model {spec.name}")
    return found[::-1]

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
          with self._lock:
            self._retired.append(
                (version, weakref.ref(self._loaded.pop(version))))
            self._set_status(version, "UNLOADING")
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
      return {int(path.name): str(path)
              for path in sorted(self.base_path.iterdir())
              if re.fullmatch("[0-9]{1,18}", path.name) and path.is_dir()}
    except OSError as error:
      if not self._loaded:
        raise errors.InputError(
            f"{self.base_path}: expected the directory of an export. "
            f"Received: {error.strerror}.") from error
      return {}

  def _load(self, path, version):
    files = {}
    for directory, _, names in os.walk(path):
      for name in names:
        with contextlib.suppress(OSError):  # It may go meanwhile.
          stat = os.stat(os.path.join(directory, name))
          files[directory, name] = stat.st_size, stat.st_mtime_ns
    if self._failed.get(version) == files:
      return
    logging.info("Loading version %d of %s.", version, self.name)
    with self._lock:
      self._set_status(version, "LOADING")
    try:
      loaded = servables.load(
          path, version, lambda: not self._stopping.is_set())
    except Exception as error:  # pylint: disable=broad-exception-caught
      cause = codes.from_exception(error)
      self._failed[version] = files
      with self._lock:
        self._set_status(version, "END", cause.code, cause.message)
      logging.warning(
          "%s: expected a SavedModel that can be served. Received: %s. It is "
          "tried again when its files change.", path, cause.message)
      return
    self._failed.pop(version, None)
    with self._lock:
      self._loaded[version] = loaded
      self._set_status(version, "AVAILABLE")
    logging.info("Version %d of %s is available.", version, self.name)

  def _let_go(self):
    """Notes which retired versions no call uses any more."""
    if self._retired:
      gc.collect()  # A loaded model is full of cycles.
    for version, reference in list(self._retired):
      if reference() is None:
        self._retired.remove((version, reference))
        with self._lock:
          if version not in self._loaded:  # It may have come back.
            self._set_status(version, "END")
        logging.info("Version %d of %s is unloaded.", version, self.name)

  def _set_status(self, version, state, code=codes.Code.OK, message=""):
    """Notes what became of a version; the lock is held."""
    self._statuses[version] = get_model_status_pb2.ModelVersionStatus(
        version=version, state=state, status={
            "error_code": code.value[0], "error_message": message})
