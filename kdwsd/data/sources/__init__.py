"""Sources of images and labels; one module for each format.

Every module has `read(..., classes=None, problems)`, which lists the images of
one split and their labels without opening an image, and returns a `Source`.
Boxes remain in the pixels of their annotation, because the size of an image is
known only when it is opened; `kdwsd.data.preparation` converts them to
`kdwsd.boxes` fractions.
"""

import collections
import dataclasses

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.data import class_files
from kdwsd.data import texts

ON_ERROR = ("stop", "skip")

_CLASS_FILES = (".txt", ".json", ".yaml", ".yml", ".names", ".pbtxt")

# No image has this many pixels; larger numbers might overflow float32.
MOST_PIXELS = 1e9


@dataclasses.dataclass(frozen=True)
class Objects:
  """Annotated objects of one image, for evaluation only.

  Attributes:
    boxes: [M, 4] float32 (ymin, xmin, ymax, xmax), continuous pixel edges of
      `frame`, where the whole frame is (0, 0, height, width); or `fractions`.
    class_ids: [M] int64.
    difficult: [M] bool.
    crowd: [M] bool.
    frame: (height, width) of the image according to the annotation, or None.
    dropped: boxes that the source dropped: without area, or not four numbers.
    fault: message on the first of these.
    fractions: whether the boxes are fractions of the upright image.
  """
  boxes: np.ndarray
  class_ids: np.ndarray
  difficult: np.ndarray
  crowd: np.ndarray
  frame: tuple = None
  dropped: int = 0
  fault: str = ""
  fractions: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
  """Position of an image's proposals: a line of a datalist.

  Attributes:
    path: path of the datalist.
    offset: offset of the line's first byte.
    where: file and line number, for messages.
    num_classes: number of labels before the proposals.
    frame: (height, width) of the boxes' frame; None for the image itself.
  """
  path: str
  offset: int
  where: str
  num_classes: int
  frame: tuple = None


@dataclasses.dataclass(frozen=True)
class Item:
  """One image of a split.

  Attributes:
    image_path: the file.
    image_id: unique in the split.
    label_ids: classes present, ascending.
    unknown_label_ids: classes of unknown presence, ascending.
    objects: `Objects`, or None where the source has no boxes.
    proposals: `Line`, or None where the source has no proposals.
    where: file and line that list the image, for messages: `train.txt:17`.
    span: (offset, length) of the image in the file, bytes; None for all of it.

  Raises:
    errors.InputError: a name that no file or record can have.
  """
  image_path: str
  image_id: str
  label_ids: tuple
  unknown_label_ids: tuple = ()
  objects: Objects = None
  proposals: Line = None
  where: str = ""
  span: tuple = None

  def __post_init__(self):
    texts.check_name(self.image_id, self.where, "the path or id of an image")


@dataclasses.dataclass(frozen=True)
class Source:
  """A split as its format describes it.

  Attributes:
    classes: names; their order gives the label ids.
    items: list of `Item`, in the source's order.
    description: entry of the card: format, name and the arguments of `read`.
    notices: lines for the user on what was inferred, left out, clipped or
      ignored, each with its count.
    image_folder: base of relative image paths, where `--images` can name
      another; messages about missing files show it.
  """
  classes: tuple
  items: list
  description: dict
  notices: tuple = ()
  image_folder: str = None


class Problems:
  """Policy on bad items: the first one is an error, or all are collected.

  Attributes:
    on_error: `stop` or `skip`.
    messages: one line for each skipped item so far.
  """

  def __init__(self, on_error="stop", collect=False):
    """Takes `--on_error`; `collect` collects all faults regardless of it."""
    if on_error not in ON_ERROR:
      raise errors.InputError(
          f"--on_error: expected one of {', '.join(ON_ERROR)}. Received: "
          f"{on_error!r}.")
    self.on_error = on_error
    self._collects = collect or on_error == "skip"
    self.messages = []

  def add(self, error):
    """Raises the `InputError` of an item, or adds it to the messages."""
    if not self._collects:
      raise error
    self.messages.append(" ".join(str(error).split()))


