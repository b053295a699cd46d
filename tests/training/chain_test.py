"""Tests of kdwsd.training.chain: which stages it trains again, and its lock.

Whole chains are in tests/train_chain_test.py; here nothing is trained.
"""

import dataclasses
import os
import shutil
from unittest import mock
import uuid

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.training import chain
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import run as run_lib
from kdwsd.training import run_copies
from kdwsd.training import run_folder
from kdwsd.training import workdir_lock
from tests.data import fake_records
from tests.training import fake_config

_STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")


def _settings():
  settings = {}
  for stage in _STAGES:
    values = dataclasses.asdict(fake_config.make(stage=stage, eval_split=""))
    del values["classes"]
    settings[stage] = values
  return settings


@pytest.fixture(name="workdir")
def fixture_workdir(tmp_path):
  """A chain whose stages are done, each with a last and a best checkpoint."""
  workdir = str(tmp_path)
  checkpoint = tf.train.Checkpoint(variable=tf.Variable([1.0] * 100))
  for stage in _STAGES:
    folder = run_folder.RunFolder(os.path.join(workdir, stage))
    config_lib.write(fake_config.make(stage=stage, eval_split=""), folder.path)
    for directory, steps in (
        (folder.checkpoints, (8, 10)), (folder.best, (8,))):
      manager = checkpoints.make_manager(checkpoint, directory, keep=3)
      for step in steps:
        manager.save(checkpoint_number=step)
  return workdir


def _trained_again(workdir, settings=None, **options):
  """Stages that `chain.run` trains, in order."""
  trained = []

  def run(directory, *, teacher, seed, feature_student, **_):
    assert places.exists(os.path.join(workdir, workdir_lock.FILE))
    path = os.path.relpath(directory, workdir)
    trained.append(path)
    if "seeds" in options and "kd_" in path:  # One teacher for all.
      assert teacher == os.path.join(workdir, "wsd")
      assert f"seed_{seed}" == os.path.dirname(path)
      if path.endswith("kd_prediction"):
        assert feature_student == os.path.join(
            workdir, f"seed_{seed}", "kd_feature")

  one_device = tf.distribute.get_strategy()
  with mock.patch.object(run_lib, "run", run):
    with mock.patch.object(chain.strategies, "make", lambda *_: one_device):
      chain.run(workdir, settings or _settings(), **options)
  assert not places.exists(os.path.join(workdir, workdir_lock.FILE))
  return trained


def test_stages_that_are_done_are_not_trained_again(workdir, caplog):
  assert _trained_again(workdir) == []
  assert "no comparison and no report" in caplog.messages[-1]


def test_further_seeds_train_the_students_and_not_the_teacher(workdir):
  assert _trained_again(workdir, seeds=(0, 5, 7)) == [
      f"seed_{seed}/{stage}" for seed in (5, 7) for stage in _STAGES[1:]]


def test_teachers_of_folds_are_trained_and_given_to_the_students(
    workdir, tmp_path_factory):
  settings = _settings()
  settings["kd_feature"].update(teacher_cache="on", top_k_rois=2)
  # Students that have learnt from one teacher stop it.
  with pytest.raises(errors.InputError, match="--teacher_folds: expected 0, "):
    _trained_again(workdir, settings, teacher_folds=2)
  for stage in ("kd_feature", "kd_prediction"):
    shutil.rmtree(os.path.join(workdir, stage))
  with mock.patch.object(chain, "_check"):
    assert _trained_again(workdir, settings, teacher_folds=2) == [
        "wsd_fold_0", "wsd_fold_1", "kd_feature", "kd_prediction"]
  given = {}

  def run(directory, *, folds, left_out_fold, fold_teachers, **_):
    given[os.path.basename(directory)] = (
        (folds, left_out_fold), [os.path.basename(path)
                                 for path in fold_teachers])

  one_device = tf.distribute.get_strategy()
  with mock.patch.object(run_lib, "run", run), mock.patch.object(
      chain, "_check"), mock.patch.object(
          chain.strategies, "make", lambda *_: one_device), mock.patch.object(
              run_lib, "open_sets"), mock.patch.object(
                  chain.folds, "assign") as assigned:
    chain.run(str(tmp_path_factory.mktemp("new")), settings, teacher_folds=2)
  assigned.assert_called_once_with(mock.ANY, 2)  # So that 99 are told at once.
  assert given == {
      "wsd": ((0, 0), []), "wsd_fold_0": ((2, 0), []),
      "wsd_fold_1": ((2, 1), []), "cls": ((0, 0), []),
      **{stage: ((0, 0), ["wsd_fold_0", "wsd_fold_1"])
         for stage in ("kd_feature", "kd_prediction")}}


