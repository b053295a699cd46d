"""Reads proposals in `.mat` files of Selective Search, EdgeBoxes and MCG.

The names of the variables identify the layout. In the first and the last one,
boxes are ymin, xmin, ymax, xmax in pixels counted from 1, both ends inside:

- cells `images`, of names, and `boxes`, optionally `boxScores`: Selective
  Search's files for Fast R-CNN (`voc_2007_trainval.mat`, R. Girshick) and
  EdgeBoxes' for WSDDN (`EdgeBoxesVOC2007trainval.mat`, H. Bilen).
- a cell `all_boxes` or `boxes` without `images`, in the order of the images,
  [n, 4], or [n, 5] with the score. Variants of the scripts
  selective_search_rcnn.m and edge_boxes_wrapper.m differ in order, origin and
  in whether they write width and height, so the order must be given. Pixels
  count from 1 unless a number is below 1.
- an array `bboxes` or `boxes`, optionally `scores` or `bboxes_scores`: one
  image, with the name of the file. P. Arbelaez et al., "Multiscale
  Combinatorial Grouping", CVPR 2014, share a folder of such files; R.
  Girshick's py-faster-rcnn, lib/datasets/coco.py, reads them as (y1, x1, y2,
  x2) from 1.
"""

import collections.abc
import os

import numpy as np

from kdwsd import errors
from kdwsd import places
from kdwsd.data import matlab_files
from kdwsd.data import texts

_VARIABLES = ("images", "boxes", "all_boxes", "bboxes", "boxScores",
              "scores", "bboxes_scores")


def read(path):
  """Reads a file of any layout.

  Args:
    path: path of a `.mat` file.

  Returns:
    Image ids, or None if the file has no names; a list of (boxes [n, 4], scores
    or None); the order of the numbers of a box, or None if it must be given;
    and their unit.

  Raises:
    errors.InputError: the file has another layout.
  """
  found = matlab_files.read(path, _VARIABLES)
  boxes = [name for name in ("boxes", "all_boxes", "bboxes") if name in found]
  if len(boxes) != 1:
    raise errors.InputError(
        f"{path}: expected boxes, all_boxes or bboxes. Received: "
        f"{' and '.join(boxes) or 'no boxes'}.")
  value, images = found[boxes[0]], found.get("images")
  if isinstance(value, np.ndarray):
    if images is not None:
      raise errors.InputError(
          f"{path}: expected {boxes[0]} to be a cell, as images is. Received: "
          f"an array {list(value.shape)}.")
    stem = os.path.splitext(os.path.basename(path))[0]
    return [stem], [_one_image(found, boxes[0], path)], "yxyx", "matlab"
  cells = {name: found[name] for name in ("images", boxes[0], "boxScores")
           if name in found}
  lengths = {name: len(cell) for name, cell in cells.items()}
  if len(set(lengths.values())) != 1:
    raise errors.InputError(
        f"{path}: expected cells of equal length. Received: {lengths}.")
  scores = cells.get("boxScores", [None] * len(value))
  if isinstance(scores, np.ndarray):
    raise errors.InputError(
        f"{path}: expected boxScores to be a cell. Received: an array "
        f"{list(scores.shape)}.")
  if images is not None and boxes[0] == "boxes":
    return images, list(zip(value, scores)), "yxyx", "matlab"
  entries = [
      (rows[:, :4], rows[:, 4]) if given is None and np.ndim(rows) == 2
      and rows.shape[1] == 5 else (rows, given)
      for rows, given in zip(value, scores)]
  from_0 = any(np.min(rows[:, :2], initial=1) < 1 for rows, _ in entries
               if np.ndim(rows) == 2 and np.asarray(rows).dtype.kind in "iuf")
  return images, entries, None, "inclusive" if from_0 else "matlab"


def read_folder(path):
  """Lists a folder with one file for each image; files are read on access.

  Args:
    path: path of the folder; subfolders are included.

  Returns:
    As `read`, with a sequence that reads each entry from its file on access.

  Raises:
    errors.InputError: the folder has no `.mat` file.
  """
  paths, others = [], 0
  for folder, _, names in sorted(places.walk(path)):
    for name in sorted(names):
      if name.lower().endswith(".mat"):
        paths.append(os.path.join(folder, name))
      else:
        others += 1
  if not paths:
    raise errors.InputError(
        f"{path}: expected a folder with one .mat file per image. Received: "
        f"none, and {others} other files.")
  names = [os.path.relpath(one, path)[:-len(".mat")] for one in paths]
  return names, _Entries(paths), "yxyx", "matlab"


class _Entries(collections.abc.Sequence):
  """Boxes and scores of files, read on access."""

  def __init__(self, paths):
    self._paths = paths

  def __len__(self):
    return len(self._paths)

  def __getitem__(self, place):
    path = self._paths[place]
    found = matlab_files.read(path, _VARIABLES)
    for name in ("bboxes", "boxes"):
      if isinstance(found.get(name), np.ndarray):
        return _one_image(found, name, path)
    raise errors.InputError(
        f"{path}: expected an array bboxes or boxes of one image. Received: "
        f"{texts.shown(', '.join(found)) or 'neither'}.")


def _one_image(found, name, path):
  """Boxes and scores of a file of one image."""
  scores = found.get("scores", found.get("bboxes_scores"))
  if scores is not None and not isinstance(scores, np.ndarray):
    raise errors.InputError(
        f"{path}: expected scores to be an array, as {name} is. Received: a "
        "cell.")
  return found[name], scores
