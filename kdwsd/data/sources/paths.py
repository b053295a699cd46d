"""Where an image listed in a data set lies: one rule for every format.

A path is taken as it is written, from the folder of the images. If no such file
exists, its backslashes are read as separators: lists written on Windows have
them, and a file name on Linux hardly ever does. Absolute paths of Windows name
no file here and are refused. `./a.jpg` and `x//a.jpg` are read as `a.jpg` and
`x/a.jpg`, so that all that is said of a file is said of one image.
"""

import os
import re

from kdwsd import errors
from kdwsd.data import image_names
from kdwsd.data import texts

_ABSOLUTE_ON_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def locate(folder, name, where):
  """Finds the file that a path in a data set means; it may be missing.

  Args:
    folder: of the images; what relative paths start from.
    name: the path as written.
    where: what lists it, for messages: `train.csv:17`.

  Returns:
    (path, name): the file, and the path as it was read, which is `name` with
    forward slashes where backslashes were separators, and without `./`.

  Raises:
    errors.InputError: an absolute path of Windows.
  """
  name = _without_dots(name)
  path = os.path.join(folder, name)
  if "\\" not in name and name[1:2] != ":" or os.path.exists(path):
    return path, name
  if _ABSOLUTE_ON_WINDOWS.match(name):
    raise errors.InputError(
        f"{where}: expected a path that starts from the folder of the images; "
        "write the paths so, and name the folder with --images. Received: "
        f"{texts.quoted(name)}, an absolute path of Windows.")
  name = _without_dots(name.replace("\\", "/"))
  return os.path.join(folder, name), name


def _without_dots(name):
  """A path without `./` and repeated slashes; `..` may lead through a link."""
  if "./" not in name and "//" not in name or "://" in name:  # Most.
    return name
  parts = [part for part in name.split("/") if part not in ("", ".")]
  return ("/" if name[0] == "/" else "") + "/".join(parts) or name


class Names:
  """Tells which names mean one file, so that its labels are not parted.

  A file has the name that it was given first: `a.jpg`, or `/photos/a.jpg`,
  `../photos/a.jpg`, or `a` where the ending is left out.
  """

  def __init__(self, folder):
    """Takes the folder that relative paths start from."""
    self._folder = folder
    self._prefixes = {}  # By folder, which are few.
    self._first = {}  # By path from the folder; plain names only if used.

  def first(self, name, path, *known):
    """Returns the name that a file was given first.

    Args:
      name: as `locate` returns it, perhaps without its ending.
      path: of the file.
      *known: containers of the names that came before.
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
    """A folder's path from the folder of the images, or else its own."""
    start, real = map(os.path.realpath, (self._folder, directory))
    if real == start:
      return ""
    inside = os.path.join(start, "")
    return os.path.join(
        real[len(inside):] if real.startswith(inside) else real, "")


class Endings:
  """Finds files of which a data set leaves out the ending.

  The ending that was found last is tried first: one folder has mostly one kind.
  """

  def __init__(self):
    self._endings = [
        ending for lower in image_names.EXTENSIONS
        for ending in (lower, lower.upper())]

  def complete(self, path):
    """Returns the path with its ending; as it is if there is no such file."""
    if os.path.exists(path):
      return path
    for i, ending in enumerate(self._endings):
      if os.path.exists(path + ending):
        self._endings.insert(0, self._endings.pop(i))
        return path + ending
    return path
