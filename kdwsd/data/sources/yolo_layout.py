"""Finds the class names, images and labels of a YOLO data set.

Three layouts are common, with a `data.yaml` or without:

    images/train/a.jpg  labels/train/a.txt      Ultralytics
    train/images/a.jpg  train/labels/a.txt      Roboflow
    obj_train_data/a.jpg  obj_train_data/a.txt  train.txt  obj.names    CVAT

The label file of an image is at the image's path with `labels` in place of the
last folder `images`, or beside the image. In `data.yaml`, `path` is the root of
the data set, and `train`, `val` and `test` each name a folder, a list of image
paths (.txt), or several of these. A root that does not exist here is replaced
by the folder of the file. A leading `../`, of which Roboflow writes one too
many, is dropped if the path exists only without it.

Source: docs.ultralytics.com, "Object Detection Datasets Overview", and
ultralytics/ultralytics, `check_det_dataset` and `img2label_paths`, for how
paths are found.
"""

import dataclasses
import os
import re

from kdwsd import errors
from kdwsd import places
from kdwsd.data import class_files
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import paths

_YAML = (".yaml", ".yml")
_NAMES = ("classes.txt", "obj.names", "labels.txt", "labels/classes.txt")
_ALIKE = (("train", "training"), ("val", "valid", "validation"),
          ("test", "testing"))


@dataclasses.dataclass(frozen=True)
class Layout:
  """A data set according to its folder or `data.yaml`.

  Attributes:
    root: base folder of the image ids.
    names: names of the classes, in the order of their ids.
    where: file with the names, for messages.
    listed: folders and lists (.txt) of the images of the split.
    keypoints: count of numbers for keypoints after each box; 0 for none.
  """
  root: str
  names: tuple
  where: str
  listed: tuple
  keypoints: int = 0


def find(path, image_set, images=None):
  """Finds the parts of a split.

  Args:
    path: path of a `data.yaml`, or of the folder of the data set.
    image_set: such as train.
    images: base folder of the paths in `data.yaml`; None for the one that it
      names.

  Returns:
    A `Layout`.

  Raises:
    errors.InputError: no names, no such split, or no such folder.
  """
  if places.isdir(path):
    listed = sorted(name for name in places.listdir(path)
                    if name.lower().endswith(_YAML))
    chosen = ("data.yaml" if "data.yaml" in listed else
              listed[0] if len(listed) == 1 else None)
    if listed and not chosen:
      raise errors.InputError(
          f"{path}: expected one data.yaml; name it as --input. Received: "
          f"{texts.shown(', '.join(listed[:8]))}.")
    if not chosen:
      return _of_folder(path, image_set, images)
    path = os.path.join(path, chosen)
  if not path.lower().endswith(_YAML):
    raise errors.InputError(
        f"{path}: expected a data.yaml, or the folder of a YOLO data set. "
        f"Received: {'another file' if places.exists(path) else 'no such'}.")
  return _of_yaml(path, image_set, images)


def images_of(layout, problems):
  """Lists the images of a split.

  Args:
    layout: a `Layout`.
    problems: `sources.Problems`, for lines of lists.

  Returns:
    List of (path, what lists it); and numbers of other files in the folders, by
    extension.
  """
  found, others = [], {}
  for place in layout.listed:
    if places.isdir(place):
      for folder, folders, files in places.walk(place):
        folders.sort()
        for name in sorted(files):
          if image_names.is_image(name):
            path = os.path.join(folder, name)
            found.append((path, path))
          else:
            ending = os.path.splitext(name)[1].lower()
            others[ending] = others.get(ending, 0) + 1
    else:
      lines = texts.lines(sources.read_text(place, "a list of image paths"))
      for number, line in enumerate(lines, 1):
        if line.strip():
          where = f"{place}:{number}"
          try:
            found.append((_listed(line.strip(), place, layout.root, where),
                          where))
          except errors.InputError as error:
            problems.add(error)
  for ending in (".txt", ".cache", ".npy"):  # Labels and caches.
    others.pop(ending, None)
  return found, others


def labels_without_image(layout, listed):
  """Finds label files whose images are missing.

  Args:
    layout: a `Layout`.
    listed: what `images_of` found.

  Returns:
    Sorted paths. Lists of images are not checked, because the label files of
    several splits may share a folder.
  """
  known = {os.path.splitext(image)[0] for image, _ in listed}
  known |= {os.path.splitext(label_path(image))[0] for image, _ in listed}
  found = set()
  for place in filter(places.isdir, layout.listed):
    labels = os.path.dirname(label_path(os.path.join(place, "_.jpg")))
    for folder, _, names in (*places.walk(place), *places.walk(labels)):
      found.update(
          path for path in (os.path.join(folder, name) for name in names)
          if path.endswith(".txt") and path[:-len(".txt")] not in known
          and _starts_like_labels(path))
  return sorted(found)


