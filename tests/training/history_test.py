"""Tests of kdwsd.training.history."""

import os
from unittest import mock

from PIL import Image
import pytest

from kdwsd import errors
from kdwsd.training import history


def _entry(step):
  return {"step": step, "loss": 1.0 / step, "learning_rate": 0.1}


def test_rewind_drops_the_steps_that_come_again(tmp_path):
  for step in (1, 2, 3):
    history.append(str(tmp_path), _entry(step))
  history.rewind(str(tmp_path), 2)
  history.append(str(tmp_path), _entry(3))
  assert [e["step"] for e in history.read(str(tmp_path))] == [1, 2, 3]


def test_line_cut_off_by_a_kill_is_left_out(tmp_path):
  history.append(str(tmp_path), _entry(1))
  with open(history.path(str(tmp_path)), "a", encoding="utf-8") as file:
    file.write('{"step": 2, "lo')
  assert [e["step"] for e in history.read(str(tmp_path))] == [1]


def test_run_without_history_is_empty(tmp_path):
  assert history.read(str(tmp_path)) == []


def test_plot_is_a_picture_with_and_without_validation(tmp_path):
  history.append(str(tmp_path), _entry(1))
  history.append(str(tmp_path), _entry(2))
  plain = Image.open(history.plot(str(tmp_path))).copy()
  history.append(str(tmp_path), {"step": 2, "figures": {
      "classification/map": 0.5, "detection/voc07_map": 0.1}})
  path = history.plot(str(tmp_path))
  with Image.open(path) as picture:
    assert picture.size == plain.size
    assert picture.tobytes() != plain.tobytes()
  assert os.listdir(tmp_path) and path.endswith("loss.png")


def test_damaged_line_is_left_out_and_told(tmp_path):
  workdir = str(tmp_path)
  for step in (1, 2, 3, 4):
    history.append(workdir, _entry(step))
  with open(history.path(workdir), "rb") as file:
    lines = file.read().split(b"\n")
  lines[1], lines[2] = b"\xff\xfe" + lines[1], b'["step"]'
  with open(history.path(workdir), "wb") as file:
    file.write(b"\n".join(lines))
  with mock.patch.object(history.logging, "warning") as warned:
    assert [e["step"] for e in history.read(workdir)] == [1, 4]
  assert [call[0][1:3] for call in warned.call_args_list] == [
      (history.path(workdir), 2), (history.path(workdir), 3)]


def test_full_disk_is_told_with_the_path(tmp_path):
  os.symlink("/dev/full", history.path(str(tmp_path)))
  with pytest.raises(errors.InputError, match=(
      "history.jsonl: expected free disk space. Received: No space left")):
    history.append(str(tmp_path), _entry(1))


def test_rewind_drops_figures_of_a_step_not_validated(tmp_path):
  workdir = str(tmp_path)
  history.append(workdir, {"step": 4, "loss": 1.0})
  history.append(workdir, {"step": 4, "figures": {"a": 1.0}})
  history.rewind(workdir, 4)
  assert len(history.read(workdir)) == 2
  history.rewind(workdir, 4, validated=False)
  assert history.read(workdir) == [{"step": 4, "loss": 1.0}]
