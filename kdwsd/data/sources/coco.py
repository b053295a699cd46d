"""MS-COCO: an instances json and a folder of images; 2014, 2017, or alike.

    annotations/instances_train2017.json    train2017/000000000009.jpg

Label ids follow the category ids in ascending order, so that the 80 categories
numbered 1 to 90 become 0 to 79. Images without annotations are kept, with no
labels. A crowd counts as presence of its class; it is flagged, because COCO's
metrics ignore it. Boxes of no area, of which COCO has a few, count as presence
too but are no objects to find.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV
2014, and the data format page of cocodataset.org.
"""

import os

from kdwsd import boxes
from kdwsd import errors
from kdwsd import files
from kdwsd.data import sources
from kdwsd.data import texts


def read(root=None, *, image_set=None, annotations=None, images=None,
         classes=None, problems):
  """Reads one split.

  Args:
    root: COCO's folder; not needed where the next two paths are given.
    image_set: such as train2017; names json and folder inside `root`.
    annotations: path of the json, if it is elsewhere.
    images: folder of the images, if it is elsewhere.
    classes: names wanted, in order; other objects are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are COCO's, as text.

  Raises:
    errors.InputError: a path, the json or an entry is not right.
  """
  path = annotations or os.path.join(
      root or "", "annotations", f"instances_{image_set}.json")
  images = images or _image_folder(root, path, image_set)
  sources.check_directory(images, "the folder of the images (--images)")
  content = files.read_json(path)
  if not isinstance(content, dict):
    content = {}
  for key in ("images", "annotations", "categories"):
    if not isinstance(content.get(key), list):
      raise errors.InputError(
          f"{path}: expected COCO's instances, with a list `{key}`. Received: "
          f"{type(content.get(key)).__name__}.")
  numbers, chosen = _categories(content["categories"], classes, path)
  of_image = _entries_by_image(content["annotations"], path, problems)
  items, seen = [], set()
  for i, entry in enumerate(content["images"]):
    where = f"{path}: images[{i}]"
    image_id = entry.get("id") if isinstance(entry, dict) else None
    try:
      name, frame = _image(entry, where)
      if image_id in seen:
        raise errors.InputError(
            f"{where}: expected every id once. Received: "
            f"{texts.quoted(image_id)} again.")
      items.append(_item(
          os.path.join(images, name), image_id, frame,
          of_image.get(image_id, []), numbers, where, path))
    except errors.InputError as error:
      problems.add(error)
    if _is_id(image_id):  # Even of a bad image: its annotations are its own.
      seen.add(image_id)
  for image_id, entries in of_image.items():
    if image_id not in seen:
      problems.add(errors.InputError(
          f"{path}: annotations[{entries[0][0]}]: expected the id of an image "
          f"in the file. Received: {texts.quoted(image_id)}."))
  return sources.Source(
      classes=chosen, items=items, description={
          "format": "coco", "name": os.path.basename(os.path.abspath(images)),
          "annotations": os.path.basename(path)})


def _image_folder(root, path, image_set):
  """The folder that goes with an instances json: named as it is."""
  name = os.path.splitext(os.path.basename(path))[0]
  name = name[len("instances_"):] if name.startswith("instances_") else (
      image_set or name)
  root = root or os.path.dirname(os.path.dirname(os.path.abspath(path)))
  there = os.path.join(root, "images", name)
  return there if os.path.isdir(there) else os.path.join(root, name)


def _categories(entries, classes, path):
  """Maps category ids to label ids (None if not wanted), and the names."""
  names = {}
  for i, entry in enumerate(entries):
    number = entry.get("id") if isinstance(entry, dict) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    if not _is_id(number) or number in names or not (
        isinstance(name, str) and name.strip()):
      raise errors.InputError(
          f"{path}: categories[{i}]: expected a new `id` and a `name`. "
          f"Received: {texts.quoted(entry)}.")
    names[number] = name.strip()
  there = [names[number] for number in sorted(names)]
  chosen = sources.choose_classes(classes, there, path)
  labels = {name: i for i, name in enumerate(chosen)}
  return {number: labels.get(name) for number, name in names.items()}, chosen


def _entries_by_image(entries, path, problems):
  """Groups (index, annotation) by image id."""
  of_image = {}
  for i, entry in enumerate(entries):
    image_id = entry.get("image_id") if isinstance(entry, dict) else None
    if _is_id(image_id):
      of_image.setdefault(image_id, []).append((i, entry))
    else:
      problems.add(errors.InputError(
          f"{path}: annotations[{i}]: expected an `image_id`. Received: "
          f"{texts.quoted(image_id)}."))
  return of_image


def _image(entry, where):
  """File name, and (height, width) or None, of an entry under `images`."""
  if not isinstance(entry, dict) or not _is_id(entry.get("id")) or not (
      isinstance(entry.get("file_name"), str) and entry["file_name"]):
    raise errors.InputError(
        f"{where}: expected an image with `id` and `file_name`. Received: "
        f"{texts.quoted(entry)}.")
  texts.check_name(entry["file_name"], where, "a `file_name`")
  size = entry.get("height"), entry.get("width")
  known = all(_is_id(side) and 0 < side <= sources.MOST_PIXELS
              for side in size)
  return entry["file_name"], size if known else None


def _item(image_path, image_id, frame, entries, numbers, where, path):
  rows, present = [], set()
  for i, entry in entries:
    here = f"{path}: annotations[{i}]"
    category = entry.get("category_id")
    if not _is_id(category) or category not in numbers:
      raise errors.InputError(
          f"{here}: expected the id of a category. Received: "
          f"{texts.quoted(category)}.")
    rectangle = entry.get("bbox")
    if not (isinstance(rectangle, list) and len(rectangle) == 4
            and all(_is_length(x) for x in rectangle)
            and min(rectangle[2:]) >= 0):
      raise errors.InputError(
          f"{here}: expected `bbox` as x, y, width, height. Received: "
          f"{texts.quoted(rectangle)}.")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
      raise errors.InputError(
          f"{here}: expected `iscrowd` to be 0 or 1. Received: "
          f"{texts.quoted(crowd)}.")
    label = numbers[category]
    if label is None:
      continue
    present.add(label)
    if min(rectangle[2:]) > 0:
      box = boxes.from_pixel_sizes(rectangle, 1, 1)[0]
      rows.append((box, label, False, bool(crowd)))
  return sources.Item(
      image_path=image_path, image_id=str(image_id),
      label_ids=tuple(sorted(present)),
      objects=sources.objects_of(rows, frame), where=where)


def _is_id(value):
  return isinstance(value, int) and not isinstance(value, bool)


def _is_length(value):
  """Whether a value is a number of pixels; NaN is not."""
  return (isinstance(value, (int, float)) and not isinstance(value, bool)
          and abs(value) <= sources.MOST_PIXELS)
