"""Tests of kdwsd.training.run_folder: what it finds, mends, and tells."""

import os
import shutil
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.modeling import wsddn
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import history
from kdwsd.training import models
from kdwsd.training import run_folder
from tests.training import fake_config

_FIGURE = "classification/map"


def _save(variable, directory, steps):
  manager = checkpoints.make_manager(
      tf.train.Checkpoint(variable=variable), directory, keep=3)
  for step in steps:
    variable.assign(float(step))
    manager.save(checkpoint_number=step)


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
  """Checkpoints of steps 2, 4 and 6; step 4 is the best."""
  folder = run_folder.RunFolder(tmp_path)
  variable = tf.Variable(0.0)
  _save(variable, folder.checkpoints, (2, 4, 6))
  _save(variable, folder.best, (4,))
  files.write_json(folder.best_figure, 0.75)
  for step, figure in ((2, 0.5), (4, 0.75), (6, 0.25)):
    history.append(folder.history_file, {"step": step, "loss": 1.0})
    history.append(folder.history_file,
                   {"step": step, "figures": {_FIGURE: figure}})
  return folder


def _content(folder):
  found = {}
  for directory, _, names in os.walk(folder.path):
    for name in names:
      with open(os.path.join(directory, name), "rb") as file:
        found[os.path.join(directory, name)] = file.read()
  return found


def _warnings(folder):
  with mock.patch.object(run_folder.logging, "warning") as warned:
    folder.repair(_FIGURE)
  return [call[0][0] % call[0][1:] for call in warned.call_args_list]


def test_nothing_wrong_nothing_changed(folder):
  before = _content(folder)
  assert _warnings(folder) == []
  assert _content(folder) == before


def test_new_run_has_nothing_to_repair(tmp_path):
  folder = run_folder.RunFolder(tmp_path / "new")
  assert _warnings(folder) == []
  assert not os.path.exists(folder.path)
  assert folder.progress().is_fresh


def test_damaged_list_is_mended_without_asking_for_its_directory(folder):
  for directory in (folder.checkpoints, folder.best):
    os.truncate(os.path.join(directory, "checkpoint"), 0)
  assert [w.rpartition(": ")[2] for w in _warnings(folder)] == [
      "ckpt-2, ckpt-4, ckpt-6.", "ckpt-4."]
  assert _warnings(folder) == []


@pytest.mark.parametrize("name", ["ckpt-4.index", "ckpt-4.data-00000-of-00001"])
def test_damaged_best_checkpoint_goes_with_its_figure(folder, name):
  os.truncate(os.path.join(folder.best, name), 3)
  warning, = _warnings(folder)
  assert "best/ckpt-4: expected the run's best checkpoint" in warning
  assert os.listdir(folder.best) == []
  assert folder.find("best").endswith("checkpoints/ckpt-6")


@pytest.mark.parametrize("content", [b"", b"0.7", b"{", b"null", b"\xff"])
def test_damaged_figure_is_found_in_the_history(folder, content):
  with open(folder.best_figure, "wb") as file:
    file.write(content)
  said = _warnings(folder)
  if content == b"0.7":  # A number is taken at its word.
    assert not said
  else:
    assert "the history has 0.75" in said[0]
    assert files.read_json(folder.best_figure) == 0.75


def test_missing_figure_is_found_in_the_history(folder):
  os.remove(folder.best_figure)
  warning, = _warnings(folder)
  assert "no such file; the history has 0.75" in warning
  assert files.read_json(folder.best_figure) == 0.75


def test_run_that_never_validated_has_no_figure(folder):
  os.remove(folder.best_figure)
  os.remove(folder.history_file)
  assert not _warnings(folder)
  assert not os.path.exists(folder.best_figure)


def test_another_metric_is_not_compared_with_the_one_before(folder):
  config_lib.write(fake_config.make(best_figure="detection/map"), folder.path)
  warning, = _warnings(folder)  # It asks for classification/map.
  assert "another metric; the history has 0.75" in warning
  config_lib.write(fake_config.make(best_figure=_FIGURE), folder.path)
  assert not _warnings(folder)
  with mock.patch.object(run_folder.logging, "warning"):
    folder.repair("detection/map")  # The history has none.
  assert not os.path.exists(folder.best_figure)


