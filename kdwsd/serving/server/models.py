"""The versions of a model: watched in its folder, loaded, swapped, unloaded.

As TF Serving with its policy `latest 1` and labels: the newest version
directory answers calls that name no version. A new version is loaded and warmed
up beside the old one, then takes over at once; the old one is freed when its
last call has ended. A version that fails to load is reported in the status, and
the old one stays. Calls name a version by TF Serving's `ModelSpec`. Versions on
an object store are copied for the time that they take to load.
"""

import os
import re
import threading
import weakref

from absl import logging
from tensorflow_serving.apis import get_model_status_pb2

from kdwsd import errors
from kdwsd import places
from kdwsd.serving import remote_exports
from kdwsd.serving.server import codes
from kdwsd.serving.server import servables

_NO_FAILURE = None, codes.ServingError(codes.Code.OK, "")


class Model:
  """A model of one name, in versions.

  The watching thread alone loads versions. It replaces `_loaded` as a whole and
  never changes it in place, so that readers need no lock.
  """

  def __init__(self, name, base_path, *, labels=None, poll_seconds=1.0):
    """Makes a model without versions; labels: {label: version}."""
    self.name, self.labels = name, labels or {}
    self.base_path = places.abspath(base_path)
    self._poll_seconds = poll_seconds
    self._loaded = {}  # {version: LoadedVersion}, those that answer calls.
    self._retired = weakref.WeakValueDictionary()  # {version: session}
    self._failures = {}  # {version: (its files, ServingError)}
    self._seen = []  # All versions so far, newest first.
    self._stopping = threading.Event()
    self._watcher = threading.Thread(
        target=self._watch, name="versions", daemon=True)

  def start(self):
    """Loads the versions on disk, then watches.

    Raises:
      errors.InputError: there is no version that can be loaded, or a version
        that a label names is missing or broken.
    """
    self.poll()
    if not self._loaded or set(self.labels.values()) - set(self._loaded):
      raise errors.InputError(
          f"{self.base_path}: expected subdirectories whose names are numbers, "
          "the versions of an export, and among them those of the labels "
          f"{self.labels}. Received: {sorted(self._versions_on_disk())}. "
          + " ".join(f"Version {version}: {error.message}"
                     for version, (_, error) in self._failures.items()))
    self._watcher.start()

  def stop(self):
    """Ends the watch, after the load in progress if there is one."""
    self._stopping.set()
    if self._watcher.is_alive():
      self._watcher.join()

  def available(self):
    """Versions that answer calls, ascending."""
    return sorted(self._loaded)

  def find(self, spec):
    """The `servables.LoadedVersion` of a `ModelSpec`, or `codes.ServingError`.

    It stays in memory while it, or a signature of it, is referenced.
    """
    if not spec.name:
      raise codes.invalid("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    loaded = self._loaded
    if spec.name == self.name:
      if spec.HasField("version_label"):
        if spec.version_label not in self.labels:
          raise codes.invalid(
              f"Unrecognized servable version label: {spec.version_label}")
        version = self.labels[spec.version_label]
      elif version is None:
        version = max(loaded, default=None)
      if version in loaded:
        return loaded[version]
    asked = (f"Latest({spec.name})" if version is None
             else f"Specific({spec.name}, {version})")
    raise codes.ServingError(
        codes.Code.NOT_FOUND, f"Servable not found for request: {asked}")

  def status(self, spec):
    """`GetModelStatusResponse`: one version, or all of them, newest first.

    A label is ignored, as in TF Serving 2.15. If there is no such version, it
    raises `codes.ServingError`.
    """
    asked = spec.version.value if spec.HasField("version") else None
    found = [version for version in self._seen
             if spec.name == self.name and asked in (None, version)]
    if not found:
      what = "any versions" if asked is None else f"version {asked}"
      raise codes.ServingError(
          codes.Code.NOT_FOUND, f"Could not find {what} of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in found:
      _, error = self._failures.get(version, _NO_FAILURE)
      response.model_version_status.add(
          version=version,
          state=("AVAILABLE" if version in self._loaded else
                 "UNLOADING" if version in self._retired else "END"),
          status={"error_code": error.code.value[0],
                  "error_message": error.message})
    return response

  def poll(self):
    """Looks at the directory once; loads and retires versions accordingly."""
    there = self._versions_on_disk()
    if not there:  # A share is unmounted, for instance: keep what is loaded.
      return
    latest = max(there)
    keep = {latest, *self.labels.values()}
    for version in sorted(keep & set(there)):
      if version not in self._loaded and not self._stopping.is_set():
        self._load(there[version], version)
    if latest in self._loaded:
      for version in set(self._loaded) - keep:
        self._retired[version] = self._loaded[version].session
        logging.info("Unloading version %d of %s.", version, self.name)
      self._loaded = {version: loaded for version, loaded
                      in self._loaded.items() if version in keep}

  def _watch(self):
    while not self._stopping.wait(self._poll_seconds):
      try:
        self.poll()
      except Exception:  # pylint: disable=broad-exception-caught
        logging.exception("Watching %s failed; trying again.", self.base_path)

  def _versions_on_disk(self):
    """{version: path of its directory}."""
    is_there = (remote_exports.is_whole if places.is_remote(self.base_path)
                else os.path.isdir)
    try:
      paths = {int(name): os.path.join(self.base_path, name)
               for name in places.listdir(self.base_path)
               if re.fullmatch("[0-9]{1,18}", name)}
      return {version: path for version, path in paths.items()
              if is_there(path)}
    except OSError as error:
      if self._loaded:
        return {}
      raise errors.InputError(
          f"{self.base_path}: expected the directory of an export. Received: "
          f"{error.strerror}.") from error

  def _load(self, path, version):
    paths = [os.path.join(folder, name)
             for folder, _, names in places.walk(path) for name in names]
    files = sorted((file, places.getsize(file), places.getmtime(file))
                   for file in paths)
    if self._failures.get(version, _NO_FAILURE)[0] == files:
      return
    logging.info("Loading version %d of %s.", version, self.name)
    with remote_exports.copied(path) as local:
      self._load_local(local, path, version, files)

  def _load_local(self, local, path, version, files):
    try:
      loaded = servables.load(local, version, self._stopping)
      self._loaded = {**self._loaded, version: loaded}
      self._failures.pop(version, None)
      logging.info("Version %d of %s is available.", version, self.name)
    except Exception as error:  # pylint: disable=broad-exception-caught
      error = codes.from_exception(error)
      self._failures[version] = files, error
      logging.warning(
          "%s: expected a SavedModel that can be served. Received: %s. It is "
          "loaded again when its files change.", path, error.message)
    self._seen = sorted({*self._seen, version}, reverse=True)
