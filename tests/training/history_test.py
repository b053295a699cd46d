"""Tests of kdwsd.training.history."""

import os

from PIL import Image

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
