"""MS-COCO 2014, 2017 and similar: an instances json and a folder of images.

    annotations/instances_train2017.json    train2017/000000000009.jpg

Label ids follow the category ids in ascending order, so that the 80 categories
numbered 1 to 90 become 0 to 79. Images without annotations are kept, without
labels. A crowd makes its class present; it is flagged, because COCO's metrics
ignore it. A box without area, of which COCO has a few, makes its class present
too, but is not an object for detection. A class whose annotations in an image
all have `ignore` is unknown there, like the class of VOC's difficult objects.

Annotations need no `bbox`: one without it still gives its image the label. The
objects of an image are known where each annotation has a box. If no annotation
of the file has a box, the objects of all images are unknown.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV
2014, and the data format page of cocodataset.org.
"""

import collections
import os

import numpy as np

from kdwsd import boxes
from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import coco_entries
from kdwsd.data.sources import paths

_Image = collections.namedtuple("_Image", "key path frame where")


def read(root=None, *, image_set=None, annotations=None, images=None,
         classes=None, problems):
  """Reads one split.

  Args:
    root: COCO's folder; not needed if `annotations` and `images` are given.
    image_set: such as train2017; names json and folder inside `root`.
    annotations: path of the json, if it is elsewhere.
    images: folder of the images, if it is elsewhere.
    classes: names wanted, in order; other objects are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are COCO's, as text.

  Raises:
    errors.InputError: a path, the json or an entry is invalid.
  """
  path = annotations or os.path.join(
      root or "", "annotations", f"instances_{image_set}.json")
  if images:
    sources.check_directory(images, "the folder of the images (--images)")
  content = files.read_json(path)
  coco_entries.check_kind(content, path)
  images = images or _image_folder(root, path, image_set, content["images"])
  sources.check_directory(images, "the folder of the images (--images)")
  entries = content["annotations"]
  of_image = _annotations_by_image(entries, path, problems)
  found = coco_entries.categories(
      content["categories"],
      {coco_entries.key(entry.get("category_id")) for entry in entries
       if isinstance(entry, dict)}, path)
  chosen = sources.choose_classes(classes, found.there, path)
  listed, seen, notices = _list_images(
      content["images"], of_image, images, path, problems)
  reader = _Reader(
      path, entries, found.names, chosen,
      any(isinstance(entry, dict) and entry.get("bbox") for entry in entries))
  items = []
  for image in listed:
    try:
      items.append(reader.item(image, of_image.get(image.key, ())))
    except errors.InputError as error:
      problems.add(error)
  for image_id, indexes in of_image.items():
    if image_id not in seen:
      problems.add(errors.InputError(
          f"{path}: annotations[{indexes[0]}]: expected the id of an image "
          f"in the file. Received: {texts.quoted(image_id)}."))
  notices = found.notices + notices + list(reader.notices(
      content["images"], len(of_image.keys() & seen)))
  return sources.Source(
      classes=chosen, items=items, notices=tuple(notices), image_folder=images,
      description={
          "format": "coco", "name": os.path.basename(places.abspath(images)),
          "annotations": os.path.basename(path)})


def _image_folder(root, path, image_set, entries):
  """The image folder of an instances json.

  Of the usual folders, the first that contains the first image; if none does,
  the first that exists.
  """
  name = os.path.splitext(os.path.basename(path))[0]
  name = name[len("instances_"):] if name.startswith("instances_") else (
      image_set or name)
  folder = os.path.dirname(places.abspath(path))
  root = root or os.path.dirname(folder)
  candidates = [
      os.path.join(root, "images", name), os.path.join(root, name),
      os.path.join(root, "images"), folder, root]
  there = [one for one in candidates if places.isdir(one)]
  for entry in entries[:1]:
    file_name = entry.get("file_name") if isinstance(entry, dict) else None
    if isinstance(file_name, str) and "\0" not in file_name:
      file_name = file_name.replace("\\", "/")
      for one in there:
        if places.isfile(os.path.join(one, file_name)):
          return one
  return next((one for one in candidates[:2] if one in there), candidates[1])


def _annotations_by_image(entries, path, problems):
  """Groups the indexes of annotations by the key of their image."""
  of_image = collections.defaultdict(list)
  for i, entry in enumerate(entries):
    image_id = entry.get("image_id") if isinstance(entry, dict) else None
    if type(image_id) is not int:  # Most are.
      image_id = coco_entries.key(image_id)
    if image_id is not None:
      of_image[image_id].append(i)
    else:
      problems.add(errors.InputError(
          f"{path}: annotations[{i}]: expected an `image_id`. Received: "
          + texts.quoted(entry.get("image_id") if isinstance(entry, dict)
                         else None) + "."))
  return of_image


