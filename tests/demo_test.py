"""The demo's data set."""

from unittest import mock

import cv2
import pytest

from kdwsd import demo
from kdwsd import errors
from kdwsd.data import record_files
from kdwsd.data import records


def test_opencv_without_edge_boxes_is_told_before_anything_is_drawn(tmp_path):
  with mock.patch.object(cv2, "ximgproc", object()):
    with pytest.raises(errors.InputError, match="To repair it: "):
      demo.make_data(str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


def test_splits_are_other_scenes(tmp_path):
  data = demo.make_data(str(tmp_path), num_scenes=13)
  ids = {}
  for split in ("trainval", "validation", "test"):
    found = records.read_labelled_images(
        list(record_files.open_split(data, split).paths), 6)
    ids[split] = {image.image_id for image in found}
  assert [len(ids[split]) for split in ids] == [9, 2, 2]
  assert len(set.union(*ids.values())) == 13


@pytest.mark.parametrize("changed", [{"num_scenes": 7}, {"seed": 1}])
def test_other_scenes_are_not_drawn_over_those_of_a_run(tmp_path, changed):
  given = {"num_scenes": 6, "seed": 0}
  demo.make_data(str(tmp_path), **given)
  with pytest.raises(errors.InputError, match="and --seed: .* 6 and 0"):
    demo.make_data(str(tmp_path), **{**given, **changed})
  demo.make_data(str(tmp_path), **given)