def read_text(path, what):
  """Reads a UTF-8 text file of the user; `texts.lines` splits it.

  Args:
    path: path of the file.
    what: expected content, for the message.

  Raises:
    errors.InputError: the file is missing, unreadable or not UTF-8.
  """
  try:
    # As bytes: a file opened as text loses part of an incomplete BOM.
    with places.open_bytes(path) as file:
      text = file.read().decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected {what}. Received: {error.strerror}.") from error
  except UnicodeDecodeError as error:
    wide = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    place = ("UTF-16" if wide else
             f"line {len(error.object[:error.start].splitlines()) or 1}")
    received = (
        "a ZIP archive, as Excel's workbooks are; save it as CSV in UTF-8"
        if error.object[:4] == b"PK\x03\x04" else
        f"byte {error.object[error.start]:#04x} at {error.start} ({place}; "
        "save it as UTF-8)")
    raise errors.InputError(
        f"{path}: expected {what} in UTF-8. Received: {received}.") from error


def read_classes(value):
  """Reads the names that `--classes` gives.

  Args:
    value: a list of names; or one string: a file of names (for its layouts see
      `class_files`), the card (.json) of a converted split, or names separated
      by commas.

  Returns:
    Tuple of names, or None if `value` is None or empty.

  Raises:
    errors.InputError: no name, an empty name, or a name that occurs twice.
  """
  if not value:
    return None
  where = "--classes"
  if not isinstance(value, str):
    # A path may contain commas.
    value = next(filter(places.isfile, (",".join(value), ", ".join(value))),
                 value[0] if len(value) == 1 else value)
  if isinstance(value, str) and (places.isfile(value)
                                 or value.endswith(_CLASS_FILES)):
    where = value
    if value.endswith(".json"):
      card = files.read_json(value)
      names = card.get("classes") if isinstance(card, dict) else None
      if not (isinstance(names, list)
              and all(isinstance(name, str) for name in names)):
        raise errors.InputError(
            f"{value}: expected a card with a list `classes`. Received: "
            f"{texts.quoted(names)}.")
    else:
      text = read_text(value, "one class a line")
      names = (class_files.yaml_names(class_files.read_yaml(text, value), value)
               if value.lower().endswith((".yaml", ".yml"))
               else class_files.names(text, value))
  else:
    names = value.split(",") if isinstance(value, str) else value
  names = tuple(name.strip() for name in names)
  check_classes(names, where)
  return names


def check_classes(names, where):
  """Raises `InputError` unless there are names, none empty, none twice."""
  for name in names:
    texts.check_name(name, where, "class names")
  repeated = sorted(
      name for name, count in collections.Counter(names).items() if count > 1)
  if not names or repeated or not all(names):
    received = (f"{_some(repeated)} more than once" if any(repeated)
                else "an empty name" if names else "none")
    raise errors.InputError(
        f"{where}: expected class names, each once. Received: {received}.")


def choose_classes(classes, there, where):
  """Chooses the class list: the requested one, or that of the data.

  A requested list is not changed, even if this split has none of some class, so
  that label ids agree between the splits of a data set.

  Args:
    classes: requested names, or None for those of the data.
    there: names in the data, in its order.
    where: source of these names, for the message.

  Returns:
    Tuple of names.

  Raises:
    errors.InputError: the data has classes, but none of the requested ones; or
      a name is invalid.
  """
  if classes is None:
    check_classes(tuple(there), where)
    return tuple(there)
  if there and not set(classes) & set(there):
    raise errors.InputError(
        f"--classes: expected at least one class of {where}: {_some(there)}. "
        f"Received: {_some(classes)}.")
  return tuple(classes)


def left_out_notice(counts):
  """Lists the names of the data that a class list leaves out.

  Args:
    counts: images, or objects, by name; only names that are left out.

  Returns:
    A line, or None where nothing is left out.
  """
  if not counts:
    return None
  names = sorted(counts, key=lambda name: (-counts[name], name))
  return (f"--classes leaves out {len(names)} of the data's names: "
          + _some([f"{name} ({counts[name]})" for name in names]) + ".")


def objects_of(rows, frame=None, **more):
  """Makes `Objects` of a list of (box, class_id, difficult, crowd)."""
  return Objects(
      boxes=np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
      class_ids=np.array([row[1] for row in rows], np.int64),
      difficult=np.array([row[2] for row in rows], bool),
      crowd=np.array([row[3] for row in rows], bool),
      frame=frame, **more)


def check_directory(path, what):
  """Raises `InputError` unless `path` is a directory."""
  if not path or not places.isdir(path):
    raise errors.InputError(
        f"{path or '--input'}: expected {what}. Received: "
        f"{'no such directory' if path else 'nothing'}.")


def _some(names, most=12):
  names = list(names)
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(texts.shown(name, 60) for name in names[:most]) + more
