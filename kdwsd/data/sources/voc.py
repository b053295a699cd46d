"""PASCAL VOC: a VOCdevkit tree of any year and image set, or a similar one.

    VOCdevkit/VOC2007/ImageSets/Main/trainval.txt   one image id a line
    VOCdevkit/VOC2007/Annotations/000005.xml        boxes, inclusive, from 1
    VOCdevkit/VOC2007/JPEGImages/000005.jpg

Without image sets, as in a folder of images and XML files side by side, every
image with an annotation is read. For the layouts see `voc_layout`, for image
sets and class lists `voc_image_sets`.

The classes are those of class lists and of annotations in all image sets,
sorted by name. This is VOC's own order, and the same for every image set.

A class is present where it has an object that is not difficult, and unknown
where all its objects are difficult: VOC excludes such images from the class's
AP. The objects of an image are known where each has a <bndbox>.

Source: M. Everingham et al., "The PASCAL Visual Object Classes (VOC)
Challenge", IJCV 2010, and the development kit's documentation.
"""

import collections
import os

import numpy as np

from kdwsd import boxes
from kdwsd import errors
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import voc_annotations
from kdwsd.data.sources import voc_image_sets
from kdwsd.data.sources import voc_layout

_Found = collections.namedtuple("_Found", "image_id where annotation image")


def read(root, *, year=None, image_set="trainval", images=None, classes=None,
         problems):
  """Reads one image set.

  Args:
    root: the VOCdevkit folder, one year's folder inside it, or a folder of
      images and XML files.
    year: such as 2007; may be left out where the tree has only one.
    image_set: name of a file in `ImageSets/Main`, without `.txt`. Where there
      are no image sets it may name one of the folders that hold a part each.
    images: folder of the images, if it is elsewhere.
    classes: names wanted, in order; other objects are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`.

  Raises:
    errors.InputError: the tree, the image set or an annotation is invalid.
  """
  tree = voc_layout.find(root, year=year, image_set=image_set, images=images)
  found = _find_images(tree, image_set, problems)
  notices = list(_layout_notices(tree, found))
  counts = collections.Counter(
      name for one in found
      for name in {thing.name for thing in one.annotation.things})
  if classes is None:
    there = _classes_of(tree, found, notices)
  elif set(counts) & set(classes):
    there = sorted(counts)
  else:
    there = sorted(set().union(*_names_in(tree, found)[0].values()))
  classes = sources.choose_classes(classes, there, tree.annotation_folder)
  left_out = sources.left_out_notice({
      name: count for name, count in counts.items() if name not in classes})
  numbers = {name: i for i, name in enumerate(classes)}
  items, without = [], []
  for one in found:
    try:
      items.append(_item(tree, one, numbers))
    except errors.InputError as error:
      problems.add(error)
      continue
    if items[-1].objects is None:
      without.append(one.image_id)
  if without:
    notices.append(
        f"{_counted(without, 'image has', 'images have')} an object without "
        f"<bndbox> and gives labels only, first {texts.shown(without[0])}.")
  name = os.path.basename(tree.folder)
  part = {"year": name[3:], "image_set": image_set} if tree.set_folder else {
      "layout": "no image sets"}
  return sources.Source(
      classes=classes, items=items,
      notices=tuple(notices) + ((left_out,) if left_out else ()),
      image_folder=tree.image_folder if images else None,
      description={"format": "voc", "name": name.lower(), **part})


def _find_images(tree, image_set, problems):
  """Reads the annotations of an image set, or all, and finds their images.

  Returns:
    List of `_Found`. Its `image` is a name in the tree's folder of images, or
    None for a missing image that an image set names.
  """
  path = None
  if tree.set_folder is not None:
    path = voc_image_sets.path_of(tree, image_set)
    listed = ((one.image_id, one.number)
              for one in voc_image_sets.entries(tree, path, problems.add))
  else:
    listed = ((image_id, None) for image_id in tree.annotations)
  found, seen, owners = [], {}, collections.defaultdict(list)
  for image_id, number in listed:
    where = f"{path}:{number}" if path else tree.annotations[image_id]
    try:
      if image_id in seen:
        raise errors.InputError(
            f"{where}: expected every image once. Received: {image_id}, also "
            f"in line {seen[image_id]}.")
      seen[image_id] = number
      annotation = voc_annotations.parse(_annotation_path(
          tree, image_id, where))
      image = tree.images.find(image_id, annotation.file_name)
      owners[image or image_id].append(image_id)
      found.append(_Found(image_id, where, annotation, image))
    except errors.InputError as error:
      problems.add(error)
  # Each of two annotations of one image may lack objects of the other.
  for one in found:
    same = owners[one.image or one.image_id]
    if len(same) > 1:
      problems.add(errors.InputError(
          f"{one.where}: expected one annotation of each image. Received: "
          f"{len(same)} of {texts.shown(one.image)}: "
          f"{texts.shown(', '.join(same))}."))
  return [one for one in found if len(owners[one.image or one.image_id]) == 1]


