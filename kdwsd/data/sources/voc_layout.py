"""Finds the annotations and images of a VOC data set.

Three layouts are read:

    VOCdevkit/VOC2007/{Annotations,ImageSets/Main,JPEGImages}   VOC's own
    data/{annotations,images}                    the same without image sets
    data/0001.jpg data/0001.xml                  images and XML side by side

All folders are listed once, with their subfolders, instead of a search for each
file. An id is the path of an annotation relative to its folder, without its
extension and with forward slashes: `000005`, `cam1/000005`.
"""

import collections
import dataclasses
import os
import re

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts

_ANNOTATION_FOLDERS = ("annotations", "annotation", "xmls", "xml", "labels")
_IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")

# Sibling folders of these names are splits that must not be mixed.
_PARTS = ("train", "training", "trainval", "val", "valid", "validation", "dev",
          "test", "testing")


@dataclasses.dataclass(frozen=True)
class Tree:
  """A data set's files.

  Attributes:
    folder: the folder that contains all others.
    annotation_folder: path.
    annotations: paths by id.
    image_folder: path.
    images: `Images` below it.
    set_folder: folder of the image sets; None if there is none.
  """
  folder: str
  annotation_folder: str
  annotations: dict
  image_folder: str
  images: "Images"
  set_folder: str


class Images:
  """The image files of a folder, by listing.

  Attributes:
    ambiguous: names of the chosen files, by id, where a folder has several
      files with that id.
    elsewhere: names of the chosen files, by id, where the id's own folder has
      no file with its name.
  """

  def __init__(self, names, ids):
    """Takes names of all images and ids of all annotations."""
    self.ambiguous, self.elsewhere = {}, {}
    self.names = set(names)
    self._of_stem = collections.defaultdict(list)
    for name in names:
      self._of_stem[os.path.splitext(name)[0]].append(name)
    # By name without folders: images that match no other annotation.
    self._free = collections.defaultdict(list)
    for stem, found in self._of_stem.items():
      if stem not in ids:
        self._free[os.path.basename(stem)].append(stem)
        for name in found:
          self._free[os.path.basename(name)].append(stem)

  def __contains__(self, image_id):
    return image_id in self._of_stem

  def find(self, image_id, file_name=""):
    """Name of an id's file, or None.

    The file with the id as its name has precedence, then the only image with
    that name in another folder, then the file name in the annotation.

    Args:
      image_id: path without ending.
      file_name: in the annotation; its folders are ignored.
    """
    called = os.path.basename(file_name.replace("\\", "/"))
    if image_id in self._of_stem:
      return self._choose(image_id, image_id, called)
    if image_id in self.names:  # The annotation of a.jpg is a.jpg.xml.
      return image_id
    here = os.path.join(os.path.dirname(image_id), os.path.splitext(called)[0])
    for key in (os.path.basename(image_id), called,
                os.path.splitext(called)[0]):
      stems = self._free.get(key, ()) if key else ()
      stem = here if here in stems else stems[0] if len(stems) == 1 else None
      if stem is not None:
        self.elsewhere[image_id] = self._choose(stem, image_id, called)
        return self.elsewhere[image_id]
    return None

  def _choose(self, stem, image_id, called):
    found = self._of_stem[stem]
    if len(found) == 1:
      return found[0]
    self.ambiguous[image_id] = min(found, key=lambda name: (
        os.path.basename(name) != called,
        image_names.EXTENSIONS.index(os.path.splitext(name)[1].lower()),
        name != name.lower(), name))
    return self.ambiguous[image_id]


def find(root, *, year=None, image_set=None, images=None):
  """Finds the files of a data set.

  Args:
    root: the VOCdevkit folder, one year's folder inside it, or a folder of
      images and XML files.
    year: such as 2007; may be left out where the tree has only one.
    image_set: names the part of a data set with a folder for each part.
    images: folder of the images, if it is elsewhere.

  Returns:
    A `Tree`, of one part if parts have their own folders.

  Raises:
    errors.InputError: there is no such data set, or several.
  """
  sources.check_directory(root, "a VOCdevkit folder, or one of images and XML")
  if images:
    sources.check_directory(images, "the folder of the images (--images)")
  root = places.abspath(root)
  folder = _year_folder(root, year)
  if folder is None:
    folder, names = root, ()
    if _annotation_folder(root) is None:
      names = _files(root, _is_xml)
    folder = places.normpath(
        os.path.join(root, _part(root, names, image_set)))
  annotation_folder = _annotation_folder(folder)
  image_folder = images or (
      annotation_folder and _folder_of(folder, _IMAGE_FOLDERS)) or folder
  annotation_folder = annotation_folder or folder
  names, set_folder = _files(annotation_folder, _is_xml), _set_folder(folder)
  if set_folder is None:
    part = _part(annotation_folder, names, image_set)
    names = [name[len(part):].lstrip("/") for name in names
             if name.startswith(part)]
    annotation_folder = places.normpath(os.path.join(annotation_folder, part))
    if places.isdir(os.path.join(image_folder, part)):
      image_folder = places.normpath(os.path.join(image_folder, part))
  annotations = {}
  for name in names:
    image_id = os.path.splitext(name)[0]
    if image_id in annotations:
      raise errors.InputError(
          f"{annotation_folder}: expected one annotation for each id. "
          f"Received: {texts.shown(name)} beside the same in another case.")
    annotations[image_id] = os.path.join(annotation_folder, name)
  return Tree(
      folder=folder, annotation_folder=annotation_folder,
      annotations=annotations, image_folder=image_folder,
      images=Images(_files(image_folder, image_names.is_image), annotations),
      set_folder=set_folder)


