"""Lists the images of a source whose files exist, without opening them."""

from concurrent import futures
import contextlib
import os

from kdwsd import errors
from kdwsd import places
from kdwsd.data import images
from kdwsd.data import texts

_REQUESTS = 32  # At once, to a file system that is not local.


def present(source, problems):
  """Lists the items whose file exists and is not empty, each image id once.

  Args:
    source: a `sources.Source`.
    problems: the `sources.Problems` that other items go to.

  Returns:
    List of `sources.Item`, not empty.

  Raises:
    errors.InputError: an item is wrong and none is to be skipped, or no item
      is left.
  """
  folder = ("" if source.image_folder is None else
            f"; relative paths start from {source.image_folder} (--images)")
  good, seen, neighbours = [], {}, _Neighbours()
  for item, wrong in zip(source.items, _missing(source.items)):
    try:
      if wrong:
        raise errors.InputError(
            f"{item.where}: {item.image_path}: expected an image file. "
            f"Received: {wrong}{neighbours.hint(item.image_path)}{folder}.")
      if item.image_id in seen:
        raise errors.InputError(
            f"{item.where}: expected every image once. Received: "
            f"{item.image_id}, also at {seen[item.image_id]}.")
      seen[item.image_id] = item.where
      good.append(item)
    except errors.InputError as error:
      problems.add(error)
  if not good:
    raise errors.InputError(
        f"expected at least one image to convert. Received: none of "
        f"{len(problems.messages)} listed can be used"
        + (f", first {problems.messages[0]}" if problems.messages else "."))
  return good


def _missing(items):
  """Yields `images.missing` of each item; many at once if that is a request."""
  paths = (item.image_path for item in items)
  if not items or not places.is_remote(items[0].image_path):
    yield from map(images.missing, paths)
    return
  with futures.ThreadPoolExecutor(_REQUESTS) as pool:
    yield from pool.map(images.missing, paths)


class _Neighbours:
  """Finds files whose names differ from a missing one in case or extension."""

  def __init__(self):
    self._folders = {}

  def hint(self, path):
    """Text to append to a message about a missing file, or ""."""
    if os.path.lexists(path):
      return ""
    folder, name = os.path.split(path)
    if folder not in self._folders:
      there = self._folders[folder] = {}
      with contextlib.suppress(OSError, ValueError):
        for other in sorted(places.listdir(folder)):
          for key in (texts.folded(other), _stem(other)):
            there.setdefault(key, other)
    there = self._folders[folder]
    other = there.get(texts.folded(name)) or there.get(_stem(name))
    if not other:
      return ""
    look_alike = (texts.folded(other) == texts.folded(name)
                  and other.casefold() != name.casefold())
    return ", but there is " + (
        ascii(other) if look_alike else texts.shown(other))


def _stem(name):
  return os.path.splitext(name)[0].casefold()