def _annotation_path(tree, image_id, where):
  if image_id not in tree.annotations:
    path = os.path.join(tree.annotation_folder, image_id + ".xml")
    raise errors.InputError(
        f"{where}: expected the annotation {path}. Received: no such file.")
  return tree.annotations[image_id]


def _layout_notices(tree, found):
  """Yields notices on the layout; removes annotations without an image."""
  if tree.set_folder is None:
    alone = [one.image_id for one in found if one.image is None]
    found[:] = [one for one in found if one.image is not None]
    if not found and alone:
      raise errors.InputError(
          f"{tree.image_folder}: expected the images of the annotations in "
          f"{tree.annotation_folder}. Received: none of {len(alone)}, first "
          f"{texts.shown(alone[0])}; the endings of images are "
          f"{' '.join(image_names.EXTENSIONS)}.")
    used = {one.image for one in found}
    bare = sorted(tree.images.names - used)
    yield (f"{tree.folder}: no ImageSets, so every image with an annotation is "
           f"read: {len(found)}. --image_set chooses none of them.")
    if bare:
      yield (f"{_counted(bare, 'image', 'images')} without an XML file "
             f"{'is' if len(bare) == 1 else 'are'} not labelled and left out, "
             f"first {texts.shown(bare[0])}.")
    if alone:
      yield (f"{_counted(alone, 'XML file', 'XML files')} without an image "
             f"{'is' if len(alone) == 1 else 'are'} left out, first "
             f"{texts.shown(alone[0])}.xml.")
  for names, one, many in (
      (tree.images.ambiguous, "image has several files of its name",
       "images have several files of their name"),
      (tree.images.elsewhere, "image was found in another folder or by "
       "<filename>", "images were found in another folder or by <filename>")):
    if names:
      image_id, name = next(iter(names.items()))
      yield (f"{_counted(names, one, many)}; taken for "
             f"{texts.shown(image_id)}: {texts.shown(name)}.")


def _counted(things, one, many):
  return f"{len(things)} {one if len(things) == 1 else many}"


def _classes_of(tree, found, notices):
  """Class names of the tree, sorted; appends oddities to `notices`.

  Raises:
    errors.InputError: no annotation and no list names any class.
  """
  names, faults = _names_in(tree, found)
  annotated = collections.Counter(
      name for of_image in names.values() for name in of_image)
  lists, others = (voc_image_sets.class_lists(tree) if tree.set_folder
                   else ({}, []))
  # A list by which an image has a class that its annotation does not name
  # is no class list, or a list of another data set.
  strange = [name for name, positives in lists.items()
             if name not in annotated and not positives.isdisjoint(names)]
  for name in strange:
    del lists[name]
  if lists and (others or strange):
    notices.append(
        f"{tree.set_folder}: not class lists, by what is in them: "
        + texts.shown(", ".join(sorted(others + [
            f"{name}_*" for name in strange])), 400) + ".")
  unlisted = sorted(set(annotated) - set(lists))
  if lists and unlisted:
    notices.append(
        f"{tree.set_folder}: these classes have no list and are found, with "
        "their numbers of images, in annotations: " + texts.shown(", ".join(
            f"{name} ({annotated[name]})" for name in unlisted), 400) + ".")
  if not annotated and not lists:
    raise errors.InputError(
        f"{tree.annotation_folder}: expected class names, each once. Received: "
        f"none; {len(faults)} of {len(tree.annotations)} annotations are not "
        "right" + (f", first {faults[0]}" if faults
                   else ", and none has an object."))
  return sorted({*lists, *annotated})


def _names_in(tree, found):
  """Names of objects by id in all valid annotations, and faults of others."""
  names = {one.image_id: {thing.name for thing in one.annotation.things}
           for one in found}
  faults = []
  for image_id, path in tree.annotations.items():
    if image_id not in names:
      try:
        names[image_id] = {
            thing.name for thing in voc_annotations.parse(path).things}
      except errors.InputError as error:
        faults.append(error)  # Reported where an image set names it.
  return names, faults


def _item(tree, one, numbers):
  things = [thing for thing in one.annotation.things if thing.name in numbers]
  present = {numbers[thing.name] for thing in things if not thing.difficult}
  unknown = {numbers[thing.name] for thing in things} - present
  objects = None
  if all(thing.corners or thing.fault for thing in things):
    boxed = [thing for thing in things if thing.corners]
    objects = sources.Objects(
        boxes=boxes.from_inclusive_pixels(
            [thing.corners for thing in boxed], 1, 1, first=1),
        class_ids=np.array([numbers[thing.name] for thing in boxed], np.int64),
        difficult=np.array([thing.difficult for thing in boxed], bool),
        crowd=np.zeros([len(boxed)], bool), frame=one.annotation.frame,
        dropped=len(things) - len(boxed),
        fault=next((thing.fault for thing in things if thing.fault), ""))
  return sources.Item(
      image_path=os.path.join(
          tree.image_folder, one.image or one.image_id + ".jpg"),
      image_id=one.image_id, label_ids=tuple(sorted(present)),
      unknown_label_ids=tuple(sorted(unknown)), objects=objects,
      where=one.where)
