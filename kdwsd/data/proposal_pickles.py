"""Reads proposals from `.pkl` files in the layouts of PyTorch detectors.

There are four layouts, each for K images:

- `{"boxes": K arrays [n, 4], "scores": K arrays [n], "indexes" or "ids": K
  names or numbers}`: xmin, ymin, xmax, ymax, pixels counted from 0, both ends
  inside. Source: facebookresearch/Detectron, tools/convert_selective_search.py,
  which subtracts 1 from MATLAB's (y1, x1, y2, x2) and exchanges x and y; PCL
  and its successors read the same.
- the same with `objectness_logits` instead of `scores`, optionally `bbox_mode`:
  xmin, ymin, xmax, ymax, or x, y, width, height; edges counted from 0. Source:
  facebookresearch/detectron2, detectron2/data/build.py,
  `load_proposals_into_dataset`. If all numbers are integers, they are read as
  pixels as above, because such files are often converted from Selective
  Search's boxes as for Detectron.
- `{name or number: array [n, 4], or [n, 5] with the score}`, or with
  `{"boxes": ..., "scores": ...}` instead of the array.
- `[array [n, 4] or [n, 5], ...]`, in the order of the images.

The last two do not define the order of the four numbers, so it must be given.
"""

import contextlib

import numpy as np

from kdwsd import errors
from kdwsd.data import pickled_arrays
from kdwsd.data import texts

_IDS = ("indexes", "ids", "image_ids", "indices")
_SCORES = ("scores", "objectness_logits")
_MODES = {0: "xyxy", 1: "xywh"}  # detectron2's BoxMode; others are rotated.


def read(path):
  """Reads a file.

  Args:
    path: path of a `.pkl` file.

  Returns:
    Image ids, a list of text, or None if images are matched by order; a list of
    (boxes [n, 4], scores [n] or None); the order of the numbers of a box: xyxy,
    xywh, or None if it must be given; and their unit: "inclusive" for pixels
    from 0, both ends inside, or "pixel" for edges.

  Raises:
    errors.InputError: the file has none of the layouts above.
  """
  content = pickled_arrays.read(
      path, "a pickle of NumPy arrays and plain containers")
  order, unit = None, "inclusive"
  if isinstance(content, dict) and "boxes" in content:
    mode = content.get("bbox_mode", 0)
    order = _MODES.get(mode) if type(mode) is int else None
    if order is None:
      raise errors.InputError(
          f"{path}: expected a bbox_mode of 0 or 1. Received: "
          f"{_described(mode)}.")
    image_ids, entries = _columns(content, path)
    if order == "xywh" or "objectness_logits" in content and not _all_whole(
        entries):
      unit = "pixel"
  elif isinstance(content, dict) and content:
    image_ids = [_name(one, path) for one in content]
    entries = [_entry(one, f"{path}: image {texts.quoted(name)}")
               for name, one in zip(image_ids, content.values())]
  elif isinstance(content, list) and content:
    image_ids = None
    entries = [_entry(one, f"{path}: entry {place}")
               for place, one in enumerate(content)]
  else:
    raise errors.InputError(
        f"{path}: expected a dict with boxes, scores and indexes or ids, a "
        "dict with one array per image, or a list of them. Received: "
        f"{_described(content)}.")
  if any(map(len, (boxes for boxes, _ in entries))) and _all_fractions(entries):
    raise errors.InputError(
        f"{path}: expected boxes in pixels. Received: no number above 1, as if "
        "boxes were fractions; write those as .npz with unit=fraction.")
  return image_ids, entries, order, unit


def _all_whole(entries):
  with np.errstate(invalid="ignore"):  # Infinite values are refused later.
    return not any(np.any(boxes % 1) for boxes, _ in entries)


def _all_fractions(entries):
  with np.errstate(invalid="ignore"):
    return not any(boxes.max(initial=0) > 1 for boxes, _ in entries)