def test_damaged_figure_that_no_history_knows_goes(folder):
  files.write_text(folder.best_figure, "")
  os.remove(folder.history_file)
  assert "search for the best starts again" in _warnings(folder)[0]
  assert not os.path.exists(folder.best_figure)


def test_validation_is_pending_where_it_is_of_a_later_step(folder):
  assert not folder.progress().validation_is_pending
  for step, pending in ((5, False), (6, False), (8, True)):
    _save(tf.Variable(0.0), folder.unvalidated, (step,))
    progress = folder.progress()
    assert (progress.last, progress.unvalidated) == (6, step)
    assert progress.validation_is_pending == pending
    assert not progress.is_fresh


def test_run_is_done_when_it_is_trained_whole_and_measured(folder):
  assert not folder.is_trained(6)  # It has no config.
  config_lib.write(fake_config.make(), folder.path)
  assert folder.is_trained(6) and not folder.is_trained(7)
  assert folder.is_done(6, []) and not folder.is_done(6, ["test"])
  assert folder.measured_splits() == []
  files.write_json(os.path.join(folder.evaluation("test"), "metrics.json"), {})
  assert folder.is_done(6, ["test"]) and not folder.is_done(7, ["test"])
  assert not folder.is_done(6, ["test", "other"])
  assert folder.measured_splits() == ["test"]
  os.truncate(os.path.join(folder.best, "ckpt-4.index"), 3)
  assert folder.is_trained(6) and not folder.is_done(6, ["test"])


def test_run_that_averages_weights_is_done_when_it_has_a_best(folder):
  config_lib.write(fake_config.make(ema_decay=0.9), folder.path)
  assert folder.is_done(6, [])
  shutil.rmtree(folder.best)
  assert not folder.is_done(6, [])
  config_lib.write(fake_config.make(ema_decay=0.0), folder.path)
  assert folder.is_done(6, [])


@pytest.fixture(name="run")
def fixture_run(tmp_path):
  """A run of a WSDDN with a `last` and a `best` checkpoint."""
  folder = run_folder.RunFolder(tmp_path)
  config = fake_config.make()
  config_lib.write(config, folder.path)
  model = wsddn.build(models.wsddn_config(config))
  checkpoint = tf.train.Checkpoint(model=model)
  for directory, value in ((folder.checkpoints, 1.0), (folder.best, 2.0)):
    model.fc7.bias.assign(tf.fill(model.fc7.bias.shape, value))
    checkpoints.make_manager(checkpoint, directory, keep=1).save(
        checkpoint_number=3)
  return folder


@pytest.mark.parametrize("which, value", [
    ("best", 2.0), ("last", 1.0), ("checkpoints/ckpt-3", 1.0)])
def test_load_model_takes_the_checkpoint_asked_for(run, which, value):
  name = which if "/" not in which else os.path.join(run.path, which)
  model, config = run.load_model(name)
  np.testing.assert_array_equal(model.fc7.bias, np.full(4, value))
  assert config == fake_config.make()


def test_checkpoint_of_another_model_is_an_error(run):
  config_lib.write(fake_config.make(fc_units=5), run.path)
  with pytest.raises(errors.InputError, match="expected a checkpoint of the"):
    run.load_model()


def test_damaged_checkpoint_of_another_run_names_the_way_out(run):
  path = os.path.join(run.best, "ckpt-3.data-00000-of-00001")
  os.truncate(path, os.path.getsize(path) // 2)
  with pytest.raises(errors.InputError, match=(
      "best/ckpt-3: expected an intact checkpoint.*the command that trained")):
    run.load_model()


def test_best_checkpoint_that_is_gone_is_not_replaced_in_silence(run):
  os.remove(os.path.join(run.best, "ckpt-3.index"))
  with pytest.raises(errors.InputError, match="expected the run's best check"):
    run.find("best")


def test_missing_checkpoint_is_an_error(tmp_path):
  folder = run_folder.RunFolder(tmp_path)
  config_lib.write(fake_config.make(), folder.path)
  with pytest.raises(errors.InputError, match="has not saved one yet"):
    folder.load_model()
  with pytest.raises(errors.InputError, match="--checkpoint: expected best"):
    folder.load_model("nowhere/ckpt-1")
