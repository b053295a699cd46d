"""Reads and writes proposals as `.npz`, the package's own layout.

Written by `write` or by `numpy.savez`:

- `image_ids`, [K] text or numbers: as in the data set; `proposal_names`
  describes allowed differences.
- `counts`, [K] integers: proposals of each image, N in all.
- `boxes`, [N, 4]: ymin, xmin, ymax, xmax, image after image.
- `scores`, [N]: objectness; 1 for all if the array is missing.
- `unit`, text: `fraction` of the image's sides, the default, or `pixel`, edges
  counted from 0.
"""

import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_UNITS = ("fraction", "pixel")


def read(path):
  """Reads a file.

  Args:
    path: path of a `.npz` file.

  Returns:
    Image ids; a list of (boxes [n, 4], scores [n] or None); the order of the
    numbers of a box; and their unit.

  Raises:
    errors.InputError: the file does not have the layout above.
  """
  arrays = plain_arrays.read(path, "an .npz file of plain arrays")
  missing = {"image_ids", "counts", "boxes"} - set(arrays)
  if missing:
    raise errors.InputError(
        f"{path}: expected arrays image_ids, counts and boxes. Received: "
        f"{texts.shown(', '.join(sorted(arrays))) or 'none'}.")
  image_ids = _names(arrays["image_ids"], path)
  counts = arrays["counts"].reshape(-1)
  boxes = plain_arrays.four_columns(arrays["boxes"], path)
  scores = arrays.get("scores")
  unit = str(arrays.get("unit", "fraction"))
  if unit not in _UNITS:
    raise errors.InputError(
        f"{path}: expected a unit of {' or '.join(_UNITS)}. Received: "
        f"{texts.quoted(unit)}.")
  total = None  # A Python integer, which cannot overflow.
  if np.issubdtype(counts.dtype, np.integer):
    total = sum(counts.tolist())
  if not (total == len(boxes) and len(counts) == len(image_ids)
          and np.all(counts >= 0)
          and (scores is None or scores.shape == (len(boxes),))):
    raise errors.InputError(
        f"{path}: expected a count for each of {len(image_ids)} images, and as "
        "many boxes and scores as their sum. Received: "
        f"{len(counts)} counts with sum {total}, {len(boxes)} boxes"
        + ("." if scores is None else f", scores {list(scores.shape)}."))
  edges = np.cumsum(counts)[:-1]
  parts = [np.split(array, edges) if len(counts) else []
           for array in (boxes, scores) if array is not None]
  if scores is None:
    parts.append([None] * len(counts))
  return image_ids, list(zip(*parts)), "yxyx", unit


def write(path, proposals):
  """Writes a `.npz` file, atomically.

  Args:
    path: path that ends in `.npz`.
    proposals: dict of image id to (boxes [n, 4] in fractions, scores [n]).
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