def _starts_like_labels(path):
  """Whether a text file starts with a class and a box, unlike a README."""
  try:
    with places.open_text(path, encoding="utf-8-sig", errors="replace") as file:
      fields = file.read(200).lstrip().partition("\n")[0].split()
  except OSError:
    return False
  return len(fields) > 4 and all(
      re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", field) for field in fields[:5])


def label_path(image_path):
  """Path of an image's label file, which may be missing."""
  stem = os.path.splitext(image_path)[0] + ".txt"
  head, middle, tail = stem.rpartition(f"{os.sep}images{os.sep}")
  if middle:
    mapped = f"{head}{os.sep}labels{os.sep}{tail}"
    if places.isfile(mapped) or not places.isfile(stem):
      return mapped
  return stem


def _listed(name, place, root, where):
  """Path of an image in a list, relative to the list's folder or the root."""
  folder = os.path.dirname(places.abspath(place))
  # Paths of Darknet have one folder more: data/obj_train_data/a.jpg.
  for base, rest in ((folder, name), (root, name),
                     (folder, name.partition("/")[2])):
    path, _ = paths.locate(base, rest, where)
    if rest and places.isfile(path):
      return places.normpath(path)
  return places.normpath(paths.locate(folder, name, where)[0])


def _of_yaml(path, image_set, images):
  content = class_files.read_yaml(
      sources.read_text(path, "a YAML file"), path)
  names = class_files.yaml_names(content, path)
  sources.check_classes(names, path)
  content = content if isinstance(content, dict) else {}
  key = next((one for one in _spellings(image_set) if content.get(one)), None)
  value = content.get(key)
  value = [value] if isinstance(value, str) else value
  if not isinstance(value, list) or not value or not all(
      isinstance(one, str) and one for one in value):
    sets = [one for alike in _ALIKE for one in alike if content.get(one)]
    raise errors.InputError(
        f"{path}: expected the split --image_set={image_set}, a folder, a list "
        f"or several. Received: {texts.quoted(value)}; there are: "
        f"{', '.join(sets) or 'none'}.")
  own = os.path.dirname(places.abspath(path))
  given = content.get("path")
  roots = [os.path.join(own, given)] if isinstance(given, str) and given else []
  roots = [images] if images else roots + [own]
  listed = [_existing(one, roots, path) for one in value]
  shape = content.get("kpt_shape")
  keypoints = 0
  if shape is not None:
    if not (isinstance(shape, list) and len(shape) == 2 and all(
        isinstance(one, str) and one.isdecimal() and len(one) < 5
        for one in shape)):
      raise errors.InputError(
          f"{path}: expected `kpt_shape` as two numbers. Received: "
          f"{texts.quoted(shape)}.")
    keypoints = int(shape[0]) * int(shape[1])
  root = next((one for one in roots if places.isdir(one)), own)
  return Layout(root=places.normpath(root), names=tuple(names), where=path,
                listed=tuple(listed), keypoints=keypoints)


def _existing(value, roots, path):
  """The folder or list that an entry of `data.yaml` names."""
  texts.check_name(value, path, "the path of a split")
  tried = []
  plain = value.replace("\\", "/")
  for name in (plain, plain[3:] if plain.startswith("../") else ""):
    for root in roots:
      tried.append(places.normpath(os.path.join(root, name)))
      if name and (places.isdir(tried[-1]) or tried[-1].endswith(".txt")
                   and places.isfile(tried[-1])):
        return tried[-1]
  raise errors.InputError(
      f"{path}: expected the folder or list {texts.quoted(value)}. Received: "
      f"nothing at {texts.shown(tried[0])}; name the folder that its paths "
      "start from with --images.")


def _of_folder(root, image_set, images):
  """A data set without `data.yaml`."""
  names_path = next((os.path.join(root, name) for name in _NAMES
                     if places.isfile(os.path.join(root, name))), None)
  if not names_path:
    raise errors.InputError(
        f"{root}: expected the names of the classes in data.yaml, classes.txt "
        "or obj.names. Received: none of these.")
  names = class_files.names(
      sources.read_text(names_path, "one class a line"), names_path)
  sources.check_classes(names, names_path)
  split = _spellings(image_set)
  patterns = ["images/{}", "{}/images", "{}.txt", "obj_{}_data", "{}"]
  chosen = [images] if images else [
      os.path.join(root, pattern.format(name))
      for pattern in patterns for name in split]
  found = next((one for one in chosen if places.isdir(one)
                or one.endswith(".txt") and places.isfile(one)), None)
  if not found:
    raise errors.InputError(
        f"{root}: expected the split --image_set={image_set} in images/"
        f"{image_set}, {image_set}/images or {image_set}.txt, or the folder of "
        "the images as --images. Received: none of these.")
  return Layout(root=places.normpath(root), names=tuple(names),
                where=names_path, listed=(places.normpath(found),))


def _spellings(image_set):
  """An image set and its other names."""
  alike = next((one for one in _ALIKE if image_set in one), ())
  return (image_set, *(name for name in alike if name != image_set))
