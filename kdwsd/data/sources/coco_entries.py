"""The entries of a COCO json: ids, categories and annotations, as written.

Tools write ids as numbers, as floats and as text; 1, 1.0 and "1" are one id.
"""

import collections
import re
import typing

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data import texts

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBERS = {int, float}  # But not a bool.
_NO_SUPERCATEGORY = ("", "none", "null")


class Thing(typing.NamedTuple):
  """One annotation.

  Attributes:
    category: key of its category.
    rectangle: [x, y, width, height] in pixels; None where there is no usable
      box.
    ignored: whether metrics leave it out, as VOC's difficult objects.
    crowd: whether it is a crowd.
    fault: message on a faulty box; "" for none.
  """
  category: object
  rectangle: list
  ignored: bool
  crowd: bool
  fault: str = ""


class Categories(typing.NamedTuple):
  """The categories of a file.

  Attributes:
    names: by key.
    there: the names, each once, by ascending id.
    notices: lines on what was left out or joined.
  """
  names: dict
  there: list
  notices: list


def key(value):
  """Normalises an id to an int or a text; None if it is not an id."""
  if type(value) is int:  # Not a bool.
    return value
  if isinstance(value, float) and value.is_integer():
    return int(value)
  if isinstance(value, str) and value:
    return int(value) if _INTEGER.fullmatch(value) else value
  return None


def check_kind(content, path):
  """Raises `InputError` unless a json holds lists as COCO's instances do."""
  received = None
  if isinstance(content, list):
    received = "a list, as of detections"
  elif not isinstance(content, dict):
    received = type(content).__name__
  else:
    first = content.get("annotations")
    first = first[0] if isinstance(first, list) and first else None
    first = first if isinstance(first, dict) else {}
    categories = content.get("categories")
    if "caption" in first:
      received = "captions, which name no category"
    elif "segments_info" in first:
      received = "panoptic segments"
    elif (isinstance(categories, list) and len(categories) == 1
          and isinstance(categories[0], dict) and "keypoints" in categories[0]):
      received = ("keypoints of one category, "
                  + texts.quoted(categories[0].get("name")))
  if received:
    raise errors.InputError(
        f"{path}: expected COCO's instances (instances_*.json), with the lists "
        f"`images`, `annotations` and `categories`. Received: {received}.")
  for name in ("images", "annotations", "categories"):
    if not isinstance(content.get(name), list):
      raise errors.InputError(
          f"{path}: expected COCO's instances, with a list `{name}`. Received: "
          f"{type(content.get(name)).__name__}.")


def categories(entries, used, path):
  """Reads the categories.

  A root category is left out: Roboflow writes one, of the lowest id, that is
  the supercategory of the others and has no annotation.

  Args:
    entries: the list `categories`.
    used: keys of the categories that annotations name.
    path: path of the json, for messages.

  Returns:
    A `Categories`.

  Raises:
    errors.InputError: a category has no id or no name, or two share an id.
  """
  names, above = {}, {}
  for i, entry in enumerate(entries):
    entry = entry if isinstance(entry, dict) else {"": entry}
    number, name = key(entry.get("id")), entry.get("name")
    if type(name) is int:  # Not a bool: digits, and the like.
      name = str(name)
    sound = number is not None and isinstance(name, str) and name.strip()
    if not sound or names.get(number, name.strip()) != name.strip():
      raise errors.InputError(
          f"{path}: categories[{i}]: expected a new `id` and a `name`. "
          f"Received: {texts.quoted(entries[i])}.")
    names[number] = name.strip()
    above[number] = entry.get("supercategory")
  order = sorted(names, key=lambda number: (isinstance(number, str), number))
  notices = []
  if order and _is_root(order[0], names, above, used):
    root = order.pop(0)
    notices.append(
        f"{path}: the category {texts.shown(names[root], 60)} (id {root}) is "
        "left out: it has no annotation and is the supercategory of others.")
  ids = collections.defaultdict(list)
  for number in order:
    ids[names[number]].append(number)
  for name, same in ids.items():
    if len(same) > 1:
      shown = texts.shown(", ".join(map(str, same[:8])))
      notices.append(
          f"{path}: the categories {shown} are joined: each is named "
          f"{texts.shown(name, 60)}.")
  return Categories(names, list(ids), notices)


def _is_root(number, names, above, used):
  mine = above[number]
  return (number not in used
          and (mine is None or (isinstance(mine, str)
                                and mine.strip().lower() in _NO_SUPERCATEGORY))
          and any(above[other] == names[number] for other in names
                  if other != number))


def thing(entry, index, names, path):
  """Reads one annotation.

  Args:
    entry: a dict of the list `annotations`.
    index: its index in that list.
    names: names of the categories, by key.
    path: path of the json, for messages.

  Returns:
    A `Thing`.

  Raises:
    errors.InputError: it has no valid category.
  """
  category = entry.get("category_id")
  if type(category) is not int:
    category = key(category)
  if category is None or category not in names:
    raise errors.InputError(
        f"{path}: annotations[{index}]: expected the id of a category. "
        f"Received: {texts.quoted(entry.get('category_id'))}.")
  crowd, ignored = _flag(entry.get("iscrowd")), _flag(entry.get("ignore"))
  rectangle = entry.get("bbox")
  if rectangle is None or rectangle == []:
    return Thing(category, None, bool(ignored), bool(crowd))
  if crowd is None or not _is_rectangle(rectangle):
    fault = f"bbox x, y, width, height = {texts.quoted(rectangle)}"
    if crowd is None:
      fault = f"iscrowd = {texts.quoted(entry['iscrowd'])}"
    return Thing(category, None, bool(ignored), bool(crowd),
                 f"annotations[{index}] with {fault}")
  return Thing(category, rectangle, bool(ignored), crowd)


def _flag(value):
  """A boolean, False if missing; None for anything else."""
  if value is None:
    return False
  if value in ("0", "1"):
    return value == "1"
  return bool(value) if value in (0, 1) else None


def _is_rectangle(value):
  """Whether a value is x, y, width, height, finite and with an area."""
  if type(value) is not list or len(value) != 4 or not (
      {*map(type, value)} <= _NUMBERS):
    return False
  x, y, width, height = value
  most = sources.MOST_PIXELS
  return (-most <= x <= most and -most <= y <= most
          and 0 < width <= most and 0 < height <= most)