def _columns(content, path):
  """Ids and entries of a dict of lists with one item per image."""
  columns = {}
  for names in (("boxes",), _IDS, _SCORES):
    there = [name for name in names if name in content]
    if len(there) > 1:
      raise errors.InputError(
          f"{path}: expected one of {', '.join(names)}. Received: "
          f"{' and '.join(there)}.")
    column = content[there[0]] if there else None
    if there and not isinstance(column, (list, np.ndarray)):
      raise errors.InputError(
          f"{path}: expected a list under {there[0]}. Received: "
          f"{_described(column)}.")
    columns[names[0]] = column
  boxes, ids, scores = columns.values()
  lengths = {name: len(np.atleast_1d(column)) if isinstance(
      column, np.ndarray) else len(column)
             for name, column in columns.items() if column is not None}
  if len(set(lengths.values())) != 1:
    raise errors.InputError(
        f"{path}: expected lists of equal length. Received: {lengths}.")
  image_ids = None if ids is None else [
      _name(one, path) for one in (
          ids.reshape(-1).tolist() if isinstance(ids, np.ndarray) else ids)]
  names = image_ids or range(len(boxes))
  entries = []
  for place, name in enumerate(names):
    where = f"{path}: image {texts.quoted(name)}"
    entries.append((
        _matrix(boxes[place], (4,), where),
        None if scores is None else _vector(scores[place], where)))
  return image_ids, entries


def _entry(value, where):
  """Boxes and scores of one image."""
  if isinstance(value, dict):
    if "boxes" not in value:
      raise errors.InputError(
          f"{where}: expected boxes. Received: {_described(value)}.")
    return (_matrix(value["boxes"], (4,), where),
            _vector(value["scores"], where) if "scores" in value else None)
  rows = _matrix(value, (4, 5), where)
  return rows[:, :4], rows[:, 4] if rows.shape[1] == 5 else None


def _matrix(value, widths, where):
  """An array [n, width] of numbers, from an array or a list of rows."""
  if isinstance(value, (list, tuple)) and all(
      isinstance(row, (list, tuple, np.ndarray)) and len(
          np.shape(row) if isinstance(row, np.ndarray) else (0,)) == 1
      and len(row) == len(value[0]) and len(row) in widths
      and all(map(_is_number, row)) for row in value):
    value = np.array(value, np.float64)
  if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
    if value.size == 0:
      return np.zeros([0, 4])
    if value.ndim == 2 and value.shape[1] in widths:
      return value
  raise errors.InputError(
      f"{where}: expected boxes as [n, {' or '.join(map(str, widths))}] "
      f"numbers. Received: {_described(value)}.")


def _vector(value, where):
  """An array [n] of numbers."""
  if isinstance(value, (list, tuple)) and all(map(_is_number, value)):
    value = np.array(value, np.float64)
  if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
    return value.reshape(-1)
  raise errors.InputError(
      f"{where}: expected a score for each box. Received: {_described(value)}.")


def _is_number(value):
  return (isinstance(value, (int, float, np.number))
          and not isinstance(value, bool) and abs(value) < 1e300)


def _name(value, path):
  """An image id as text."""
  if isinstance(value, np.ndarray) and value.size == 1:
    value = value.reshape(-1)[0].item()
  if isinstance(value, bytes):
    with contextlib.suppress(UnicodeDecodeError):
      value = value.decode("utf-8")
  if type(value) is int and abs(value) < 10 ** 30:
    return str(value)
  if isinstance(value, str):
    return value
  raise errors.InputError(
      f"{path}: expected image ids as names or integers. Received: "
      f"{_described(value)}.")


def _described(value):
  """A short description of any value in a pickle, for messages."""
  if isinstance(value, np.ndarray):
    return f"{list(value.shape)} {value.dtype}"
  if isinstance(value, dict):
    names = [name for name in list(value)[:8] if isinstance(name, str)]
    return (f"a dict of {len(value)}: "
            + ", ".join(texts.shown(name, 40) for name in names))
  if isinstance(value, (list, tuple)):
    return f"a list of {len(value)}"
  if isinstance(value, int) and abs(value) >= 10 ** 30:
    return "a number of more than 30 digits"
  return texts.quoted(value)
