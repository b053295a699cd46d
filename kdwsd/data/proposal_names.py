"""Matches names in a file of proposals to the image ids of a data set.

A file may name the image `000012` as `000012.jpg`, `VOC2007/JPEGImages/000012`,
or the number 12. The whole name is compared first, then the name without folder
and image extension (the stem), then the number in the name: `2008_000008` is
2008000008, as in COCO's json files of VOC, and `COCO_val2014_000000000042` is
42. A stem or number that several entries of the file share is not used.
"""

import os
import re

from kdwsd import errors
from kdwsd.data import image_names
from kdwsd.data import texts

_NUMBER = re.compile(r"(?:COCO_[a-z]+2014_)?([0-9]{1,30}(?:_[0-9]{1,30})*)")
_SHARED = -1


class Names:
  """Finds the entries of a file by image id."""

  def __init__(self, path, image_ids):
    """Indexes the names of a file.

    Args:
      path: path of the file, for messages.
      image_ids: names as text, in the file's order.

    Raises:
      errors.InputError: a name occurs twice.
    """
    self._path = path
    self._first = next(iter(image_ids), None)
    self._steps = [(key, {}) for key in (str, _stem, _number)]
    for place, image_id in enumerate(image_ids):
      for key, places in self._steps:
        found = key(image_id)
        if found is None:
          continue
        if found in places and key is str:
          raise errors.InputError(
              f"{path}: expected each image once. Received: "
              f"{texts.quoted(image_id)} twice.")
        places[found] = _SHARED if found in places else place

  def __len__(self):
    return len(self._steps[0][1])

  def place(self, image_id):
    """Index of an image in the file.

    Raises:
      errors.InputError: the file has no such image, or several.
    """
    for key, places in self._steps:
      place = places.get(key(image_id))
      if place == _SHARED:
        raise errors.InputError(
            f"{self._path}: expected proposals of image "
            f"{texts.quoted(image_id)}. Received: several images with that "
            "name in different folders, or with that number; use the names of "
            "the data set.")
      if place is not None:
        return place
    there = f"the file has {len(self)} other images"
    if len(self) == 1:
      there = (f"the file has one image, {texts.quoted(self._first)}; if each "
               "image has a file, pass their folder (--proposals_file)")
    elif len(self):
      there += f", such as {texts.quoted(self._first)}"
    raise errors.InputError(
        f"{self._path}: expected proposals of image {texts.quoted(image_id)}. "
        f"Received: none; {there}.")

  def check_split(self, image_ids):
    """Checks the file against all images of a split.

    Args:
      image_ids: image ids of the data set.

    Returns:
      Number of these images that the file contains.

    Raises:
      errors.InputError: two images would get the same proposals, or none would
        get any.
    """
    taken, refused = {}, None
    for image_id in image_ids:
      try:
        place = self.place(image_id)
      except errors.InputError as error:
        refused = refused or error
        continue
      if taken.setdefault(place, image_id) != image_id:
        raise errors.InputError(
            f"{self._path}: expected an entry for each image. Received: the "
            f"same one for {texts.quoted(taken[place])} and "
            f"{texts.quoted(image_id)}; use the names of the data set.")
    if refused and not taken:
      raise refused
    return len(taken)


def _stem(image_id):
  """Name without folder and extension: `000005` of `JPEGImages/000005.jpg`."""
  name = os.path.basename(image_id.strip().replace("\\", "/"))
  return os.path.splitext(name)[0] if image_names.is_image(name) else name


def _number(image_id):
  """The number formed by the digits of a name, or None."""
  stem = _stem(image_id)
  match = _NUMBER.fullmatch(stem) if len(stem) <= 60 else None
  return int(match[1].replace("_", "")) if match else None
