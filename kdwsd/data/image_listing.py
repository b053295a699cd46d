"""Which images of a source are there, before any of them is opened."""

from kdwsd import errors
from kdwsd.data import images


def present(source, problems):
  """Lists the items whose file is there and not empty, each image id once.

  Args:
    source: a `sources.Source`.
    problems: the `sources.Problems` that other items go to.

  Returns:
    List of `sources.Item`, not empty.

  Raises:
    errors.InputError: an item is not right and none is to be skipped, or
      nothing is left.
  """
  folder = ("" if source.image_folder is None else
            f"; relative paths start from {source.image_folder} (--images)")
  good, seen = [], {}
  for item in source.items:
    wrong = images.missing(item.image_path)
    try:
      if wrong:
        raise errors.InputError(
            f"{item.where}: {item.image_path}: expected an image file. "
            f"Received: {wrong}{folder}.")
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
