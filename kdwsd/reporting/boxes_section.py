"""What the teacher's best boxes are: counts and a picture, for the report."""

import dataclasses
import os
from typing import Optional

import numpy as np
from PIL import Image

from kdwsd import errors
from kdwsd.evaluation import localization
from kdwsd.evaluation import summary
from kdwsd.evaluation import table
from kdwsd.reporting import comparison
from kdwsd.reporting import gallery

_SIDE = 1200  # Of the picture, pixels.


@dataclasses.dataclass(frozen=True)
class BoxesSection:
  """The section.

  Attributes:
    split: of the images.
    rows: list of (kind, [share in percent as text, description]).
    jpeg: bytes of the picture; None without one.
    width: of the picture, pixels.
    height: of the picture, pixels.
  """
  split: str
  rows: list
  jpeg: Optional[bytes] = None
  width: int = 0
  height: int = 0


def read(workdir, split, metrics):
  """Reads the section from the teacher's evaluation.

  Args:
    workdir: work directory of the chain.
    split: evaluated split.
    metrics: {stage: metrics}, see `comparison.read_metrics`.

  Returns:
    `BoxesSection`; None where CorLoc was not measured, or by a version that
    did not count kinds.

  Raises:
    errors.InputError: the picture or the counts are invalid.
  """
  directory = comparison.evaluation_directory(
      workdir, comparison.TEACHER, split)
  corloc = metrics.get(comparison.TEACHER, {}).get("corloc") or {}
  kinds = corloc.get("kinds")
  if kinds is None:
    return None
  if not isinstance(kinds, dict) or set(kinds) != set(localization.KINDS) or (
      not all(type(count) is int and count >= 0 for count in kinds.values())):
    raise errors.InputError(
        f"{os.path.join(directory, summary.METRICS)}: corloc.kinds: expected "
        f"a count for each of {', '.join(localization.KINDS)}. Received: "
        f"{kinds!r:.100}.")
  total = max(sum(kinds.values()), 1)
  section = BoxesSection(str(corloc.get("split", split)), [
      (kind, [f"{table.percent(kinds[kind] / total)} %", text])
      for kind, text in localization.KINDS.items()])
  path = os.path.join(directory, summary.LOCALIZATION)
  if not os.path.exists(path):
    return section
  try:
    with Image.open(path) as picture:
      pixels = np.asarray(picture.convert("RGB"))
  except (OSError, ValueError, Image.DecompressionBombError) as error:
    raise errors.InputError(
        f"{path}: expected a picture, which `python -m kdwsd.evaluate` writes "
        f"again. Received: {error}.") from error
  jpeg, (width, height) = gallery.thumbnail(pixels, _SIDE)
  return dataclasses.replace(section, jpeg=jpeg, width=width, height=height)
