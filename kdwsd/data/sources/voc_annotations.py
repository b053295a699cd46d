"""VOC's XML: reads labels and boxes of one annotation file.

All that decides the labels must be valid: the XML, the names of the objects and
their `difficult` flags. Boxes and the size of the image, used in evaluation
only, may be faulty: see `kdwsd.data.annotated_boxes`.
"""

import dataclasses
import typing
from xml.etree import ElementTree

import defusedxml
from defusedxml import ElementTree as safe_xml

from kdwsd import errors
from kdwsd import places
from kdwsd.data import sources
from kdwsd.data import texts

_DIFFICULT = {"": False, "unspecified": False, "false": False, "true": True}


class Thing(typing.NamedTuple):
  """One object of an annotation.

  Attributes:
    name: name of its class.
    corners: (xmin, ymin, xmax, ymax), inclusive pixels from 1; None where
      there is no usable box.
    difficult: whether VOC's metrics leave it out.
    fault: message on a faulty box; "" for none.
  """
  name: str
  corners: tuple
  difficult: bool
  fault: str = ""


@dataclasses.dataclass(frozen=True)
class Annotation:
  """One XML file.

  Attributes:
    frame: (height, width) in pixels, or None where they are not given.
    file_name: file name of the image, as written; "" if there is none.
    things: tuple of `Thing`, in the file's order.
  """
  frame: tuple
  file_name: str
  things: tuple


def parse(path):
  """Reads an annotation.

  Args:
    path: path of the XML file.

  Returns:
    An `Annotation`.

  Raises:
    errors.InputError: the file is not a VOC annotation, or an object has no
      class.
  """
  try:
    with places.open_bytes(path) as file:
      tree = safe_xml.parse(file)
  except (ElementTree.ParseError, defusedxml.DefusedXmlException, ValueError,
          LookupError, OSError) as error:  # LookupError: of its encoding.
    raise errors.InputError(
        f"{path}: expected a VOC annotation. Received: "
        f"{texts.shown(str(error))}.") from error
  entries = tree.findall("object")
  # Objects elsewhere would be lost, as would all of an HTML page that a server
  # sent instead of the file.
  if tree.getroot().tag != "annotation" or (
      len(entries) != sum(1 for _ in tree.iter("object"))):
    raise errors.InputError(
        f"{path}: expected <annotation> and in it each <object>. Received: "
        f"{len(entries)} of {sum(1 for _ in tree.iter('object'))} objects in "
        f"<{texts.shown(tree.getroot().tag)}>.")
  size = [_number(tree.findtext(f"size/{key}")) for key in ("height", "width")]
  sized = all(side is not None and side > 0 and side % 1 == 0 for side in size)
  return Annotation(
      frame=(int(size[0]), int(size[1])) if sized else None,
      file_name=(tree.findtext("filename") or "").strip(),
      things=tuple(_thing(entry, number, path)
                   for number, entry in enumerate(entries, 1)))


def _thing(entry, number, path):
  name = (entry.findtext("name") or "").strip()
  if not name:
    raise errors.InputError(
        f"{path}: expected a name of object {number}. Received: none.")
  texts.check_name(name, path, f"a name of object {number}")
  here = f"object {number} ({texts.shown(name)})"
  difficult = _flag(entry.findtext("difficult"))
  if difficult is None:
    raise errors.InputError(
        f"{path}: {here}: expected `difficult` to be 0 or 1. Received: "
        f"{texts.shown(entry.findtext('difficult').strip())}.")
  if entry.find("bndbox") is None:
    return Thing(name, None, difficult)
  written = [(entry.findtext(f"bndbox/{key}") or "").strip()
             for key in ("xmin", "ymin", "xmax", "ymax")]
  corners = tuple(map(_number, written))
  if None in corners or corners[2] < corners[0] or corners[3] < corners[1]:
    return Thing(
        name, None, difficult,
        f"{here} with xmin, ymin, xmax, ymax = {texts.quoted(written)}")
  return Thing(name, corners, difficult)


def _number(text):
  """A number of pixels, or None for anything else."""
  try:
    value = float(text or "")
  except ValueError:
    return None
  return value if abs(value) <= sources.MOST_PIXELS else None


def _flag(text):
  """A boolean, False for no text and None for anything else.

  VOC and tools that copy it write "Unspecified" for objects not checked.
  """
  text = (text or "").strip().lower()
  value = _number(text)
  if value in (0, 1):
    return bool(value)
  return _DIFFICULT.get(text)
