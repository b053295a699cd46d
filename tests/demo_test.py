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
