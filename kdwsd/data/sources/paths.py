"""Resolves the path of an image in a data set, by one rule for all formats.

A path is used as written, relative to the folder of the images. If no such file
exists, its backslashes are read as separators: lists written on Windows have
them, and file names on Linux hardly ever do. Absolute Windows paths are
refused. `./a.jpg` and `x//a.jpg` are read as `a.jpg` and `x/a.jpg`, so that all
labels of a file belong to one image.
"""

import os
import re

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_names
from kdwsd.data import texts

_ABSOLUTE_ON_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def locate(folder, name, where):
  """Resolves a path in a data set to a file, which may be missing.

  Args:
    folder: folder of the images; base of relative paths.
    name: the path as written.
    where: file and line of the path, for messages: `train.csv:17`.

  Returns:
    (path, name): the file, and `name` normalised: with forward slashes where
    backslashes were separators, and without `./`.

  Raises:
    errors.InputError: an absolute Windows path.
  """
  name = _without_dots(name)
  path = os.path.join(folder, name)
  if "\\" not in name and name[1:2] != ":" or places.exists(path):
    return path, name
  if _ABSOLUTE_ON_WINDOWS.match(name):
    raise errors.InputError(
        f"{where}: expected a path that starts from the folder of the images; "
        "write the paths so, and name the folder with --images. Received: "
        f"{texts.quoted(name)}, an absolute path of Windows.")
  name = _without_dots(name.replace("\\", "/"))
  return os.path.join(folder, name), name


def _without_dots(name):
  """Removes `./` and repeated slashes; keeps `..`, which may follow a link."""
  if "./" not in name and "//" not in name or "://" in name:  # Most.
    return name
  parts = [part for part in name.split("/") if part not in ("", ".")]
  return ("/" if name[0] == "/" else "") + "/".join(parts) or name


class Names:
  """Recognises different names of one file, so that its labels are joined.

  The first name of a file is used: `a.jpg`, `/photos/a.jpg`, `../photos/a.jpg`,
  or `a` where the extension is left out.
  """

  def __init__(self, folder):
    """Takes the base folder of relative paths."""
    self._folder = folder
    self._prefixes = {}  # By folder, which are few.
    self._first = {}  # By path from the folder; plain names only if used.

  def first(self, name, path, *known):
    """Returns the first name of a file.

    Args:
      name: as `locate` returns it, perhaps without its extension.
      path: path of the file.
      *known: containers of the earlier names.
    """
    plain = name
    if path[-len(name):] != name:
      plain = name + os.path.splitext(path)[1]
    if name[:1] == "/" or ".." in name:
      directory, _, last = path.rpartition("/")
      if directory not in self._prefixes:
        self._prefixes[directory] = self._prefix(directory or "/")
      plain = self._prefixes[directory] + last
    if plain == name:
      return self._first.get(name, name) if self._first else name
    if any(plain in names for names in known):
      return plain
    return self._first.setdefault(plain, name)

  def _prefix(self, directory):
    """A folder's path relative to that of the images, or else absolute."""
    start, real = map(places.realpath, (self._folder, directory))
    if real == start:
      return ""
    inside = os.path.join(start, "")
    return os.path.join(
        real[len(inside):] if real.startswith(inside) else real, "")


class Endings:
  """Finds files whose extension a data set leaves out.

  The last extension found is tried first: a folder usually has only one.
  """

  def __init__(self):
    self._endings = [
        ending for lower in image_names.EXTENSIONS
        for ending in (lower, lower.upper())]

  def complete(self, path):
    """Returns the path with its extension; unchanged if there is no file."""
    if places.exists(path):
      return path
    for i, ending in enumerate(self._endings):
      if places.exists(path + ending):
        self._endings.insert(0, self._endings.pop(i))
        return path + ending
    return path
