"""The part of a file of proposals that belongs to a shard, as a file.

An `.npz` of `boxes-0`, `scores-0` and so on, of the types of the original file,
and of a text of JSON with its layout and the images that it does not have.
"""

import dataclasses
import json

import numpy as np

from kdwsd import files
from kdwsd import places
from kdwsd.data import proposal_files

_NOTE, _BOXES, _SCORES = "note", "boxes-{}", "scores-{}"


def write(path, extracts):
  """Writes a file, atomically.

  Args:
    path: path that ends in `.npz`.
    extracts: list of `proposal_files.Extract` of one file, not empty.
  """
  arrays = {_NOTE: np.array(json.dumps({
      "layout": dataclasses.asdict(extracts[0].layout),
      "faults": [extract.fault for extract in extracts]}))}
  for number, extract in enumerate(extracts):
    if extract.entry is not None:
      boxes, scores = extract.entry
      arrays[_BOXES.format(number)] = boxes
      if scores is not None:
        arrays[_SCORES.format(number)] = scores
  with files.atomic_path(path) as temporary:
    np.savez(temporary, **arrays)


def read(path):
  """Yields the `Extract`s that `write` was given; each is read when drawn."""
  with places.open_bytes(path) as file, np.load(
      file, allow_pickle=False) as arrays:
    note = json.loads(str(arrays[_NOTE]))
    layout = proposal_files.Layout(**note["layout"])
    for number, fault in enumerate(note["faults"]):
      boxes, scores = _BOXES.format(number), _SCORES.format(number)
      yield proposal_files.Extract(layout, fault=fault, entry=(
          arrays[boxes], arrays[scores] if scores in arrays else None
      ) if boxes in arrays else None)
