"""Local copies of work directories on an object store, see `copied_run`.

Each remote path has one copy in a process. Local work directories have none:
`find` gives None for them.
"""

import contextlib
import os

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.training import copied_run
from kdwsd.training import workdir_lock
from kdwsd.training.settings import setting

# There are no links: `wsd.link` names the run that is a chain's stage `wsd`.
_LINK = ".link"

_copies = {}  # By path.


def find(path):
  """Finds or makes the copy of a work directory.

  Args:
    path: of a run, or of a chain of them.

  Returns:
    (`copied_run.Copy`, the folder in it, "" for all of it); (None, "") for a
    local path.

  Raises:
    errors.InputError: there is no such file system, or it cannot be read.
  """
  if not places.is_remote(path):
    return None, ""
  path = places.normpath(path)
  for copy in _copies.values():
    if path == copy.remote or path.startswith(copy.remote + "/"):
      below = path[len(copy.remote) + 1:]
      target = _read_link(copy.path(below)) if below else None
      return find(target) if target else (copy, below)
  try:
    target = _read_link(path)
  except errors.InputError as error:  # Of the file system, not of the link.
    raise errors.InputError(str(error).replace(path + _LINK, path)) from error
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a work directory that can be read. Received: "
        f"{error.strerror or error}.") from error
  if target:
    return find(target)
  _copies[path] = copied_run.Copy(path)
  return _copies[path], ""


def local(workdir):
  """The local path of a chain's work directory, with all stages in it."""
  copy, below = find(workdir)
  if copy is None:
    return workdir
  copy.refresh(below)
  for stage in setting.STAGES:
    path = os.path.join(copy.path(below), stage)
    target = _read_link(path)
    if target and not os.path.lexists(path):
      os.symlink(local(target), path)
  return copy.path(below)


def link(workdir, stage, target):
  """Lets a stage of a remote chain stand for another run, which may change.

  Args:
    workdir: remote work directory of the chain.
    stage: name of its folder.
    target: remote work directory of the run.

  Returns:
    The run that the stage stands for by now.
  """
  copy, below = find(workdir)
  copy.refresh(below)
  path = os.path.join(copy.path(below), stage)
  if not os.path.exists(path + _LINK):
    files.write_text(path + _LINK, target + "\n")
    if copy.is_held:
      copy.store(below)
  return _read_link(path)


@contextlib.contextmanager
def hold(workdir):
  """Keeps other processes from training in a work directory.

  What the block has changed is uploaded when it ends, and the copy removed.

  Args:
    workdir: of a run, or of a chain of them.

  Yields:
    None.

  Raises:
    errors.InputError: another process trains there, or see
      `copied_run.Copy.store`.
  """
  copy, below = find(workdir)
  if copy is None:
    with workdir_lock.hold(workdir):
      yield
    return
  try:
    with copy.hold(below):
      yield
  finally:
    if not copy.is_held:
      _copies.pop(copy.remote, None)


def naming(workdir):
  """Errors within the block name files of a chain in the store, not copies."""
  copy, _ = find(workdir)
  return copy.naming() if copy else contextlib.nullcontext()


def _read_link(path):
  """What a stage stands for, None if for itself."""
  if not places.isfile(path + _LINK):
    return None
  with places.open_text(path + _LINK, encoding="utf-8") as file:
    return file.read().strip()
