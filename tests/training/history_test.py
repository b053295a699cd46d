"""Tests of kdwsd.training.history."""

import os
from unittest import mock

from PIL import Image
import pytest

from kdwsd import errors
from kdwsd.training import history


@pytest.fixture(name="path")
def fixture_path(tmp_path):
  return str(tmp_path / "history.jsonl")


def _entry(step):
  return {"step": step, "loss": 1.0 / step, "learning_rate": 0.1}


def test_rewind_drops_the_steps_that_come_again(path):
  for step in (1, 2, 3):
    history.append(path, _entry(step))
  history.rewind(path, 2)
  history.append(path, _entry(3))
  assert [e["step"] for e in history.read(path)] == [1, 2, 3]


def test_line_cut_off_by_a_kill_is_left_out(path):
  history.append(path, _entry(1))
  with open(path, "a", encoding="utf-8") as file:
    file.write('{"step": 2, "lo')
  assert [e["step"] for e in history.read(path)] == [1]


def test_run_without_history_is_empty(path):
  assert history.read(path) == []


def test_plot_is_a_picture_with_and_without_validation(path, tmp_path):
  output = str(tmp_path / "loss.png")
  history.append(path, _entry(1))
  history.append(path, _entry(2))
  history.plot(path, output)
  plain = Image.open(output).copy()
  history.append(path, {"step": 2, "figures": {
      "classification/map": 0.5, "detection/voc07_map": 0.1}})
  history.plot(path, output)
  with Image.open(output) as picture:
    assert picture.size == plain.size
    assert picture.tobytes() != plain.tobytes()


def test_damaged_line_is_left_out_and_told(path):
  for step in (1, 2, 3, 4):
    history.append(path, _entry(step))
  with open(path, "rb") as file:
    lines = file.read().split(b"\n")
  lines[1], lines[2] = b"\xff\xfe" + lines[1], b'["step"]'
  with open(path, "wb") as file:
    file.write(b"\n".join(lines))
  with mock.patch.object(history.logging, "warning") as warned:
    assert [e["step"] for e in history.read(path)] == [1, 4]
  assert [call[0][1:3] for call in warned.call_args_list] == [
      (path, 2), (path, 3)]


def test_full_disk_is_told_with_the_path(path):
  os.symlink("/dev/full", path)
  with pytest.raises(errors.InputError, match=(
      "history.jsonl: expected free disk space. Received: No space left")):
    history.append(path, _entry(1))


def test_rewind_drops_figures_of_a_step_not_validated(path):
  history.append(path, {"step": 4, "loss": 1.0})
  history.append(path, {"step": 4, "figures": {"a": 1.0}})
  history.rewind(path, 4)
  assert len(history.read(path)) == 2
  history.rewind(path, 4, validated=False)
  assert history.read(path) == [{"step": 4, "loss": 1.0}]
