"""Tests of kdwsd.training.checkpoints."""

import os
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import wsddn
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import models
from tests.training import fake_config


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


def _run(workdir, config):
  """A work directory with a `last` and a `best` checkpoint."""
  config_lib.write(config, workdir)
  model = wsddn.build(models.wsddn_config(config))
  checkpoint = tf.train.Checkpoint(model=model)
  for directory, value in ((checkpoints.LAST, 1.0), (checkpoints.BEST, 2.0)):
    model.fc7.bias.assign(tf.fill(model.fc7.bias.shape, value))
    checkpoints.make_manager(
        checkpoint, os.path.join(workdir, directory), keep=1).save(
            checkpoint_number=3)


@pytest.mark.parametrize("which, value", [
    ("best", 2.0), ("last", 1.0), ("checkpoints/ckpt-3", 1.0)])
def test_load_model_takes_the_checkpoint_asked_for(tmp_path, which, value):
  workdir = str(tmp_path)
  _run(workdir, fake_config.make())
  name = which if "/" not in which else os.path.join(workdir, which)
  model, config = checkpoints.load_model(workdir, name)
  np.testing.assert_array_equal(model.fc7.bias, np.full(4, value))
  assert config == fake_config.make()


def test_checkpoint_of_another_model_is_an_error(tmp_path):
  workdir = str(tmp_path)
  _run(workdir, fake_config.make())
  config_lib.write(fake_config.make(fc_units=5), workdir)
  with pytest.raises(errors.InputError, match="expected a checkpoint of the"):
    checkpoints.load_model(workdir)


def test_damaged_checkpoint_of_another_run_names_the_way_out(tmp_path):
  workdir = str(tmp_path)
  _run(workdir, fake_config.make())
  _truncate(os.path.join(workdir, checkpoints.BEST), 3)
  with pytest.raises(errors.InputError, match=(
      "best/ckpt-3: expected a whole checkpoint.*the command that trained")):
    checkpoints.load_model(workdir)


def test_best_checkpoint_that_is_gone_is_not_replaced_in_silence(tmp_path):
  workdir = str(tmp_path)
  _run(workdir, fake_config.make())
  os.remove(os.path.join(workdir, checkpoints.BEST, "ckpt-3.index"))
  with pytest.raises(errors.InputError, match="expected the run's best check"):
    checkpoints.find(workdir, "best")


def test_missing_checkpoint_is_an_error(tmp_path):
  config_lib.write(fake_config.make(), str(tmp_path))
  with pytest.raises(errors.InputError, match="has not saved one yet"):
    checkpoints.load_model(str(tmp_path))
  with pytest.raises(errors.InputError, match="--checkpoint: expected best"):
    checkpoints.load_model(str(tmp_path), "nowhere/ckpt-1")
