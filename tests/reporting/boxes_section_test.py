"""The report's section on the teacher's best boxes."""

import os

import numpy as np
from PIL import Image
import pytest

from kdwsd import errors
from kdwsd.evaluation import summary
from kdwsd.reporting import boxes_section

_KINDS = {"hit": 1, "group": 0, "part": 2, "around": 0, "elsewhere": 1}


def _read(workdir, kinds, picture=b""):
  directory = os.path.join(workdir, "wsd", "evaluation", "test")
  if picture:
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, summary.LOCALIZATION), "wb") as file:
      file.write(picture)
  return boxes_section.read(str(workdir), "test", {
      "cls": {}, "wsd": {"corloc": {"split": "trainval", "kinds": kinds}}})


def test_shares_are_of_all_boxes(tmp_path):
  section = _read(tmp_path, _KINDS)
  assert section.split == "trainval" and section.jpeg is None
  shares = [(kind, share) for kind, (share, _) in section.rows]
  assert shares == [("hit", "25.0 %"), ("group", "0.0 %"), ("part", "50.0 %"),
                    ("around", "0.0 %"), ("elsewhere", "25.0 %")]


def test_picture_is_made_smaller(tmp_path):
  path = tmp_path / "large.png"
  Image.fromarray(np.zeros([600, 2400, 3], np.uint8)).save(path)
  section = _read(tmp_path, _KINDS, path.read_bytes())
  assert (section.width, section.height) == (1200, 300)
  assert section.jpeg.startswith(b"\xff\xd8")


def test_a_teacher_without_kinds_has_no_section(tmp_path):
  assert _read(tmp_path, None) is None
  assert boxes_section.read(str(tmp_path), "test", {"cls": {}}) is None
  assert boxes_section.read(
      str(tmp_path), "test", {"wsd": {"corloc": None}}) is None


def test_damaged_files_are_told(tmp_path):
  for kinds in ({"hit": 1}, {**_KINDS, "hit": -1}, {**_KINDS, "hit": "x"}, []):
    with pytest.raises(errors.InputError, match="metrics.json: corloc.kinds"):
      _read(tmp_path, kinds)
  with pytest.raises(errors.InputError, match="localization.png: expected a"):
    _read(tmp_path, _KINDS, b"no picture")
