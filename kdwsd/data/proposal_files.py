"""Proposals that people bring: .npz in our layout, .mat as shared for VOC.

The layout of a `.npz` file, written by `write` or by `numpy.savez`:

- `image_ids`, [K] text: as in the data set; folder and extension may differ
  where the name alone is unique.
- `counts`, [K] integers: proposals of each image, N in all.
- `boxes`, [N, 4]: ymin, xmin, ymax, xmax, image after image.
- `scores`, [N]: objectness; 1 for all where the array is missing.
- `unit`, text: `fraction` of the image's sides, the default, or `pixel`, edges
  counted from 0.

The `.mat` files hold cells: `images` of names, `boxes` of [n, 4] (ymin, xmin,
ymax, xmax) pixels counted from 1, both ends inside, and perhaps `boxScores` of
[n]. So are Selective Search's files for Fast R-CNN (`voc_2007_trainval.mat`,
R. Girshick) and EdgeBoxes' for WSDDN (`EdgeBoxesVOC2007trainval.mat`, H.
Bilen). Both MATLAB's older formats and 7.3, which is HDF5, are read. Nothing
here unpickles.
"""

import os

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd import files
from kdwsd.data import matlab_files
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_UNITS = ("fraction", "pixel")

# Boxes that were rounded may stick out by a pixel; they are clipped.
_TOLERANCE_PIXELS = 1.0


class ProposalFile:
  """The proposals of many images, looked up one at a time."""

  def __init__(self, path, image_ids, boxes, scores, unit):
    """Takes what a file holds; use `open_file`.

    Args:
      path: of the file, for messages.
      image_ids: K names.
      boxes: K arrays [n, 4], in the order of `image_ids`.
      scores: K arrays [n], or None where the file has none.
      unit: "fraction", "pixel", or "matlab" (from 1, both ends inside).
    """
    self._path = path
    self._boxes = boxes
    self._scores = scores
    self._unit = unit
    self._places = {}
    self._stems = {}  # To a place, or to None where several share the stem.
    for place, image_id in enumerate(image_ids):
      if self._places.setdefault(image_id, place) != place:
        raise errors.InputError(
            f"{path}: expected each image once. Received: "
            f"{texts.quoted(image_id)} twice.")
      stem = _stem(image_id)
      self._stems[stem] = None if stem in self._stems else place

  def __len__(self):
    return len(self._places)

  def lookup(self, image_id, height, width):
    """Proposals of one image.

    Args:
      image_id: as in the data set.
      height: of the image, pixels.
      width: likewise.

    Returns:
      boxes [N, 4] float32 and scores [N] float32, best first; equal scores
      keep the order of the file.

    Raises:
      errors.InputError: no such image in the file, or a box that is empty,
        outside the image or not a number.
    """
    place = self._places.get(image_id, self._stems.get(_stem(image_id)))
    if place is None:
      raise errors.InputError(
          f"{self._path}: expected proposals of image "
          f"{texts.quoted(image_id)}. Received: none; the file has "
          f"{len(self)} other images"
          f"{self._example()}.")
    where = f"{self._path}: image {texts.quoted(image_id)}"
    boxes = _rows_of_four(self._boxes[place], where)
    scores = (np.ones([len(boxes)], np.float32) if self._scores is None
              else _numbers(self._scores[place], where).reshape(-1))
    if len(scores) != len(boxes):
      raise errors.InputError(
          f"{where}: expected a score for each of {len(boxes)} boxes. "
          f"Received: {len(scores)}.")
    with np.errstate(over="ignore"):  # What gets infinite is refused.
      if self._unit == "matlab":
        boxes = box_ops.from_inclusive_pixels(
            boxes[:, [1, 0, 3, 2]], height, width, first=1)
      elif self._unit == "pixel":
        boxes = boxes / np.array([height, width, height, width])
      boxes, scores = (np.asarray(array, np.float32)
                       for array in (boxes, scores))
      _check(boxes, scores, height, width, where)
    order = np.argsort(-scores, kind="stable")
    return box_ops.clip(boxes)[order], scores[order]

  def _example(self):
    if not self._places:
      return ""
    return f", such as {texts.quoted(next(iter(self._places)))}"


def open_file(path):
  """Opens a file of proposals.

  Args:
    path: of a `.npz` or `.mat` file; see above.

  Returns:
    A `ProposalFile`.

  Raises:
    errors.InputError: missing, of another kind, or not laid out as above.
  """
  extension = os.path.splitext(path)[1].lower()
  if extension not in (".npz", ".mat"):
    raise errors.InputError(
        f"{path}: expected proposals as .npz or .mat. Received: "
        f"{extension or 'no extension'}.")
  if not os.path.isfile(path):
    raise errors.InputError(
        f"{path}: expected a file of proposals. Received: no such file.")
  return _open_npz(path) if extension == ".npz" else _open_mat(path)


