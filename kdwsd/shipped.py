"""Files that come with the package: recipes, serving kit, documentation.

They are the folders `flags`, `export` and `docs` of a checkout. A wheel has
them in `kdwsd/share` (see setup.py), under the same names.
"""

import os
import re

from absl import flags
from absl import logging

from kdwsd import errors
from kdwsd import files

flags.disclaim_key_flags()  # --copy is a flag of the programs.

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_SHARE = os.path.join(_PACKAGE, "share")
_ROOT = _SHARE if os.path.isdir(_SHARE) else os.path.dirname(_PACKAGE)

_RECIPES = "flags"
_used = []  # Recipes of the package that flags named.

_HEADLINES = (r'^"""(.+?)"""', r'^"""(.+?)\n\n', r"^#+ (.+?)(?:\n#?\n|\n[^#])")


def names(folder):
  """Lists the files of a folder.

  Args:
    folder: `flags`, `export` or `docs`.

  Returns:
    Sorted paths that begin with the folder's name.
  """
  found = []
  for directory, folders, members in os.walk(os.path.join(_ROOT, folder)):
    folders[:] = [name for name in folders if name != "__pycache__"]
    found += [os.path.relpath(os.path.join(directory, name), _ROOT)
              for name in members if not name.startswith(".")]
  return sorted(found)


def path(name):
  """Where a file of `names` lies."""
  return os.path.join(_ROOT, name)


def headline(name):
  """The first sentence of a file: of its comment, docstring or heading.

  Args:
    name: as from `names`.

  Returns:
    One line; empty for a file that has none, such as a picture.
  """
  with open(path(name), encoding="utf-8", errors="replace") as file:
    text = file.read(2000)
  for pattern in _HEADLINES:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if found:
      words = " ".join(re.sub(r"\n# ?", "\n", found[1]).split())
      return re.sub(r"(?<=[^.])\. .*|\.$", "", words)
  return ""


def table(folder, *, without=()):
  """Lists the files of a folder with their headlines, as text."""
  listed = [name for name in names(folder) if name.split("/")[1] not in without]
  width = max(map(len, listed))
  return "\n".join(f"{name:{width}}  {headline(name)}".rstrip()
                   for name in listed)


def copy(folder, parent):
  """Copies a folder; equal files that exist stay, other ones are an error.

  Args:
    folder: `flags`, `export` or `docs`.
    parent: the folder to copy it into.

  Returns:
    The path of the copy, and the number of files written.

  Raises:
    errors.InputError: a file exists with other content, and nothing was
      written; or the place cannot be written.
  """
  missing, other = {}, []
  for name in names(folder):
    with open(path(name), "rb") as file:
      content = file.read()
    target = os.path.normpath(os.path.join(parent, name))
    if not os.path.lexists(target):
      missing[target] = content
    elif not _has(target, content):
      other.append(target)
  if other:
    more = f" and {len(other) - 1} more" if other[1:] else ""
    raise errors.InputError(
        f"--copy: {other[0]}{more}: expected no file there, or the one that "
        "comes with kdwsd. Received: another one. Nothing was copied; move "
        "yours away, or name another folder, --copy=DIR.")
  for target, content in missing.items():
    files.write_bytes(target, content)
  return os.path.normpath(os.path.join(parent, folder)), len(missing)


def find(recipe):
  """Finds a recipe, here or in the package.

  Args:
    recipe: path of a flagfile or of a folder of them.

  Returns:
    The path itself, or the one in the package if nothing of that name, such
    as `flags/voc07`, exists here.
  """
  if (os.path.exists(recipe)
      or os.path.normpath(recipe).split(os.sep)[0] != _RECIPES
      or not os.path.exists(path(recipe))):
    return recipe
  _used.append(recipe)
  return path(recipe)


def log_use():
  """Logs which recipes `find` took from the package, once."""
  if _used:
    logging.info("Not in this folder, taken from the package: %s.",
                 ", ".join(dict.fromkeys(_used)))
    _used.clear()


def find_flagfiles(flag_values):
  """Makes --flagfile look in the package, too, as `find` does.

  absl has no public way to say where flagfiles are looked for, not even those
  that a flagfile includes.

  Args:
    flag_values: `flags.FLAGS`, or another `flags.FlagValues`.
  """
  read = type(flag_values)._get_flag_file_lines  # pylint: disable=protected-access
  vars(flag_values)["_get_flag_file_lines"] = (
      lambda filename, parsed_file_stack=None: read(
          flag_values, find(filename), parsed_file_stack))


class _FolderParser(flags.ArgumentParser):
  """Parses --copy to the folder the user is in, and --copy=DIR to DIR."""

  def parse(self, argument):
    """Parses a value; absl gives "true" if there is none."""
    return {"true": os.curdir, "false": None}.get(argument, argument)


def define_copy(folder, content):
  """Defines the flag --copy[=DIR].

  Args:
    folder: `flags`, `export` or `docs`.
    content: what that has, for the flag's help.

  Returns:
    Holder of the flag, whose `value` is the folder to copy to, or None.
  """
  flag = flags.Flag(
      _FolderParser(), None, "copy", None,
      f"Copy the {content} to {folder}/, here or in --copy=DIR. Files that are "
      "there already are never overwritten.")
  flag.boolean = True  # It may have no value.
  return flags.DEFINE_flag(flag)


def _has(target, content):
  try:
    with open(target, "rb") as file:
      return file.read() == content
  except OSError:  # A folder, or not readable.
    return False