def test_students_of_folds_are_not_resumed_without_them(workdir):
  directory = os.path.join(workdir, "kd_feature")
  config_lib.write(dataclasses.replace(
      config_lib.read(directory), fold_teachers=("a", "b")), directory)
  with pytest.raises(errors.InputError, match=(
      "--teacher_folds: expected 2, as .*kd_feature was .* Received: 0.")):
    _trained_again(workdir)
  settings = _settings()
  settings["kd_feature"].update(fold_teachers=("a", "b"))
  assert _trained_again(workdir, settings) == []


def test_stage_2_starts_from_stage_1_also_with_another_run_before(tmp_path):
  settings, given = _settings(), {}
  for stage in _STAGES[1:]:
    settings[stage].update(init_from="before")

  def run(directory, *, init_from, feature_student, **_):
    given[os.path.basename(directory)] = init_from, feature_student

  one_device = tf.distribute.get_strategy()
  with mock.patch.object(run_lib, "run", run), mock.patch.object(
      chain, "_check"), mock.patch.object(
          chain.strategies, "make", lambda *_: one_device):
    chain.run(str(tmp_path), settings)
  assert given == {
      "wsd": ("", ""), "cls": ("before", ""), "kd_feature": ("before", ""),
      "kd_prediction": ("", str(tmp_path / "kd_feature"))}


def test_folds_that_cannot_be_taught_from_are_told(workdir):
  with pytest.raises(errors.InputError, match="expected cached outputs"):
    _trained_again(workdir, teacher_folds=2)
  with pytest.raises(errors.InputError, match="expected 2 or more"):
    _trained_again(workdir, teacher_folds=1)
  settings = _settings()
  del settings["wsd"]
  with pytest.raises(errors.InputError, match="expected no --teacher"):
    _trained_again(workdir, settings, teacher_folds=2)


def test_students_that_are_there_have_the_first_of_the_seeds(workdir):
  settings = {stage: {**values, "seed": 2}
              for stage, values in _settings().items()}
  for seeds in (2,), (2, 5):
    with pytest.raises(errors.InputError, match="--seeds: expected 0 first, "):
      _trained_again(workdir, settings, seeds=seeds)


@pytest.mark.parametrize("name", [
    "checkpoints/ckpt-10.data-00000-of-00001", "checkpoints/ckpt-10.index",
    "best/ckpt-8.data-00000-of-00001", "best/ckpt-8.index"])
def test_stage_with_a_damaged_checkpoint_is_gone_back_to(workdir, name):
  os.truncate(os.path.join(workdir, "kd_feature", name), 9)
  assert _trained_again(workdir) == ["kd_feature"]


def test_a_remote_chain_goes_on_as_a_local_one(workdir):
  remote = f"ram://{uuid.uuid4().hex}/chain"
  for where, _, names in os.walk(workdir):
    for name in names:
      files.upload(os.path.join(where, name),
                   remote + os.path.join(where, name)[len(workdir):])
  assert _trained_again(remote) == []
  files.write_text(f"{remote}/cls/best/ckpt-8.data-00000-of-00001", "")
  assert _trained_again(remote) == ["cls"]
  assert _trained_again(remote, seeds=(0, 5)) == [
      "cls", *(f"seed_5/{stage}" for stage in _STAGES[1:])]


