"""Tests of kdwsd.training.checkpoints."""

import os
from unittest import mock

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import checkpoints


def _saved(directory, values, keep=3):
  """One checkpoint for each value of a variable."""
  variable = tf.Variable(0.0)
  checkpoint = tf.train.Checkpoint(variable=variable)
  manager = checkpoints.make_manager(checkpoint, directory, keep=keep)
  for number, value in enumerate(values):
    variable.assign(value)
    manager.save(checkpoint_number=number)
  return checkpoint, variable


def _truncate(directory, number):
  path = os.path.join(directory, f"ckpt-{number}.data-00000-of-00001")
  with open(path, "r+b") as file:
    file.truncate(os.path.getsize(path) // 2)


def test_truncated_checkpoint_falls_back_to_the_one_before(tmp_path):
  checkpoint, variable = _saved(str(tmp_path), [1.0, 2.0])
  _truncate(str(tmp_path), 1)
  path = checkpoints.restore_latest(checkpoint, str(tmp_path))
  assert path.endswith("ckpt-0")
  assert variable.numpy() == 1.0


def _flip(directory, number):
  """Flips a bit in the variable's bytes, which come first."""
  with open(os.path.join(
      directory, f"ckpt-{number}.data-00000-of-00001"), "r+b") as file:
    byte = file.read(1)[0]
    file.seek(0)
    file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("spoil", [
    _flip, lambda directory, number: os.remove(
        os.path.join(directory, f"ckpt-{number}.index"))],
                         ids=["flipped bit", "index missing"])
def test_damaged_checkpoint_falls_back_and_says_so(tmp_path, spoil):
  checkpoint, variable = _saved(str(tmp_path), [1.0, 2.0, 3.0])
  spoil(str(tmp_path), 2)
  assert not checkpoints.is_readable(str(tmp_path / "ckpt-2"))
  assert checkpoints.is_readable(str(tmp_path / "ckpt-1"))
  with mock.patch.object(checkpoints.logging, "warning") as warned:
    path = checkpoints.restore_latest(checkpoint, str(tmp_path))
  assert path.endswith("ckpt-1")
  assert variable.numpy() == 2.0
  assert "ckpt-2" in warned.call_args[0][1]


@pytest.mark.parametrize("content", [
    None, b"", b"\xff\xfe\0", b"no list", b'model_checkpoint_path: "x"'])
def test_without_a_list_the_files_there_count(tmp_path, content):
  checkpoint, variable = _saved(str(tmp_path), [1.0] * 9 + [2.0, 3.0])
  (tmp_path / "ckpt-7.index").touch()  # Without data.
  (tmp_path / "checkpoint").unlink()
  if content is not None:
    (tmp_path / "checkpoint").write_bytes(content)
  assert checkpoints.listed(str(tmp_path)) == [
      str(tmp_path / f"ckpt-{number}") for number in (8, 9, 10)]
  assert checkpoints.restore_latest(
      checkpoint, str(tmp_path)).endswith("ckpt-10")
  assert variable.numpy() == 3.0


def test_full_disk_keeps_the_checkpoint_before(tmp_path):
  directory = str(tmp_path)
  checkpoint, variable = _saved(directory, [1.0])
  manager = checkpoints.make_manager(checkpoint, directory, keep=3)
  before = sorted(os.listdir(directory))

  def refuse(prefix, options):
    os.makedirs(prefix + "_temp")
    raise tf.errors.ResourceExhaustedError(
        None, None, prefix + "_temp/part-0; No space left on device")

  with mock.patch.object(checkpoint, "_write", refuse):
    with pytest.raises(errors.InputError, match=(
        f"^{directory}: expected free disk space. Received: No space left on")):
      manager.save(checkpoint_number=1)
  assert sorted(os.listdir(directory)) == before
  variable.assign(2.0)
  manager.save(checkpoint_number=1)  # With space freed.
  variable.assign(0.0)
  assert checkpoints.restore_latest(checkpoint, directory).endswith("ckpt-1")
  assert variable.numpy() == 2.0


def test_no_readable_checkpoint_is_an_error(tmp_path):
  checkpoint, _ = _saved(str(tmp_path), [1.0])
  _truncate(str(tmp_path), 0)
  with pytest.raises(errors.InputError, match="expected a checkpoint that"):
    checkpoints.restore_latest(checkpoint, str(tmp_path))


def test_new_run_has_nothing_to_restore(tmp_path):
  checkpoint = tf.train.Checkpoint(variable=tf.Variable(0.0))
  assert checkpoints.restore_latest(checkpoint, str(tmp_path)) is None


def test_half_written_checkpoint_goes(tmp_path):
  half = tmp_path / "ckpt-7_temp"
  half.mkdir()
  _saved(str(tmp_path), [1.0])
  assert not half.exists()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"garbage {"])
def test_damaged_list_is_rewritten(content, tmp_path):
  directory, path = str(tmp_path), tmp_path / "checkpoint"
  checkpoint, _ = _saved(directory, [1.0, 2.0, 3.0])
  path.unlink()
  if content is not None:
    path.write_bytes(content)
  with mock.patch.object(checkpoints.logging, "warning") as warned:
    checkpoints.mend_list(directory)
  (said, *values), _ = warned.call_args
  assert ("rewritten from the files beside it: ckpt-0, ckpt-1, ckpt-2"
          in said % tuple(values))
  assert tf.train.latest_checkpoint(directory) == str(tmp_path / "ckpt-2")
  # A manager goes on with all of them: the oldest goes when there are 3 more.
  manager = checkpoints.make_manager(checkpoint, directory, keep=3)
  manager.save(checkpoint_number=3)
  assert [os.path.basename(p) for p in checkpoints.listed(directory)] == [
      "ckpt-1", "ckpt-2", "ckpt-3"]
  assert not (tmp_path / "ckpt-0.index").exists()
  with mock.patch.object(checkpoints.logging, "warning") as warned:
    checkpoints.mend_list(directory)
  assert not warned.called


def test_damaged_list_without_checkpoints_goes(tmp_path):
  (tmp_path / "checkpoint").touch()
  with mock.patch.object(checkpoints.logging, "warning") as warned:
    checkpoints.mend_list(str(tmp_path))
  assert warned.call_args[0][-1] == "none"
  assert os.listdir(tmp_path) == []


def test_other_workers_than_the_first_keep_no_files(tmp_path, monkeypatch):
  monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
  variable = tf.Variable(1.0)
  manager = checkpoints.make_manager(
      tf.train.Checkpoint(variable=variable), str(tmp_path / "run"), keep=2,
      chief=False)
  for number in range(3):
    assert manager.save(checkpoint_number=number)
  assert not (tmp_path / "run").exists()
  folder, = tmp_path.iterdir()
  assert [path.name for path in folder.iterdir()] == ["checkpoint"]
