r"""NUS-WIDE: Flickr photographs with 81 concepts, one label file per concept.

    ImageList/TrainImagelist.txt     actor\0001_2124494179.jpg, one a line
    ConceptsList/Concepts81.txt      airport, one a line
    Groundtruth/TrainTestLabels/Labels_airport_Train.txt    0 or 1 a line
    Flickr/actor/0001_2124494179.jpg

Line n of every label file belongs to line n of the image list. The archives
unpack into different folders, so a file is also searched for in the root and in
a folder named like its archive. There are no boxes.

Many photographs have been deleted from Flickr: `--on_error=skip` leaves out
missing files.

Source: T.-S. Chua et al., "NUS-WIDE: A Real-World Web Image Database from
National University of Singapore", CIVR 2009, and its web page.
"""

import contextlib
import os

from kdwsd import errors
from kdwsd import places
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import paths

IMAGE_SETS = ("train", "test")


def read(root, *, image_set="train", images=None, classes=None, problems):
  """Reads one split.

  Args:
    root: folder that the archives were unpacked in.
    image_set: one of `IMAGE_SETS`.
    images: folder of the images; None for `Flickr`, `images` or `Images` in the
      root, whichever exists.
    classes: concepts wanted, in order; None for all, in the list's order. One
      that is not in the list is absent in every image.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are paths with forward slashes.

  Raises:
    errors.InputError: a file is missing, has another number of lines than the
      image list, or holds a label that is not 0 or 1.
  """
  sources.check_directory(root, "NUS-WIDE's folder")
  kind = image_set.lower()
  if kind not in IMAGE_SETS:
    raise errors.InputError(
        f"--image_set: expected one of {', '.join(IMAGE_SETS)}. Received: "
        f"{image_set!r}.")
  kind = kind.capitalize()
  list_path = _find(root, "ImageList", f"{kind}Imagelist.txt")
  there_path = _find(root, "ConceptsList", "Concepts81.txt")
  there = [line.strip() for line in texts.lines(sources.read_text(
      there_path, "one concept a line")) if line.strip()]
  classes = sources.choose_classes(classes, there, there_path)
  names = texts.lines(sources.read_text(list_path, "one image a line"))
  columns = [_labels(root, name, kind, len(names), list_path)
             if name in there else ("", ["0"] * len(names))
             for name in classes]
  images = images or _image_folder(root)
  sources.check_directory(images, "the folder of the images (--images)")
  items = _items(names, columns, images, list_path, problems)
  left_out = sources.left_out_notice(_left_out(
      [name for name in there if name not in classes], root, kind, len(names),
      list_path))
  return sources.Source(
      classes=classes, items=items, image_folder=images,
      notices=(left_out,) if left_out else (), description={
          "format": "nuswide", "name": "nuswide", "image_set": kind.lower()})


def _items(names, columns, images, list_path, problems):
  """Makes the items of all lines.

  Args:
    names: lines of the image list.
    columns: path of the label file and its lines, for each class.
    images: folder.
    list_path: path of the image list, for messages.
    problems: `sources.Problems`.
  """
  items, seen, repeated = [], {}, set()
  for i, name in enumerate(names):
    where = f"{list_path}:{i + 1}"
    try:
      if not name.strip():
        raise errors.InputError(
            f"{where}: expected the path of an image. Received: a blank line.")
      path, name = paths.locate(images, name.strip(), where)
      if name in seen:
        repeated.add(name)
        raise errors.InputError(
            f"{where}: expected every image once. Received: "
            f"{texts.shown(name)}, also in line {seen[name]}.")
      seen[name] = i + 1
      labels = []
      for label, (label_path, values) in enumerate(columns):
        if values[i] not in ("0", "1"):
          raise errors.InputError(
              f"{label_path}:{i + 1}: expected a label 0 or 1, of "
              f"{texts.shown(name)}. Received: {texts.quoted(values[i])}.")
        if values[i] == "1":
          labels.append(label)
      items.append(sources.Item(
          image_path=path, image_id=name, label_ids=tuple(labels),
          where=where))
    except errors.InputError as error:
      problems.add(error)
  # It is unknown which of its lines has the right labels.
  return [item for item in items if item.image_id not in repeated]


def _find(root, folder, name):
  """Path of a file in its folder, in the root, or one folder deeper."""
  base = os.path.basename(folder)
  candidates = [
      os.path.join(root, folder, name), os.path.join(root, base, name),
      os.path.join(root, name)]
  with contextlib.suppress(OSError):
    inside = sorted(one for one in places.listdir(root) if one[0] != ".")
    for middle in (folder, ""):
      candidates += [os.path.join(root, one, middle, name) for one in inside]
  for path in candidates:
    if places.isfile(path):
      return path
  raise errors.InputError(
      f"{candidates[0]}: expected a file of NUS-WIDE. Received: no such file, "
      f"and none of this name in another folder of {root}.")


def _image_folder(root):
  for name in ("Flickr", "images", "Images", "image"):
    if places.isdir(os.path.join(root, name)):
      return os.path.join(root, name)
  return os.path.join(root, "Flickr")


def _labels(root, name, kind, num_images, list_path):
  """Path of a concept's label file, and the text of each line."""
  path = _find(root, os.path.join("Groundtruth", "TrainTestLabels"),
               f"Labels_{name}_{kind}.txt")
  values = [line.strip() for line in texts.lines(sources.read_text(
      path, "one label a line"))]
  if len(values) != num_images:
    raise errors.InputError(
        f"{path}: expected {num_images} lines, as in {list_path}. Received: "
        f"{len(values)}.")
  return path, values


def _left_out(names, root, kind, num_images, list_path):
  """Numbers of images of the concepts that the class list leaves out."""
  counts = {}
  for name in names:
    try:
      _, values = _labels(root, name, kind, num_images, list_path)
    except errors.InputError:
      continue  # Its labels are not needed.
    if "1" in values:
      counts[name] = values.count("1")
  return counts