def test_a_chain_links_to_a_teacher_that_is_remote_as_it_is(workdir, tmp_path):
  remote = f"ram://{uuid.uuid4().hex}"
  teacher = os.path.join(workdir, "wsd")
  for name in "teacher", "other":
    config_lib.write(fake_config.make(), f"{remote}/{name}")
  chain._link(f"{remote}/teacher", f"{remote}/chain/wsd")
  with run_copies.hold(f"{remote}/chain"):
    chain._link(f"{remote}/teacher", f"{remote}/chain/wsd")
  with pytest.raises(errors.InputError, match=(
      f"expected {remote}/teacher, which .* Received: {remote}/other")):
    chain._link(f"{remote}/other", f"{remote}/chain/wsd")
  for mine, theirs in ((teacher, f"{remote}/new/wsd"),
                       (f"{remote}/teacher", str(tmp_path / "new" / "wsd"))):
    with pytest.raises(errors.InputError, match="expected a run on an object"):
      chain._link(mine, theirs)


def test_chain_is_refused_where_another_trains(workdir):
  with workdir_lock.hold(workdir):
    with pytest.raises(errors.InputError, match="one held by process"):
      _trained_again(workdir)


def _chain_on(directory, *, positive, unlabelled_test=False, **changes):
  """Begins a chain on records by their cards; nothing is trained."""
  for split, count in (("trainval", 4), ("test", 2)):
    record_set = fake_records.write(directory, split, count)
    labels = {name: 0 if split == "test" and unlabelled_test else number
              for name, number in positive.items()}
    files.write_json(os.path.join(directory, f"{split}.json"), {
        **record_set.card, "classes": list(positive),
        "images_per_class": labels, "num_objects": count})
  settings = {stage: {**values, "data": directory, "eval_split": "test",
                      **changes} for stage, values in _settings().items()}
  one_device = tf.distribute.get_strategy()
  with mock.patch.object(chain.strategies, "make", lambda *_: one_device):
    with mock.patch.object(run_lib, "run") as trained:
      try:
        chain.run(os.path.join(directory, "chain"), settings)
      finally:
        assert not trained.called


def test_data_that_cannot_be_learnt_stop_a_chain_before_its_first_stage(
    tmp_path):
  with pytest.raises(errors.InputError, match="expected two classes or more"):
    _chain_on(str(tmp_path), positive={"cat": 2})
  with pytest.raises(errors.InputError, match="expected images with labels to"):
    _chain_on(str(tmp_path), positive={"cat": 0, "dog": 0})
  with pytest.raises(errors.InputError, match="labels, which --best_figure"):
    _chain_on(str(tmp_path), positive={"cat": 1, "dog": 1},
              unlabelled_test=True)
  # No student can give it.
  with pytest.raises(errors.InputError, match="--best_figure: expected one of"):
    _chain_on(str(tmp_path), positive={"cat": 1, "dog": 1},
              best_figure="detection/voc07_map")


@pytest.mark.parametrize("changes, expected", [
    ({"student_size": 64}, "student_size: expected a multiple of 56"),
    ({"feature_scale": -1.0}, "feature_scale: expected more than 0"),
    ({"hard_loss": "focal", "focal_alpha": 1.0}, "focal_alpha"),
    ({"student_temperature": 0.0}, "--student_temperature: expected a number"),
    ({"teacher_temperature": -1.0}, "--teacher_temperature: expected a number"),
    ({"momentum": 1.0}, "--momentum"),
    ({"schedule": "step"}, "at least one step"),
    ({"frozen_stages": 9}, "frozen_stages of small")])
def test_settings_of_any_stage_are_checked_before_the_first(
    tmp_path, changes, expected):
  with pytest.raises(errors.InputError, match=expected):
    _chain_on(str(tmp_path), positive={"cat": 1, "dog": 1},
              **{"fc_units": 4, "student_size": 56, **changes})
