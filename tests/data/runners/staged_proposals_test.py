"""Tests of staged proposals: what a worker reads is what the file has."""

import os
import pickle

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.data import proposal_files
from kdwsd.data import proposals
from kdwsd.data import sources
from kdwsd.data.runners import local
from kdwsd.data.runners import staged_proposals

_BOXES = {
    "a": np.asfortranarray(np.array([[1, 2, 30, 40], [5, 5, 9, 9]], ">f4")),
    "b": np.zeros([0, 4]),
    "c": np.array([[1, 2, 3, 4]], np.int16)}


@pytest.fixture(name="settings")
def _settings(tmp_path):
  path = tmp_path / "given.pkl"
  path.write_bytes(pickle.dumps({
      **_BOXES, "d": {"boxes": _BOXES["a"], "scores": np.array([.1, .7])}}))
  return proposals.Settings(method="file", file=str(path), order="xyxy")


def test_what_is_written_is_read(settings, tmp_path):
  file = proposal_files.open_whole(settings)
  path = str(tmp_path / "part.npz")
  staged_proposals.write(path, [file.extract(name) for name in "dxbca"])
  found = dict(zip("dxbca", staged_proposals.read(path)))
  for name in "dbca":
    for one, other in zip(found[name].lookup(name, 50, 60),
                          file.lookup(name, 50, 60)):
      np.testing.assert_array_equal(one, other)
    assert found[name].entry[0].dtype == file.extract(name).entry[0].dtype
  assert found["a"].entry[1] is None
  messages = []
  for lookup in found["x"].lookup, file.lookup:
    with pytest.raises(errors.InputError) as raised:
      lookup("x", 50, 60)
    messages.append(str(raised.value))
  assert messages[0] == messages[1]


def test_an_extract_has_the_rows_of_its_image_alone(settings):
  extract = proposal_files.open_whole(settings).extract("c")
  assert len(pickle.dumps(extract)) < 1000 + len(settings.file)
  assert extract.lookup("c", 50, 60)[0].shape == (1, 4)


def test_workers_are_handed_the_proposals_of_files_but_not_of_folders(
    settings, tmp_path):
  items = [sources.Item(image_path="", image_id=name, label_ids=())
           for name in "ca"]
  handed = list(local._with_proposals(items, settings))
  assert [item.image_id for item, _ in handed] == ["c", "a"]
  np.testing.assert_array_equal(handed[1][1].entry[0], _BOXES["a"])
  os.mkdir(tmp_path / "folder")
  for other in (proposals.Settings(method="file", file=str(
      tmp_path / "folder")), proposals.Settings()):
    assert list(local._with_proposals(items, other)) == [
        (item,) for item in items]
