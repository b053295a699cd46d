"""Reads files of precomputed proposals: .npz, .mat and .pkl.

The layouts are described in `proposal_npz`, `proposal_matlab` (also folders)
and `proposal_pickles`. If a file has the four numbers of a box in another order
than its layout, `order` must name it: it cannot be inferred if boxes are within
the image in either order.
"""

import dataclasses
import os

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd import places
from kdwsd.data import plain_arrays
from kdwsd.data import proposal_matlab
from kdwsd.data import proposal_names
from kdwsd.data import proposal_npz
from kdwsd.data import proposal_pickles
from kdwsd.data import texts

ORDERS = ("yxyx", "xyxy", "xywh")

_ORDER_WORDS = {"yxyx": "ymin, xmin, ymax, xmax", "xyxy": "xmin, ymin, xmax, "
                "ymax", "xywh": "x, y, width, height"}
_UNIT_WORDS = {
    "fraction": "fractions of the image", "pixel": "edges in pixels from 0",
    "inclusive": "pixels from 0, both ends inside",
    "matlab": "pixels from 1, both ends inside"}

# Rounded boxes may extend beyond the image by a pixel, and slightly more after
# division in float32; they are clipped.
_TOLERANCE_PIXELS = 1.001


@dataclasses.dataclass(frozen=True)
class Layout:
  """How the entries of a file are read.

  Attributes:
    path: path of the file, for messages.
    order: order of the four numbers of a box, one of `ORDERS`.
    unit: "fraction", "pixel", "inclusive" (from 0, both ends inside), or
      "matlab" (from 1, both ends inside).
  """
  path: str
  order: str
  unit: str

  def read(self, image_id, entry, height, width):
    """Proposals of one image.

    Args:
      image_id: image id in the data set.
      entry: its (boxes [n, 4], scores [n] or None), as in the file.
      height: height of the image, pixels.
      width: width of the image, pixels.

    Returns:
      boxes [N, 4] float32 and scores [N] float32, best first; ties keep the
      order of the file.

    Raises:
      errors.InputError: a box that is empty, outside the image or not a number.
    """
    where = f"{self.path}: image {texts.quoted(image_id)}"
    rows, scores = entry
    rows = plain_arrays.rows_of_four(rows, where)
    scores = (np.ones([len(rows)], np.float32) if scores is None
              else plain_arrays.numbers(scores, where).reshape(-1))
    if len(scores) != len(rows):
      raise errors.InputError(
          f"{where}: expected a score for each of {len(rows)} boxes. "
          f"Received: {len(scores)}.")
    with np.errstate(over="ignore", invalid="ignore"):  # Checked below.
      boxes = _as_boxes(rows, self.order, self.unit, height, width)
      scores = np.asarray(scores, np.float32)
      good = _good(boxes, height, width) & np.isfinite(scores)
      if not np.all(good):
        worst = int(np.argmin(good))
        raise errors.InputError(
            _fault(boxes[worst], scores[worst], worst, height, width, where)
            + self._other_order(rows, height, width))
    order = np.argsort(-scores, kind="stable")
    return box_ops.clip(boxes)[order], scores[order]

  def _other_order(self, rows, height, width):
    """Names another order in which all boxes are within the image, if any."""
    for order in ORDERS:
      if order != self.order and np.all(_good(
          _as_boxes(rows, order, self.unit, height, width), height, width)):
        return (f" Read as {_ORDER_WORDS[order]}, all boxes of the image are "
                f"within: --proposals_order={order}.")
    return ""


@dataclasses.dataclass(frozen=True)
class Extract:
  """What a file has of one image, to be handed to another process.

  Attributes:
    layout: `Layout` of the file.
    entry: (boxes [n, 4], scores [n] or None), as in the file; None for none.
    fault: why there is no entry.
  """
  layout: Layout
  entry: tuple = None
  fault: str = ""

  def lookup(self, image_id, height, width):
    """As `ProposalFile.lookup`."""
    if self.entry is None:
      raise errors.InputError(self.fault)
    return self.layout.read(image_id, self.entry, height, width)


class ProposalFile:
  """The proposals of many images, looked up one at a time.

  Attributes:
    by_order: whether images are matched by order, because there are no names.
  """

  def __init__(self, image_ids, entries, layout, by_order=False):
    """Wraps the content of a file; use `open_file`.

    Args:
      image_ids: K names.
      entries: sequence of K (boxes [n, 4], scores [n] or None).
      layout: `Layout`.
      by_order: whether `image_ids` are those of the split, in its order,
        because the file has no names.
    """
    self._names = proposal_names.Names(layout.path, image_ids)
    self._entries = entries
    self._layout = layout
    self.by_order = by_order

  def __len__(self):
    return len(self._names)

  @property
  def names(self):
    """The file's `proposal_names.Names`."""
    return self._names

  def describe(self):
    """Describes how the file is read, for the user to check."""
    order = self._layout.order
    return (f"boxes are read as {_ORDER_WORDS[order]} (--proposals_order="
            f"{order}), {_UNIT_WORDS[self._layout.unit]}")

  def lookup(self, image_id, height, width):
    """Proposals of one image; see `Layout.read`.

    Raises:
      errors.InputError: no such image in the file, or as `Layout.read`.
    """
    return self._layout.read(
        image_id, self._entries[self._names.place(image_id)], height, width)

  def extract(self, image_id):
    """The `Extract` of an image, which has the same `lookup`."""
    try:
      entry = self._entries[self._names.place(image_id)]
    except errors.InputError as error:
      return Extract(self._layout, fault=str(error))
    return Extract(self._layout, entry)


