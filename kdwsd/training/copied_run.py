"""A local copy of a run, or of a chain of runs, on an object store.

TensorFlow's checkpoints, the history and the plots need a file system, so a run
works in a temporary folder of this machine. `Copy.refresh` fills it: small
files at once, data of checkpoints when someone asks for them (`fetch`).
`Copy.store` uploads what has changed, each file under a temporary name, in an
order such that a kill at any moment leaves a state that resumes: the data of a
checkpoint before the files that name it, and old checkpoints are removed last.
"""

import contextlib
import os
import re

from kdwsd import errors
from kdwsd import interruption
from kdwsd import system_errors
from kdwsd.training import copy_folders
from kdwsd.training import store_lock
from kdwsd.training import store_requests
from kdwsd.training.settings import setting

# Folders of a run that are copied; what is written to `summaries` is uploaded.
_COPIED = ("checkpoints", "best", "unvalidated", "evaluation")

# Folders of a chain: stages, teachers of folds, students of other seeds.
_OF_A_CHAIN = re.compile("|".join(
    [*setting.STAGES, "wsd_fold_[0-9]+", "seed_[0-9]+"]))

# When files are uploaded; those that match nothing come in between. History and
# settings come before the index and the list, by which a checkpoint is found;
# the best checkpoint before its metric; and `metrics.json`, which marks an
# evaluation as complete, last.
_ORDER = (r"\.data-[^/]*$", None, r"\.index$", r"(^|/)best/checkpoint$",
          r"(^|/)best/figure\.json$", r"(^|/)checkpoint$", r"/metrics\.json$")


class _NotStored(errors.InputError):
  """Names the copy of a run, which is kept."""


class Copy:
  """The local copy of a remote work directory, of a run or of a chain.

  Attributes:
    remote: path of the work directory.
  """

  def __init__(self, remote):
    self.remote = remote
    self._folder = copy_folders.Folder(os.path.basename(remote))
    # Of each file in the store, its stamp here when both were equal, or None if
    # it is not here.
    self._known = {}
    self._locks = []
    self._has_failed = False

  @property
  def is_held(self):
    """Whether this process trains in it, so that no other one changes it."""
    return bool(self._locks)

  def path(self, below=""):
    """Local path of a folder of the copy."""
    return os.path.join(self._folder.path, below) if below else (
        self._folder.path)

  def named(self, text):
    """A text with the names of files in the store instead of their copies."""
    return str(text).replace(self._folder.path, self.remote)

  @contextlib.contextmanager
  def naming(self):
    """Errors within the block name the files in the store."""
    try:
      yield
    except _NotStored:
      raise
    except errors.InputError as error:
      raise errors.InputError(self.named(error)) from error

  def refresh(self, below=""):
    """Brings a folder up to date, unless this process trains in it."""
    if not self._locks:
      self._refresh(below)

  def fetch(self, start):
    """Fetches the files whose names in the copy begin with `start`."""
    wanted = [name for name, stamp in self._known.items()
              if stamp is None and name.startswith(start)]
    self._fetch_all(wanted)

  @contextlib.contextmanager
  def hold(self, below):
    """Keeps other processes from training here; see `run_copies.hold`."""
    with store_lock.hold(f"{self.remote}/{below}".rstrip("/")) as lock:
      if not self._locks:
        self._refresh(below, tidy=True)
      self._locks.append(lock)
      try:
        with self.naming():
          yield
      finally:
        try:
          with interruption.deferred():
            if not self._has_failed:
              self.store(below)
        finally:
          self._locks.remove(lock)
          if not self._locks and not self._has_failed:
            self._folder.remove()

  def store(self, below=""):
    """Uploads what has changed in a folder, and removes what has gone.

    Raises:
      errors.InputError: the store cannot be written, or another process has
        taken the lock. The copy is then kept, and named in the message.
    """
    try:
      for lock in self._locks:
        lock.check()
      self._store(below)
    except (OSError, errors.InputError) as error:
      self._has_failed = True
      self._folder.keep()
      raise _NotStored(
          f"{self.remote}: expected to store the state of the run. Received: "
          f"{_reason(error)} The whole state is in {self._folder.path}; "
          "with that as --workdir the run resumes, and it can be copied to the "
          "store.") from error

  def _store(self, below):
    here = self._folder.files(below)
    changed = [name for name, stamp in here.items()
               if self._known.get(name) != stamp]
    for name in sorted(changed, key=_place):
      store_requests.upload(
          os.path.join(self._folder.path, name), f"{self.remote}/{name}")
      self._known[name] = here[name]
    gone = [name for name, stamp in self._known.items()
            if _is_below(name, below) and name not in here
            and (stamp is not None or _index(name) not in here)]
    for name in sorted(gone, key=_place, reverse=True):
      store_requests.remove(f"{self.remote}/{name}")
      del self._known[name]

  def _refresh(self, below, tidy=False):
    try:
      found, partial = store_requests.listed(
          self.remote, below, enters=_enters, needs=_needs)
      if tidy:  # What a killed run left. Evaluations may be written just now.
        for name in partial:
          if "evaluation" not in name.split("/"):
            store_requests.remove(f"{self.remote}/{name}")
      for name in [name for name in self._known
                   if _is_below(name, below) and name not in found]:
        self._forget(name)
      data = [name for name in found if _index(name) != name]
      self._fetch_all([name for name in found if name not in data])
      for name in data:
        self._known.setdefault(name)
    except OSError as error:
      raise errors.InputError(
          f"{self.remote}: expected a work directory that can be read. "
          f"Received: {_reason(error)}") from error

  def _fetch_all(self, names):
    def fetch(name):
      path = os.path.join(self._folder.path, name)
      before = _content(path) if name.endswith(".index") else None
      if not store_requests.fetch(f"{self.remote}/{name}", path):
        return name, None  # Removed just now.
      return name, before not in (None, _content(path))

    with system_errors.reported(self._folder.path):
      for name, is_other in store_requests.each(fetch, names):
        if is_other is None:
          self._forget(name)
          continue
        self._known[name] = self._folder.stamp(name)
        if is_other:  # An index has checksums of the data.
          for data in [other for other in self._known
                       if other != name and _index(other) == name]:
            self._forget(data)

  def _forget(self, name):
    """Forgets a file, which is no longer in the store."""
    self._known.pop(name, None)
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(self._folder.path, name))


def _parts(name):
  """Folders and name of a file, below the stage if there is one."""
  parts = name.split("/")
  while parts and _OF_A_CHAIN.fullmatch(parts[0]):
    parts = parts[1:]
  return parts


def _enters(folder):
  parts = _parts(folder)
  return not parts or parts[0] in _COPIED


def _needs(name):
  return name.rpartition("/")[2] != store_lock.FILE


def _is_below(name, below):
  return not below or name.startswith(below + "/")


def _index(name):
  """The index of a checkpoint's data; the name itself of other files."""
  return re.sub(r"\.data-[^/]*$", ".index", name)


def _place(name):
  """Key that sorts names in the order of upload."""
  for place, pattern in enumerate(_ORDER):
    if pattern and re.search(pattern, name):
      return place, name
  return _ORDER.index(None), name


def _content(path):
  with contextlib.suppress(FileNotFoundError):
    with open(path, "rb") as file:
      return file.read()
  return None


def _reason(error):
  text = str(error.strerror if isinstance(error, OSError) and error.strerror
             else error)
  return text if text.endswith(".") else text + "."