def _list_images(entries, of_image, images, path, problems):
  """Finds the files of the images.

  Some tools write several entries for one file, one for each annotation. They
  are joined under the first id, so that the image has all of its labels.

  Args:
    entries: the list `images`.
    of_image: indexes of annotations by the key of their image; those of joined
      entries move to the first one's.
    images: folder.
    path: path of the json, for messages.
    problems: `sources.Problems`.

  Returns:
    List of `_Image`, the keys of all entries, and notices.
  """
  listed, seen, of_file, joined = [], set(), {}, []
  names = paths.Names(images)
  for i, entry in enumerate(entries):
    where = f"{path}: images[{i}]"
    image_id = coco_entries.key(
        entry.get("id") if isinstance(entry, dict) else None)
    try:
      name, frame = _image(entry, image_id, images, where)
      if image_id in seen:
        raise errors.InputError(
            f"{where}: expected every id once. Received: "
            f"{texts.quoted(entry['id'])} again.")
      image_path, name = paths.locate(images, name, where)
      first = of_file.setdefault(
          names.first(name, image_path, of_file), image_id)
      if first == image_id:
        listed.append(_Image(image_id, image_path, frame, where))
      else:
        joined.append(name)
        of_image[first] = [*of_image.get(first, ()),
                           *of_image.get(image_id, ())]
    except errors.InputError as error:
      problems.add(error)
    if image_id is not None:  # Also of a bad image.
      seen.add(image_id)
  return listed, seen, [
      f"{path}: {len(joined)} entries of `images` name a file that an earlier "
      f"one names and are joined with it, first {texts.shown(joined[0])}."
  ] if joined else []


def _image(entry, image_id, images, where):
  """File name, and (height, width) or None, of an entry under `images`."""
  name = entry.get("file_name") if isinstance(entry, dict) else None
  if name is None and isinstance(entry, dict) and isinstance(
      entry.get("coco_url"), str):  # LVIS gives only this.
    folder, name = entry["coco_url"].split("/")[-2:]
    if places.isdir(os.path.join(images, folder)):
      name = f"{folder}/{name}"
  if image_id is None or not (isinstance(name, str) and name):
    raise errors.InputError(
        f"{where}: expected an image with `id` and `file_name`. Received: "
        f"{texts.quoted(entry)}.")
  texts.check_name(name, where, "a `file_name`")
  size = tuple(coco_entries.key(entry.get(side))
               for side in ("height", "width"))
  known = all(isinstance(side, int) and 0 < side <= sources.MOST_PIXELS
              for side in size)
  return name, size if known else None


class _Reader:
  """Makes items of images and their annotations, counting faults."""

  def __init__(self, path, entries, names, classes, has_boxes):
    self._path, self._entries, self._names = path, entries, names
    self._numbers = {name: i for i, name in enumerate(classes)}
    self._has_boxes = has_boxes
    self._left_out = collections.Counter()
    self._without_box = []

  def item(self, image, indexes):
    """Makes the `sources.Item` of an `_Image` and its annotations' indexes."""
    things, labels, left_out = [], [], set()
    for i in indexes:
      thing = coco_entries.thing(self._entries[i], i, self._names, self._path)
      label = self._numbers.get(self._names[thing.category])
      if label is None:
        left_out.add(self._names[thing.category])
      else:
        things.append(thing)
        labels.append(label)
    present = {label for label, thing in zip(labels, things)
               if not thing.ignored}
    item = sources.Item(
        image_path=image.path, image_id=str(image.key),
        label_ids=tuple(sorted(present)),
        unknown_label_ids=tuple(sorted(set(labels) - present)),
        objects=self._objects(things, labels, image.frame), where=image.where)
    self._left_out.update(left_out)
    if item.objects is None:
      self._without_box.append(item.image_id)
    return item

  def _objects(self, things, labels, frame):
    if not self._has_boxes or any(
        thing.rectangle is None and not thing.fault for thing in things):
      return None
    boxed = [(label, thing) for label, thing in zip(labels, things)
             if thing.rectangle]
    return sources.Objects(
        boxes=boxes.from_pixel_sizes(
            [thing.rectangle for _, thing in boxed], 1, 1),
        class_ids=np.array([label for label, _ in boxed], np.int64),
        difficult=np.array([thing.ignored for _, thing in boxed], bool),
        crowd=np.array([thing.crowd for _, thing in boxed], bool),
        frame=frame, dropped=len(things) - len(boxed),
        fault=next((thing.fault for thing in things if thing.fault), ""))

  def notices(self, images, num_annotated):
    """Yields the notices, after all items are made.

    Args:
      images: the list `images`.
      num_annotated: how many of these have an annotation.
    """
    num_bare = len(images) - num_annotated
    if 2 * num_bare > len(images):
      yield (f"{self._path}: {num_bare} of {len(images)} images have no "
             "annotation; they are kept, as images of no class.")
    if not self._has_boxes:
      yield (f"{self._path}: no annotation has a box (`bbox`), so there are "
             "labels only.")
    elif self._without_box:
      yield (f"{self._path}: {len(self._without_box)} of {len(images)} images "
             "have an annotation without a box (`bbox`) and give labels only, "
             f"first image {texts.shown(self._without_box[0])}.")
    if any(isinstance(entry, dict) and "neg_category_ids" in entry
           for entry in images[:1]):
      yield (f"{self._path}: LVIS's `neg_category_ids` are not looked at; a "
             "class without an annotation is taken as absent.")
    left_out = sources.left_out_notice(self._left_out)
    if left_out:
      yield left_out