def _year_folder(root, year):
  """VOC's own folder of a year, or None."""
  if places.isdir(os.path.join(root, "Annotations")):
    name = os.path.basename(root)
    if year and name != f"VOC{year}":
      raise errors.InputError(
          f"{root}: expected the folder VOC{year} or the VOCdevkit that holds "
          f"it. Received: {name}.")
    return root
  if places.isdir(os.path.join(root, "VOCdevkit")):
    root = os.path.join(root, "VOCdevkit")
  there = sorted(
      name for name in places.listdir(root) if name.startswith("VOC")
      and places.isdir(os.path.join(root, name, "Annotations")))
  if not there and _set_folder(root) is None:
    others = _folders_with_sets(root)
    if len(others) == 1 and (not year or others[0].upper() == f"VOC{year}"):
      return os.path.join(root, others[0])
  if not there and not year and any(_files(root, _is_xml)):
    return None
  wanted = f"VOC{year}" if year else there[0] if len(there) == 1 else None
  if wanted not in there:
    raise errors.InputError(
        f"{root}: expected a VOCdevkit with "
        f"{wanted or 'one VOC folder, or --year to choose'}; or a folder of "
        "images and their XML files. Received: "
        + (texts.shown(", ".join(there)) or "no folder VOC* with Annotations")
        + ".")
  return os.path.join(root, wanted)


def _folders_with_sets(root):
  """Names of the folders in `root` that have image sets and annotations."""
  inner = [name for name in sorted(places.listdir(root))
           if places.isdir(os.path.join(root, name))]
  return [name for name in inner
          if _set_folder(os.path.join(root, name))
          and _annotation_folder(os.path.join(root, name))]


def _part(folder, names, image_set):
  """Folder of one part with a slash if each part has a folder, or ""."""
  tops = {name.split("/")[0] for name in names if "/" in name}
  if image_set in tops:
    return os.path.join(image_set, "")
  parts = sorted(name for name in tops if name.lower() in _PARTS)
  if parts:
    raise errors.InputError(
        f"{folder}: expected --image_set, or --split, to name one of its "
        f"folders {', '.join(parts)}. Received: {image_set}.")
  return ""


def _annotation_folder(folder):
  path = _folder_of(folder, _ANNOTATION_FOLDERS)
  if path and (os.path.basename(path) == "Annotations"
               or _files(path, _is_xml)):
    return path
  return None


def _folder_of(folder, names):
  """Path of the first folder with one of some names in any case, or None."""
  there = sorted(places.listdir(folder))
  for wanted in names:
    for name in there:
      if name.lower() == wanted and places.isdir(os.path.join(folder, name)):
        return os.path.join(folder, name)
  return None


def _set_folder(folder):
  """Folder of the image sets, in any case, or None."""
  above = _folder_of(folder, ("imagesets",))
  for path in (above and _folder_of(above, ("main",)), above):
    if path and any(name.endswith(".txt") for name in places.listdir(path)):
      return path
  return None


def _is_xml(name):
  return name.lower().endswith(".xml")


def _files(folder, matches):
  """Names of files below a folder, sorted, with forward slashes.

  Hidden files are ignored, as are those that macOS adds to archives. Links to
  folders are followed, each folder once.
  """
  found, seen = [], set()
  for directory, inner, names in places.walk(folder, followlinks=True):
    real = places.realpath(directory)
    if real in seen:
      inner.clear()
      continue
    seen.add(real)
    inner[:] = sorted(name for name in inner
                      if not re.match(r"\.|__MACOSX$", name))
    start = os.path.relpath(directory, folder)
    found += [name if start == "." else os.path.join(start, name)
              for name in names if matches(name) and name[0] != "."]
  return sorted(found)
