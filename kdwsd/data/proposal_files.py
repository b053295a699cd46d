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
import zipfile

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd import files

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
            f"{path}: expected each image once. Received: {image_id!r} twice.")
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
          f"{self._path}: expected proposals of image {image_id!r}. Received: "
          f"none; the file has {len(self)} other images"
          f"{self._example()}.")
    where = f"{self._path}: image {image_id!r}"
    boxes = _rows_of_four(self._boxes[place], where)
    scores = (np.ones([len(boxes)], np.float32) if self._scores is None
              else np.asarray(self._scores[place], np.float32).reshape(-1))
    if len(scores) != len(boxes):
      raise errors.InputError(
          f"{where}: expected a score for each of {len(boxes)} boxes. "
          f"Received: {len(scores)}.")
    if self._unit == "matlab":
      boxes = box_ops.from_inclusive_pixels(
          boxes[:, [1, 0, 3, 2]], height, width, first=1)
    elif self._unit == "pixel":
      boxes = boxes / np.array([height, width, height, width])
    boxes = np.asarray(boxes, np.float32)
    _check(boxes, scores, height, width, where)
    order = np.argsort(-scores, kind="stable")
    return box_ops.clip(boxes)[order], scores[order]

  def _example(self):
    return f", such as {next(iter(self._places))!r}" if self._places else ""


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
  try:
    with np.load(path, allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except (OSError, ValueError, EOFError, AttributeError,
          zipfile.BadZipFile) as error:
    raise errors.InputError(
        f"{path}: expected an .npz file of plain arrays. Received: {error}."
    ) from error
  missing = {"image_ids", "counts", "boxes"} - set(arrays)
  if missing:
    raise errors.InputError(
        f"{path}: expected arrays image_ids, counts and boxes. Received: "
        f"{', '.join(sorted(arrays)) or 'none'}.")
  image_ids = [str(i) for i in arrays["image_ids"].reshape(-1)]
  counts = arrays["counts"].reshape(-1)
  boxes = _rows_of_four(arrays["boxes"], path)
  scores = arrays.get("scores")
  unit = str(arrays.get("unit", "fraction"))
  if unit not in _UNITS:
    raise errors.InputError(
        f"{path}: expected a unit of {' or '.join(_UNITS)}. Received: "
        f"{unit!r}.")
  if not (np.issubdtype(counts.dtype, np.integer)
          and len(counts) == len(image_ids) and np.all(counts >= 0)
          and counts.sum() == len(boxes)
          and (scores is None or scores.shape == (len(boxes),))):
    raise errors.InputError(
        f"{path}: expected a count for each of {len(image_ids)} images, their "
        "sum as many boxes, and as many scores. Received: "
        f"{len(counts)} counts with sum {counts.sum()}, {len(boxes)} boxes"
        + ("." if scores is None else f", scores {list(scores.shape)}."))
  ends = np.cumsum(counts)[:-1]
  return ProposalFile(
      path, image_ids, np.split(boxes, ends) if len(counts) else [],
      None if scores is None else
      (np.split(scores, ends) if len(counts) else []), unit)


def _open_mat(path):
  import h5py  # pylint: disable=import-outside-toplevel
  cells = _read_mat73(path) if h5py.is_hdf5(path) else _read_mat5(path)
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


def _read_mat5(path):
  """Cells of a MATLAB 5 to 7 file: names as text, the rest as arrays."""
  from scipy import io  # pylint: disable=import-outside-toplevel
  try:
    content = io.loadmat(
        path, variable_names=("images", "boxes", "boxScores"))
  except Exception as error:  # Whatever a damaged file provokes.
    raise errors.InputError(
        f"{path}: expected a MATLAB file. Received: {error}.") from error
  cells = {}
  for name in ("images", "boxes", "boxScores"):
    if name not in content:
      continue
    if content[name].dtype != object:
      raise errors.InputError(
          f"{path}: expected {name} to be a cell. Received: "
          f"{content[name].dtype} {list(content[name].shape)}.")
    cells[name] = list(content[name].reshape(-1))
  if "images" in cells:
    cells["images"] = [str(np.asarray(i).reshape(-1)[0])
                       if np.size(i) else "" for i in cells["images"]]
  return cells


def _read_mat73(path):
  """Cells of a MATLAB 7.3 file, which is HDF5 with its axes reversed."""
  import h5py  # pylint: disable=import-outside-toplevel
  cells = {}
  try:
    with h5py.File(path, "r") as file:
      for name in ("images", "boxes", "boxScores"):
        if name in file:
          cells[name] = [_transposed(file[reference])
                         for reference in np.asarray(file[name]).reshape(-1)]
  except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
    raise errors.InputError(
        f"{path}: expected a MATLAB 7.3 file with cells images and boxes. "
        f"Received: {error}.") from error
  if "images" in cells:
    cells["images"] = ["".join(map(chr, codes.reshape(-1).astype(int)))
                       for codes in cells["images"]]
  return cells


def _transposed(dataset):
  if dataset.attrs.get("MATLAB_empty", 0):
    return np.zeros([0, 4])  # What is stored instead is the shape.
  return np.asarray(dataset).T


def _rows_of_four(array, where):
  array = np.asarray(array)
  if array.size == 0:
    return np.zeros([0, 4])
  if array.ndim != 2 or array.shape[1] != 4 or not (
      np.issubdtype(array.dtype, np.number)):
    raise errors.InputError(
        f"{where}: expected boxes as [n, 4] numbers. Received: "
        f"{list(array.shape)} {array.dtype}.")
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
