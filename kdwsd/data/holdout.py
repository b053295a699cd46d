"""Cuts a validation split from the training images of a source.

What is chosen on the test split is measured too well, so a run chooses on
images that it neither trains on nor is reported on. How the images are chosen
is in `dealing`.
"""

import collections
import dataclasses
import os
import re

import numpy as np

from kdwsd import errors
from kdwsd.data import dealing
from kdwsd.data import sources
from kdwsd.data import texts


@dataclasses.dataclass(frozen=True)
class Parts:
  """A source in two parts.

  Attributes:
    training: a `sources.Source`.
    validation: a `sources.Source`; both have all classes, and the order of the
      whole.
    notice: a line for the user.
  """
  training: sources.Source
  validation: sources.Source
  notice: str


def by_share(source, share, pattern=None):
  """Cuts a share of the images, with each class in the same share.

  Args:
    source: a `sources.Source`.
    share: of the images, in (0, 1).
    pattern: regular expression; images in whose ids its first group, or else
      all that it matches, is the same text stay together. None for
      `dealing.groups_of`.

  Returns:
    `Parts`.

  Raises:
    errors.InputError: no such share, a bad pattern, or groups that are too
      large to cut about this share.
  """
  if not 0 < share < 1:
    raise errors.InputError(
        f"--validation_share: expected above 0, below 1. Received: {share}.")
  image_ids = [item.image_id for item in source.items]
  groups = (list(_matched(image_ids, pattern)) if pattern
            else dealing.groups_of(image_ids))
  parts = dealing.deal(groups, [item.label_ids for item in source.items],
                       len(source.classes), [1 - share, share])
  chosen = set(np.flatnonzero(parts).tolist())
  counts = collections.Counter(groups)
  several = {name: count for name, count in counts.items() if count > 1}
  grouped = f"{len(counts)} group{'s' * (len(counts) > 1)} by " + (
      "--validation_groups" if pattern else "name")
  way_out = "another expression" if pattern else "--validation_groups=REGEX"
  aim, most = share * len(source.items), max(counts.values())
  if not aim / 2 <= len(chosen) <= 2 * aim or len(chosen) == len(source.items):
    raise errors.InputError(
        f"--validation_share: expected groups of images from which a share of "
        f"{share} can be cut. Received: {len(source.items)} images"
        + (f" in {grouped}, the largest of {most}; {way_out} says which images "
           "belong together." if several else ", too few for this share."))
  how = grouped if several else "no groups by name"
  if several:
    first = next(iter(several))
    how += f", such as {texts.shown(first, 60)} ({several[first]} images)"
  return _parts(source, chosen, how, {
      "share": share, **({"groups": pattern} if pattern else {})})


def by_list(source, path):
  """Cuts the images that a file lists.

  Args:
    source: a `sources.Source`.
    path: file with the id or file name of one image a line.

  Returns:
    `Parts`.

  Raises:
    errors.InputError: the file cannot be read, or names an image twice, an
      image that is not there, or all images.
  """
  places = _Places(source.items)
  chosen = {}
  lines = texts.lines(sources.read_text(path, "one image a line"))
  for number, line in enumerate(lines, 1):
    name = line.strip()
    if not name:
      continue
    where = f"{path}:{number}"
    index = places.find(name, where)
    if index in chosen:
      raise errors.InputError(
          f"{where}: expected every image once. Received: "
          f"{texts.quoted(name)}, also at {chosen[index]}.")
    chosen[index] = where
  if not 0 < len(chosen) < len(source.items):
    raise errors.InputError(
        f"{path}: expected some of the {len(source.items)} images. Received: "
        f"{'all of them' if chosen else 'none'}.")
  return _parts(source, set(chosen), f"those of {path}", {
      "list": os.path.basename(path)})


def may_overlap(training, measured):
  """Whether a training split may have images that were cut from it.

  Args:
    training: card of the split that is trained on.
    measured: card of a split that is measured.

  Returns:
    True if the measured one was cut from the same source, and the other is not
    the rest of that cut.
  """
  rest, cut = (dict(card.get("source", {})) for card in (training, measured))
  of_rest, of_cut = (source.pop("part", {}) for source in (rest, cut))
  return (of_cut.get("name") == "validation" and rest == cut
          and of_rest != {**of_cut, "name": "training"})


def _matched(image_ids, pattern):
  """What a regular expression finds in each id; the id where nothing."""
  try:
    compiled = re.compile(pattern)
  except re.error as error:
    raise errors.InputError(
        "--validation_groups: expected a regular expression. Received: "
        f"{pattern!r}: {error}.") from error
  for image_id in image_ids:
    match = compiled.search(image_id)
    found = match and (match[1] if compiled.groups else match[0])
    yield image_id if found is None else found


def _parts(source, chosen, how, described):
  """Makes `Parts` of the indices of the validation split."""
  def part(name, holds):
    return dataclasses.replace(
        source,
        items=[item for index, item in enumerate(source.items)
               if (index in chosen) == holds],
        description={**source.description,
                     "part": {"name": name, **described}})
  training, validation = part("training", False), part("validation", True)
  without = sum(
      1 for count in _images_per_class(validation) if not count)
  return Parts(training, validation, (
      f"validation: {len(chosen)} of {len(source.items)} images; {how}"
      + (f"; {without} of {len(source.classes)} classes have no image there"
         if without else "") + "."))


def _images_per_class(source):
  counts = np.zeros([len(source.classes)], np.int64)
  for item in source.items:
    counts[list(item.label_ids)] += 1
  return counts.tolist()


class _Places:
  """Finds images by id, path, or name without folder and extension."""

  def __init__(self, items):
    self._known = [{}, {}, {}]
    for index, item in enumerate(items):
      keys = (item.image_id, item.image_path, _stem(item.image_id))
      for known, key in zip(self._known, keys):
        known[key] = None if key in known else index

  def find(self, name, where):
    """Index of an image.

    Raises:
      errors.InputError: no such image, or several.
    """
    for known, key in zip(self._known, (name, name, _stem(name))):
      if key in known:
        if known[key] is None:
          raise errors.InputError(
              f"{where}: expected the name of one image. Received: "
              f"{texts.quoted(name)}, which several have.")
        return known[key]
    raise errors.InputError(
        f"{where}: expected an image of the data set. Received: "
        f"{texts.quoted(name)}.")


def _stem(name):
  return dealing.without_extension(os.path.basename(name.replace("\\", "/")))
