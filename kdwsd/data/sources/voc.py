"""PASCAL VOC: a VOCdevkit tree of any year, any image set.

    VOCdevkit/VOC2007/ImageSets/Main/trainval.txt   one image id a line
    VOCdevkit/VOC2007/Annotations/000005.xml        boxes, inclusive, from 1
    VOCdevkit/VOC2007/JPEGImages/000005.jpg

The classes are those with a list `CLASS_IMAGESET.txt` in `ImageSets/Main`, or,
where there are no such lists, those of all annotations; sorted by name, which
is VOC's own order, and the same for every image set of the tree.

Beside an image id a line may hold one number, -1, 0 or 1, as in the lists of
classes; it is not looked at.

A class is present where it has an object that is not difficult, and unknown
where all its objects are: VOC scores such images neither way.

Source: M. Everingham et al., "The PASCAL Visual Object Classes (VOC)
Challenge", IJCV 2010, and the development kit's documentation.
"""

import glob
import math
import os
from xml.etree import ElementTree

import defusedxml
from defusedxml import ElementTree as safe_xml

from kdwsd import boxes
from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data import texts

_PRESENCE = ("-1", "0", "1")
_EXTENSIONS = (".jpg", ".jpeg", ".JPG", ".JPEG", ".png", ".PNG")


def read(root, *, year=None, image_set="trainval", classes=None, problems):
  """Reads one image set.

  Args:
    root: the VOCdevkit folder, or one year's folder inside it.
    year: such as 2007; may be left out where the tree has only one.
    image_set: name of a file in `ImageSets/Main`, without `.txt`.
    classes: names wanted, in order; other objects are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`.

  Raises:
    errors.InputError: the tree, the image set or an annotation is not right.
  """
  folder = _year_folder(root, year)
  list_path = os.path.join(folder, "ImageSets", "Main", f"{image_set}.txt")
  if not os.path.isfile(list_path):
    there = sorted(_image_sets(folder))
    raise errors.InputError(
        f"{list_path}: expected the image set --image_set={image_set}. "
        f"Received: no such file; there are: {', '.join(there) or 'none'}.")
  annotations = {}
  there, where = _classes_of(folder, annotations)
  classes = sources.choose_classes(classes, there, where)
  numbers = {name: i for i, name in enumerate(classes)}
  items, seen = [], {}
  lines = texts.lines(sources.read_text(list_path, "one image id a line"))
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    image_id, *rest = line.split()
    where = f"{list_path}:{number}"
    try:
      texts.check_name(image_id, where, "an image id")
      if rest and (len(rest) > 1 or rest[0] not in _PRESENCE):
        raise errors.InputError(
            f"{where}: expected an image id, and behind it nothing but -1, 0 "
            f"or 1. Received: {texts.quoted(line)}.")
      if image_id in seen:
        raise errors.InputError(
            f"{where}: expected every image once. Received: {image_id}, also "
            f"in line {seen[image_id]}.")
      seen[image_id] = number
      path = _annotation_path(folder, image_id)
      if path not in annotations:
        annotations[path] = _parse(path, where)
      items.append(_item(folder, image_id, annotations[path], path, where,
                         numbers, set(there)))
    except errors.InputError as error:
      problems.add(error)
  return sources.Source(
      classes=classes, items=items, description={
          "format": "voc", "name": os.path.basename(folder).lower(),
          "year": os.path.basename(folder)[3:], "image_set": image_set})


def _year_folder(root, year):
  sources.check_directory(root, "a VOCdevkit folder")
  root = os.path.abspath(root)
  if os.path.isdir(os.path.join(root, "Annotations")):
    name = os.path.basename(root)
    if year and name != f"VOC{year}":
      raise errors.InputError(
          f"{root}: expected the folder VOC{year} or the VOCdevkit that holds "
          f"it. Received: {name}.")
    return root
  there = sorted(os.path.basename(path)
                 for path in glob.glob(os.path.join(glob.escape(root), "VOC*"))
                 if os.path.isdir(os.path.join(path, "Annotations")))
  wanted = f"VOC{year}" if year else there[0] if len(there) == 1 else None
  if wanted not in there:
    raise errors.InputError(
        f"{root}: expected a VOCdevkit with "
        f"{wanted or 'one VOC folder, or --year to choose'}. Received: "
        f"{', '.join(there) or 'no folder VOC* with Annotations'}.")
  return os.path.join(root, wanted)


def _image_sets(folder):
  pattern = os.path.join(glob.escape(folder), "ImageSets", "Main", "*.txt")
  return {os.path.basename(path)[:-len(".txt")] for path in glob.glob(pattern)}


