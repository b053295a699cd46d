"""Tests of kdwsd.data.objectness."""

from unittest import mock

import pytest

from kdwsd import errors
from kdwsd.data import objectness
from tests.data import fake_records


def _said(tmp_path, score, *, num_images=2, **factors):
  record_set = fake_records.write(
      str(tmp_path), "train", num_images, objectness=score)
  with mock.patch.object(objectness.logging, "warning") as warned:
    objectness.check(record_set, **{"scale": 1.0, "bias": 0.0, **factors})
  return [call[0][0] % call[0][1:] for call in warned.call_args_list]


@pytest.mark.parametrize("score, factors", [
    (1.0, {}), (0.25, {}), (0.0, {"bias": 1.0}), (-0.5, {"bias": 1.0}),
    (-3.0, {"scale": 0.0, "bias": 1.0})])
def test_factors_above_0_are_fine(tmp_path, score, factors):
  assert _said(tmp_path, score, **factors) == []


@pytest.mark.parametrize("score, factors", [
    (0.0, {}), (-1.0, {"bias": 1.0}), (1.0, {"scale": 0.0})])
def test_factors_of_0_are_refused(tmp_path, score, factors):
  with pytest.raises(errors.InputError, match="0 for all 12 proposals"):
    _said(tmp_path, score, **factors)


def test_negative_factors_are_told(tmp_path):
  said, = _said(tmp_path, -0.5)
  assert "less for 100.0 % of them, least -0.5" in said


def test_split_without_proposals_is_fine(tmp_path):
  assert _said(tmp_path, 0.0, num_images=0) == []