def write(path, proposals):
  """Writes a `.npz` file, atomically.

  Args:
    path: ending in `.npz`.
    proposals: dict of image id to (boxes [n, 4], fractions, and scores [n]).
  """
  boxes = [np.asarray(b, np.float32).reshape(-1, 4)
           for b, _ in proposals.values()]
  scores = [np.asarray(s, np.float32).reshape(-1)
            for _, s in proposals.values()]
  with files.atomic_path(path) as temporary:
    np.savez_compressed(
        temporary, image_ids=np.array(list(proposals), np.str_),
        counts=np.array([len(b) for b in boxes], np.int64),
        boxes=np.concatenate([np.zeros([0, 4], np.float32), *boxes]),
        scores=np.concatenate([np.zeros([0], np.float32), *scores]),
        unit="fraction")


def _open_npz(path):
  arrays = plain_arrays.read(path, "an .npz file of plain arrays")
  missing = {"image_ids", "counts", "boxes"} - set(arrays)
  if missing:
    raise errors.InputError(
        f"{path}: expected arrays image_ids, counts and boxes. Received: "
        f"{texts.shown(', '.join(sorted(arrays))) or 'none'}.")
  image_ids = _names(arrays["image_ids"], path)
  counts = arrays["counts"].reshape(-1)
  boxes = _rows_of_four(arrays["boxes"], path)
  scores = arrays.get("scores")
  unit = str(arrays.get("unit", "fraction"))
  if unit not in _UNITS:
    raise errors.InputError(
        f"{path}: expected a unit of {' or '.join(_UNITS)}. Received: "
        f"{texts.quoted(unit)}.")
  total = None  # Of Python's own integers, which do not wrap around.
  if np.issubdtype(counts.dtype, np.integer):
    total = sum(counts.tolist())
  if not (total == len(boxes) and len(counts) == len(image_ids)
          and np.all(counts >= 0)
          and (scores is None or scores.shape == (len(boxes),))):
    raise errors.InputError(
        f"{path}: expected a count for each of {len(image_ids)} images, their "
        "sum as many boxes, and as many scores. Received: "
        f"{len(counts)} counts with sum {total}, {len(boxes)} boxes"
        + ("." if scores is None else f", scores {list(scores.shape)}."))
  ends = np.cumsum(counts)[:-1]
  return ProposalFile(
      path, image_ids, np.split(boxes, ends) if len(counts) else [],
      None if scores is None else
      (np.split(scores, ends) if len(counts) else []), unit)


def _names(array, path):
  """Image ids as a list of text."""
  array = array.reshape(-1)
  try:
    if array.dtype.kind == "S":
      return [name.decode("utf-8") for name in array.tolist()]
    if array.dtype.kind in "Uiu":
      return [str(name) for name in array.tolist()]
  except UnicodeDecodeError:
    pass
  raise errors.InputError(
      f"{path}: expected image_ids as text. Received: {array.dtype}.")


def _open_mat(path):
  cells = matlab_files.read_cells(path, ("images", "boxes", "boxScores"))
  missing = {"images", "boxes"} - set(cells)
  if missing:
    raise errors.InputError(
        f"{path}: expected cells named images and boxes. Received: no "
        f"{' and no '.join(sorted(missing))}.")
  scores = cells.get("boxScores")
  lengths = {name: len(cell) for name, cell in cells.items()}
  if len(set(lengths.values())) != 1:
    raise errors.InputError(
        f"{path}: expected cells of one length. Received: {lengths}.")
  return ProposalFile(path, cells["images"], cells["boxes"], scores, "matlab")


def _rows_of_four(array, where):
  array = np.asarray(array)
  if array.size == 0:
    return np.zeros([0, 4])
  if array.ndim != 2 or array.shape[1] != 4:
    raise errors.InputError(
        f"{where}: expected boxes as [n, 4] numbers. Received: "
        f"{list(array.shape)} {array.dtype}.")
  return _numbers(array, where)


def _numbers(array, where):
  """An array as float64; complex numbers, truth values and text are refused."""
  array = np.asarray(array)
  if array.dtype.kind not in "iuf":
    raise errors.InputError(
        f"{where}: expected numbers. Received: {list(array.shape)} "
        f"{array.dtype}.")
  return array.astype(np.float64)


def _check(boxes, scores, height, width, where):
  """Raises `errors.InputError` for the first box that cannot be one."""
  slack = _TOLERANCE_PIXELS / np.array([height, width])
  good = (np.isfinite(scores)
          & np.all(np.isfinite(boxes), axis=1)
          & np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
          & np.all(boxes[:, :2] >= -slack, axis=1)
          & np.all(boxes[:, 2:] <= 1 + slack, axis=1))
  if not np.all(good):
    worst = int(np.argmin(good))
    ymin, xmin, ymax, xmax = box_ops.to_pixels(boxes[worst], height, width)[0]
    raise errors.InputError(
        f"{where}: expected boxes (ymin, xmin, ymax, xmax) within {height} x "
        f"{width} pixels. Received: box {worst + 1} = ({ymin:.1f}, {xmin:.1f},"
        f" {ymax:.1f}, {xmax:.1f}) pixels, score {scores[worst]:g}.")


def _stem(image_id):
  """What is the same in `JPEGImages/000005.jpg` and `000005`."""
  name = os.path.basename(image_id.strip().replace("\\", "/"))
  stem, extension = os.path.splitext(name)
  known = (".jpg", ".jpeg", ".png", ".bmp")
  return stem if extension.lower() in known else name