def _classes_of(folder, annotations):
  """Class names of the tree, and what names them; may fill `annotations`."""
  names = set()
  sets = _image_sets(folder)
  for name in sets:
    stem, _, image_set = name.rpartition("_")
    if stem and image_set in sets:
      names.add(stem)
  if names:
    return sorted(names), os.path.join(folder, "ImageSets", "Main")
  directory = os.path.join(folder, "Annotations")
  for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.xml"))):
    try:
      annotations[path] = _parse(path, path)
    except errors.InputError:
      continue  # Reported where an image set names it.
    names.update(row[0] for row in annotations[path][1])
  return sorted(names), directory


def _annotation_path(folder, image_id):
  return os.path.join(folder, "Annotations", image_id + ".xml")


def _parse(path, where):
  """Reads an annotation.

  Returns:
    (height, width) or None, and a list of (class name, box in pixel edges,
    difficult).
  """
  if not os.path.isfile(path):
    raise errors.InputError(
        f"{where}: expected the annotation {path}. Received: no such file.")
  try:
    tree = safe_xml.parse(path)
  except (ElementTree.ParseError, defusedxml.DefusedXmlException, ValueError,
          LookupError, OSError) as error:  # LookupError: of its encoding.
    raise errors.InputError(
        f"{path}: expected a VOC annotation. Received: "
        f"{texts.shown(str(error))}.") from error
  entries = tree.findall("object")
  # What lies elsewhere would be lost, as would all of a page that some server
  # sent instead of the file.
  if tree.getroot().tag != "annotation" or (
      len(entries) != sum(1 for _ in tree.iter("object"))):
    raise errors.InputError(
        f"{path}: expected <annotation> and in it each <object>. Received: "
        f"{len(entries)} of {sum(1 for _ in tree.iter('object'))} objects in "
        f"<{texts.shown(tree.getroot().tag)}>.")
  size = [_number(tree, f"size/{key}", path, default=0)
          for key in ("height", "width")]
  if any(side < 0 or side % 1 for side in size):
    raise errors.InputError(
        f"{path}: expected height and width in whole pixels. Received: {size}.")
  rows = []
  for number, entry in enumerate(entries, 1):
    name = (entry.findtext("name") or "").strip()
    if not name:
      raise errors.InputError(
          f"{path}: expected a name of object {number}. Received: none.")
    texts.check_name(name, path, f"a name of object {number}")
    here = f"{path}: object {number} ({texts.shown(name)})"
    corners = [_number(entry, f"bndbox/{key}", here)
               for key in ("xmin", "ymin", "xmax", "ymax")]
    if corners[2] < corners[0] or corners[3] < corners[1]:
      raise errors.InputError(
          f"{here}: expected xmin <= xmax and ymin <= ymax. Received: "
          f"{corners}.")
    difficult = _number(entry, "difficult", here, default=0)
    if difficult not in (0, 1):
      raise errors.InputError(
          f"{here}: expected `difficult` to be 0 or 1. Received: {difficult}.")
    box = boxes.from_inclusive_pixels(corners, 1, 1, first=1)[0]
    rows.append((name, box, bool(difficult)))
  frame = (int(size[0]), int(size[1])) if min(size) > 0 else None
  return frame, rows


def _number(entry, key, where, default=None):
  text = (entry.findtext(key) or "").strip()
  if not text and default is not None:
    return default
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not abs(value) <= sources.MOST_PIXELS:
    raise errors.InputError(
        f"{where}: expected a number in <{key}>. Received: "
        f"{texts.quoted(text)}.")
  return value


def _item(folder, image_id, annotation, path, where, numbers, there):
  frame, rows = annotation
  strange = sorted({name for name, _, _ in rows} - there)
  if strange:
    raise errors.InputError(
        f"{path}: expected classes that have a list in ImageSets/Main. "
        f"Received: {texts.shown(', '.join(strange))}.")
  rows = [(box, numbers[name], difficult, False)
          for name, box, difficult in rows if name in numbers]
  present = {row[1] for row in rows if not row[2]}
  unknown = {row[1] for row in rows} - present
  stem = os.path.join(folder, "JPEGImages", image_id)
  image_path = next((stem + extension for extension in _EXTENSIONS
                     if os.path.isfile(stem + extension)), stem + ".jpg")
  return sources.Item(
      image_path=image_path, image_id=image_id,
      label_ids=tuple(sorted(present)),
      unknown_label_ids=tuple(sorted(unknown)),
      objects=sources.objects_of(rows, frame), where=where)
