"""VOC's `ImageSets`: lists of images, and of the images of one class.

    trainval.txt        000005          an id a line
    cat_trainval.txt    000005 -1       an id and a number: -1 absent, 0 only
                                        difficult objects, 1 present

A file is a class list only if its content is that of one: a number in every
line, and every image of the set that its name ends with. Without numbers,
`small_trainval.txt` is an image set.

An id may be in quotes, and may have spaces, an image extension, backslashes or
the path of its folder. The existing images decide its meaning: the line
`photo 1` is the image `photo 1` if it exists, or else `photo`.
"""

import collections
import os
import re

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts

_NUMBERED = re.compile(r"(.*\S)\s+(-1|0|1)")
_QUOTED = re.compile(r"""(["'])(.+)\1(?:\s+(-1|0|1))?""")
_FOLDER = re.compile(r"(?i)(?:^|.*/)(?:JPEGImages|Annotations)/")

Entry = collections.namedtuple("Entry", "number image_id presence")
Entry.__doc__ = """One line: its number, the id, and "-1", "0", "1" or None."""


def path_of(tree, image_set):
  """Path of an image set.

  Raises:
    errors.InputError: there is no such set.
  """
  path = os.path.join(tree.set_folder, f"{image_set}.txt")
  if not places.isfile(path):
    there = sorted(_names(tree))
    sets = [name for name in there
            if not any(set_name in there for _, set_name in _parted(name))]
    raise errors.InputError(
        f"{path}: expected the image set --image_set={image_set}. Received: "
        f"no such file; there are: {texts.shown(', '.join(sets)) or 'none'}.")
  return path


def entries(tree, path, on_error):
  """Yields the `Entry` of every line that is not blank.

  Args:
    tree: a `voc_layout.Tree`.
    path: path of the list.
    on_error: function that takes the `errors.InputError` of a bad line.
  """
  for number, line in enumerate(
      texts.lines(sources.read_text(path, "one image id a line")), 1):
    if line.strip():
      try:
        yield Entry(number, *_part(line, tree, f"{path}:{number}"))
      except errors.InputError as error:
        on_error(error)


def class_lists(tree):
  """Finds the class lists.

  Args:
    tree: a `voc_layout.Tree` with image sets.

  Returns:
    {class: set of the ids in which it is present}; and the names of files that
    are named like class lists but are none.
  """
  positives, others, sets = collections.defaultdict(set), [], {}
  names = _names(tree)
  for name in sorted(names):
    parted = [pair for pair in _parted(name) if pair[1] in names]
    if not parted:
      continue
    listed = _entries_or_none(tree, name)
    if listed is None or any(one.presence is None for one in listed):
      others.append(name)
      continue
    ids = {one.image_id for one in listed}
    for class_name, set_name in parted:
      if set_name not in sets:
        sets[set_name] = {
            one.image_id for one in _entries_or_none(tree, set_name) or ()}
      if sets[set_name] and sets[set_name] <= ids:
        positives[class_name] |= {
            one.image_id for one in listed if one.presence == "1"}
        break
    else:
      others.append(name)
  return dict(positives), others


def _names(tree):
  try:
    names = places.listdir(tree.set_folder)
  except OSError:
    return set()
  return {name[:-len(".txt")] for name in names
          if name.endswith(".txt") and name[0] != "."}


def _parted(name):
  """(class, image set) by each underscore; the longest set's name first."""
  return [(name[:found.start()], name[found.end():])
          for found in re.finditer("_", name) if found.start()]


def _entries_or_none(tree, name):
  """The entries of a list; None if a line or the file is invalid."""
  found = []

  def stop(error):
    raise error

  try:
    found.extend(entries(
        tree, os.path.join(tree.set_folder, name + ".txt"), stop))
  except errors.InputError:
    return None
  return found


def _part(line, tree, where):
  """Splits a line into an id, known or not, and a number or None."""
  text = line.strip()
  numbered = _NUMBERED.fullmatch(text)
  # A fast path for most lines of class lists.
  if numbered and numbered.group(1) in tree.annotations and not (
      text in tree.annotations or text in tree.images):
    return numbered.groups()
  known = _known(text, tree)
  if known is not None:
    return known, None
  quoted = _QUOTED.fullmatch(text)
  if quoted:
    name, presence = quoted.group(2, 3)
    known = _known(name, tree)
    texts.check_name(name, where, "an image id")
    return (name if known is None else known), presence
  if numbered:
    known = _known(numbered.group(1), tree)
    if known is not None:
      return known, numbered.group(2)
    text = numbered.group(1)
  texts.check_name(text, where, "an image id")
  if len(text.split()) > 1:
    raise errors.InputError(
        f"{where}: expected the id of an image that is there, and behind it "
        f"nothing but -1, 0 or 1. Received: {texts.quoted(line)}.")
  return text, numbered and numbered.group(2)


def _known(name, tree):
  """The id of the annotation or image with a name, or None."""
  if name in tree.annotations or name in tree.images:
    return name
  name = name.replace("\\", "/")
  for form in (name, _FOLDER.sub("", name)):
    form = form[2:] if form.startswith("./") else form
    stem, ending = os.path.splitext(form)
    for candidate in (form, stem):
      if (candidate in tree.annotations or candidate in tree.images) and (
          candidate == form or image_names.is_image(form) or ending == ".xml"):
        return candidate
  return None
