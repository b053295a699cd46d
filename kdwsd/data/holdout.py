"""Cuts a validation split from the training images of a source.

What is chosen on the test split is measured too well, so a run chooses on
images that it neither trains on nor is reported on. The share has the classes
of the whole, as far as possible: groups of images are dealt out label by label,
the rarest first (iterative stratification; Sechidis et al., "On the
Stratification of Multi-Label Data", ECML PKDD 2011). Nothing is random: the
order within a label is that of a hash of the group's name.

A group is one photograph in several versions or the frames of one video, as far
as names tell. It is not divided, or validation would ask for what training has
shown.
"""

import collections
import dataclasses
import hashlib
import os
import re

import numpy as np

from kdwsd import errors
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts

# Of a name without extension. Roboflow adds a hash to each version of an image.
_VERSION = re.compile(r"\.rf\.[0-9a-zA-Z]{16,}$")
_FRAME = re.compile(r"[-_ ]?frames?[-_ ]?\d+$", re.IGNORECASE)
_COPY = re.compile(
    r"(?:[-_ ]?\(\d{1,3}\)| - Copy|[-_ ](?:copy|aug(?:mented)?|mirror(?:ed)?|"
    r"h?v?flip(?:ped)?|rot(?:ated)?|crop(?:ped)?)[-_ ]?\d{0,4})$",
    re.IGNORECASE)


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


def groups_of(image_ids):
  """Names shared by the versions of a photograph, or the frames of a video.

  Args:
    image_ids: list of text.

  Returns:
    List of names, one for each image: mostly its id without extension. That of
    `clip3/frame_0001.jpg` is `clip3/`, of `a_jpg.rf.HASH.jpg` it is `a_jpg`,
    and of `a_flip.jpg` it is `a` if there is an image of this name.
  """
  stems = [_without_extension(image_id) for image_id in image_ids]
  known = set(stems)
  return [_group_of(stem, known) for stem in stems]


def _group_of(stem, known):
  name = _VERSION.sub("", stem)
  if name != stem:
    return name
  while match := _COPY.search(name):
    name = name[:match.start()]
    if name in known:
      stem = name
  return _FRAME.sub("", stem) or stem


def by_share(source, share, pattern=None):
  """Cuts a share of the images, with each class in the same share.

  Args:
    source: a `sources.Source`.
    share: of the images, in (0, 1).
    pattern: regular expression; images in whose ids its first group, or else
      all that it matches, is the same text stay together. None for
      `groups_of`.

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
  groups = collections.defaultdict(list)
  for index, name in enumerate(
      _matched(image_ids, pattern) if pattern else groups_of(image_ids)):
    groups[name].append(index)
  chosen = _deal(source, list(groups), list(groups.values()), share)
  several = {name: rows for name, rows in groups.items() if len(rows) > 1}
  aim, most = share * len(source.items), max(map(len, groups.values()))
  if not aim / 2 <= len(chosen) <= 2 * aim or len(chosen) == len(source.items):
    raise errors.InputError(
        f"--validation_share: expected groups of images from which a share of "
        f"{share} can be cut. Received: {len(source.items)} images in "
        f"{len(groups)} groups by name, the largest of {most}; "
        "--validation_groups=REGEX says which images belong together.")
  how = f"{len(groups)} groups by name" if several else "no groups by name"
  if several:
    first = next(iter(several))
    how += f", such as {texts.shown(first, 60)} ({len(several[first])} images)"
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


def _deal(source, names, groups, share):
  """Chooses the groups of the share; returns the indices of their images."""
  labels = [collections.Counter(
      label for index in rows for label in source.items[index].label_ids)
            for rows in groups]
  holders = collections.defaultdict(list)  # Groups by label.
  for group in sorted(range(len(groups)), key=lambda i: _hash(names[i])):
    for label in labels[group] or (None,):
      holders[label].append(group)
  totals = np.zeros([len(source.classes)], np.int64)
  for counts in labels:
    for label, count in counts.items():
      totals[label] += count
  left = totals.copy()                  # Images with a label, not dealt yet.
  lacking = np.outer([1 - share, share], totals)           # [2, C]
  room = np.array([1 - share, share]) * len(source.items)  # [2]
  dealt, chosen = np.zeros([len(groups)], bool), []

  def deal(group, needs):
    # The part that lacks most; then the one with more room.
    part = int((needs[1], room[1]) > (needs[0], room[0]))
    dealt[group] = True
    room[part] -= len(groups[group])
    for label, count in labels[group].items():
      left[label] -= count
      lacking[part, label] -= count
    if part:
      chosen.extend(groups[group])

  while left.any():
    label = int(np.where(left > 0, left, np.iinfo(left.dtype).max).argmin())
    for group in holders[label]:
      if not dealt[group]:
        deal(group, lacking[:, label])
  for group in holders[None]:
    deal(group, room)
  return set(chosen)


def _hash(name):
  return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


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
  return _without_extension(os.path.basename(name.replace("\\", "/")))


def _without_extension(name):
  return os.path.splitext(name)[0] if image_names.is_image(name) else name
