"""Tests of kdwsd.training.repair."""

import os
from unittest import mock

import pytest
import tensorflow as tf

from kdwsd import files
from kdwsd.training import checkpoints
from kdwsd.training import history
from kdwsd.training import repair

_FIGURE = "classification/map"


@pytest.fixture(name="workdir")
def fixture_workdir(tmp_path):
  """Checkpoints of steps 2, 4 and 6; step 4 is the best."""
  workdir = str(tmp_path)
  variable = tf.Variable(0.0)
  checkpoint = tf.train.Checkpoint(variable=variable)
  for name, steps in ((checkpoints.LAST, (2, 4, 6)), (checkpoints.BEST, (4,))):
    manager = checkpoints.make_manager(
        checkpoint, os.path.join(workdir, name), keep=3)
    for step in steps:
      variable.assign(float(step))
      manager.save(checkpoint_number=step)
  files.write_json(_path(workdir, checkpoints.BEST, repair.FIGURE), 0.75)
  for step, figure in ((2, 0.5), (4, 0.75), (6, 0.25)):
    history.append(workdir, {"step": step, "loss": 1.0})
    history.append(workdir, {"step": step, "figures": {_FIGURE: figure}})
  return workdir


def _path(*parts):
  return os.path.join(*parts)


def _content(workdir):
  found = {}
  for directory, _, names in os.walk(workdir):
    for name in names:
      with open(_path(directory, name), "rb") as file:
        found[_path(directory, name)] = file.read()
  return found


def _warnings(workdir):
  with mock.patch.object(repair.logging, "warning") as warned:
    repair.repair(workdir, _FIGURE)
  return [call[0][0] % call[0][1:] for call in warned.call_args_list]


def test_nothing_wrong_nothing_changed(workdir):
  before = _content(workdir)
  assert _warnings(workdir) == []
  assert _content(workdir) == before


def test_new_run_has_nothing_to_repair(tmp_path):
  assert _warnings(str(tmp_path / "new")) == []
  assert not os.path.exists(tmp_path / "new")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"garbage {"])
def test_damaged_list_is_made_anew(workdir, content):
  directory = _path(workdir, checkpoints.LAST)
  path = _path(directory, "checkpoint")
  os.remove(path)
  if content is not None:
    with open(path, "wb") as file:
      file.write(content)
  warning, = _warnings(workdir)
  assert "made anew from the files beside it: ckpt-2, ckpt-4, ckpt-6" in warning
  assert tf.train.latest_checkpoint(directory) == _path(directory, "ckpt-6")
  # A manager goes on with all of them: the oldest goes when there are 3 more.
  variable = tf.Variable(0.0)
  manager = checkpoints.make_manager(
      tf.train.Checkpoint(variable=variable), directory, keep=3)
  manager.save(checkpoint_number=8)
  assert [os.path.basename(p) for p in checkpoints.listed(directory)] == [
      "ckpt-4", "ckpt-6", "ckpt-8"]
  assert not os.path.exists(_path(directory, "ckpt-2.index"))
  assert _warnings(workdir) == []


def test_damaged_list_without_checkpoints_goes(tmp_path):
  directory = tmp_path / checkpoints.LAST
  directory.mkdir()
  (directory / "checkpoint").touch()
  warning, = _warnings(str(tmp_path))
  assert "beside it: none" in warning
  assert os.listdir(directory) == []


@pytest.mark.parametrize("name", ["ckpt-4.index", "ckpt-4.data-00000-of-00001"])
def test_damaged_best_checkpoint_goes_with_its_figure(workdir, name):
  directory = _path(workdir, checkpoints.BEST)
  os.truncate(_path(directory, name), 3)
  warning, = _warnings(workdir)
  assert "best/ckpt-4: expected the run's best checkpoint" in warning
  assert os.listdir(directory) == []
  assert checkpoints.find(workdir, "best").endswith("checkpoints/ckpt-6")


@pytest.mark.parametrize("content", [b"", b"0.7", b"{", b"null", b"\xff"])
def test_damaged_figure_is_found_in_the_history(workdir, content):
  path = _path(workdir, checkpoints.BEST, repair.FIGURE)
  with open(path, "wb") as file:
    file.write(content)
  said = _warnings(workdir)
  if content == b"0.7":  # A number is taken at its word.
    assert not said
  else:
    assert "by the history it was 0.75" in said[0]
    assert files.read_json(path) == 0.75


def test_damaged_figure_that_no_history_knows_goes(workdir):
  path = _path(workdir, checkpoints.BEST, repair.FIGURE)
  files.write_text(path, "")
  os.remove(history.path(workdir))
  assert "sought anew" in _warnings(workdir)[0]
  assert not os.path.exists(path)
