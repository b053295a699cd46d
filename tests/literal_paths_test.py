"""Tests of kdwsd.literal_paths, with TensorFlow's own reading and clearing."""

import os

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import literal_paths
from kdwsd.training import checkpoints

# In the last two, what is special is not in the last part of the path.
_ODD = ("[v1]", "b [v1] *?", "x[", "]x", "s*r", "q?", "back\\slash", "{a,b}",
        "p%20 %s #é日", "[a]/plain", "[a/b]")


def _save(directory, values, keep=3):
  variable = tf.Variable(0.0)
  checkpoint = tf.train.Checkpoint(variable=variable)
  manager = checkpoints.make_manager(checkpoint, str(directory), keep=keep)
  for number, value in enumerate(values):
    variable.assign(value)
    manager.save(checkpoint_number=number)
  return checkpoint, variable


@pytest.mark.parametrize("name", _ODD)
@pytest.mark.parametrize("relative", [False, True])
def test_checkpoints_are_found_and_cleared(
    tmp_path, monkeypatch, name, relative):
  monkeypatch.chdir(tmp_path)
  directory = name if relative else str(tmp_path / name)
  checkpoint, variable = _save(directory, [1.0, 2.0, 3.0, 4.0], keep=2)
  variable.assign(0.0)
  path = checkpoints.restore_latest(checkpoint, directory)
  assert path == os.path.join(directory, "ckpt-3")
  assert variable.numpy() == 4.0
  assert checkpoints.is_readable(path)
  assert sorted(os.listdir(directory)) == ["checkpoint"] + [
      f"ckpt-{number}.{ending}" for number in (2, 3)
      for ending in ("data-00000-of-00001", "index")]


@pytest.mark.parametrize("name, other", [("b[12]", "b1"), ("b*", "b1"),
                                         ("b?", "b1"), ("b\\1", "b1")])
def test_no_other_runs_files_are_cleared(tmp_path, name, other):
  _save(tmp_path / other, [1.0, 2.0])
  before = sorted(os.listdir(tmp_path / other))
  _save(tmp_path / name, [1.0, 2.0, 3.0], keep=1)
  assert sorted(os.listdir(tmp_path / other)) == before


def test_plain_paths_stay_as_they_are(tmp_path):
  for path in ("runs/a b", "runs/é %s #/ckpt-1", str(tmp_path), "x/"):
    assert literal_paths.literal(path) == path


def test_other_name_is_of_the_same_directory(tmp_path):
  odd = tmp_path / "[a]" / "b"
  odd.mkdir(parents=True)
  for path in (odd, odd.parent, f"{odd}/"):
    name = literal_paths.literal(path)
    assert "[" not in name
    assert os.path.samefile(name, path)
  assert literal_paths.literal(odd) == literal_paths.literal(odd)
  # The file itself need not be there.
  name = literal_paths.literal(odd / "ckpt-3")
  assert os.path.samefile(os.path.dirname(name), odd)
  assert os.path.basename(name) == "ckpt-3"


def test_directory_made_anew_is_opened_anew(tmp_path):
  odd = tmp_path / "[a]"
  for _ in range(2):
    odd.mkdir()
    assert os.path.samefile(literal_paths.literal(odd), odd)
    odd.rename(tmp_path / f"old{_}")


def test_messages_have_the_users_name(tmp_path):
  odd = tmp_path / "b [1]"
  odd.mkdir()
  name = literal_paths.literal(odd / "ckpt-3")
  assert literal_paths.named(f"{name}.index; No space left on device") == (
      f"{odd}/ckpt-3.index; No space left on device")
  assert literal_paths.named("/proc/self/fd/9999/x") == "/proc/self/fd/9999/x"


def test_what_has_no_other_name_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match="expected a file name without"):
    literal_paths.literal(tmp_path / "ckpt[1]")
  with pytest.raises(errors.InputError, match="a: expected a directory. Rece"):
    literal_paths.literal(tmp_path / "[1]" / "a[1] a" / "ckpt-1")


def test_system_without_other_names_is_told(tmp_path, monkeypatch):
  monkeypatch.setattr(literal_paths, "_OPENED_BY_PROCESS", "/nowhere")
  odd = tmp_path / "[a]"
  odd.mkdir()
  with pytest.raises(errors.InputError, match="expected a path without"):
    literal_paths.literal(odd)