def open_file(path, *, order=None, image_ids=None):
  """Opens a file of proposals.

  Args:
    path: path of a `.npz`, `.mat` or `.pkl` file, or of a folder of `.mat`
      files.
    order: order of the four numbers of a box, one of `ORDERS`; None for that of
      the file's layout.
    image_ids: image ids of the split, in its order, for files without names.

  Returns:
    A `ProposalFile`.

  Raises:
    errors.InputError: the file is missing, of another type or layout, or has
      neither names nor an order and none was given.
  """
  ids, entries, own_order, unit = _read(path)
  order = order or own_order
  if order is None:
    raise errors.InputError(
        f"{path}: expected --proposals_order={'|'.join(ORDERS)}, the order of "
        "the four numbers of a box, which this layout does not fix. "
        "Received: none.")
  by_order = ids is None
  if by_order:
    if image_ids is None or len(image_ids) != len(entries):
      raise errors.InputError(
          f"{path}: expected proposals of as many images as the split has, "
          "because the file has no names and only the order can match them. "
          f"Received: {len(entries)} and "
          f"{'no split' if image_ids is None else len(image_ids)}.")
    ids = image_ids
  return ProposalFile(ids, entries, Layout(path, order, unit), by_order)


def open_whole(settings):
  """Opens the file of a conversion, if it takes memory to have it open.

  One process opens it then, and hands the others an `Extract` of each image.

  Args:
    settings: a `proposals.Settings`.

  Returns:
    A `ProposalFile`; None for a folder, whose files are read one by one, and
    for proposals that are not in a file.

  Raises:
    errors.InputError: as `open_file`.
  """
  if settings.method != "file" or os.path.isdir(settings.file):
    return None
  return open_file(
      settings.file, order=settings.order, image_ids=settings.image_ids)


def match(path, image_ids, *, order=None):
  """Checks a file of proposals against a split before a conversion.

  Args:
    path: as in `open_file`.
    image_ids: ids of all images of the split, in its order.
    order: as in `open_file`.

  Returns:
    A line that describes for the user how the file is read; and `image_ids` for
    `open_file`, None if the file has names.

  Raises:
    errors.InputError: as `open_file`; the file has none of the images; or two
      images would get the same proposals.
  """
  file = open_file(path, order=order, image_ids=image_ids)
  found = file.names.check_split(image_ids)
  line = f"{path}: proposals of {len(file)} images, {found} of the split's "
  line += f"{len(image_ids)}; {file.describe()}"
  if not file.by_order or not image_ids:
    return line + ".", None
  return (f"{line}; images are matched by their order, "
          f"{texts.shown(image_ids[0])} to {texts.shown(image_ids[-1])}."
         ), tuple(image_ids)


def _read(path):
  """Returns image ids or None, entries, order or None, and unit."""
  if places.isdir(path):
    return proposal_matlab.read_folder(path)
  extension = os.path.splitext(path)[1].lower()
  readers = {".npz": proposal_npz.read, ".mat": proposal_matlab.read,
             ".pkl": proposal_pickles.read, ".pickle": proposal_pickles.read}
  if extension not in readers:
    raise errors.InputError(
        f"{path}: expected proposals as .npz, .mat or .pkl, or a folder of "
        f".mat files. Received: {extension or 'no extension'}.")
  if not places.isfile(path):
    raise errors.InputError(
        f"{path}: expected a file of proposals. Received: no such file.")
  return readers[extension](path)


def _as_boxes(rows, order, unit, height, width):
  """Converts rows of a file to [n, 4] boxes, without checks."""
  inclusive = unit in ("inclusive", "matlab")
  if order == "yxyx":
    rows = rows[:, [1, 0, 3, 2]]
  elif order == "xywh":
    rows = np.concatenate(
        [rows[:, :2], rows[:, :2] + rows[:, 2:] - inclusive], axis=1)
  if inclusive:
    return box_ops.from_inclusive_pixels(
        rows, height, width, first=int(unit == "matlab"))
  sides = [1, 1, 1, 1] if unit == "fraction" else [width, height] * 2
  return (rows / np.array(sides))[:, [1, 0, 3, 2]].astype(np.float32)


def _good(boxes, height, width):
  """[n] bool: whether each box has an area and is within the image."""
  slack = _TOLERANCE_PIXELS / np.array([height, width])
  return (np.all(np.isfinite(boxes), axis=1)
          & np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
          & np.all(boxes[:, :2] >= -slack, axis=1)
          & np.all(boxes[:, 2:] <= 1 + slack, axis=1))


def _fault(box, score, place, height, width, where):
  ymin, xmin, ymax, xmax = box_ops.to_pixels(box, height, width)[0]
  return (
      f"{where}: expected boxes (ymin, xmin, ymax, xmax) within {height} x "
      f"{width} pixels. Received: box {place + 1} = ({ymin:.1f}, {xmin:.1f},"
      f" {ymax:.1f}, {xmax:.1f}) pixels, score {score:g}.")
