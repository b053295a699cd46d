"""The demo's data set."""

from unittest import mock

import cv2
import pytest

from kdwsd import demo
from kdwsd import errors


def test_opencv_without_edge_boxes_is_told_before_anything_is_drawn(tmp_path):
  with mock.patch.object(cv2, "ximgproc", object()):
    with pytest.raises(errors.InputError, match="To repair it: "):
      demo.make_data(str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changed", [{"num_train": 3}, {"seed": 1}])
def test_other_scenes_are_not_drawn_over_those_of_a_run(tmp_path, changed):
  given = {"num_train": 2, "num_test": 1, "seed": 0}
  demo.make_data(str(tmp_path), **given)
  with pytest.raises(errors.InputError, match="and --seed: .* 3 and 0"):
    demo.make_data(str(tmp_path), **{**given, **changed})
  demo.make_data(str(tmp_path), **given)
