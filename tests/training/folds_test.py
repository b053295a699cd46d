"""Students learn from teachers that have not seen the image."""

import dataclasses
import os

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.training import config as config_lib
from kdwsd.training import folds
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import teacher_cache
from tests.data import fake_records
from tests.training import fake_config
from tests.training import fake_teacher

_OPTIONS = {"size": 32, "num_proposals": 8, "temperature": 0.5}


@pytest.fixture(scope="module", name="record_set")
def fixture_record_set(tmp_path_factory):
  return fake_teacher.write_records(
      str(tmp_path_factory.mktemp("records")), "train", (5, 4))


def _students(record_set, workdirs, **changes):
  return fake_config.make(**{
      "stage": "kd_prediction", "data": record_set.directory,
      "train_split": "train", "fold_teachers": tuple(map(str, workdirs)),
      "student_size": 56, **changes})


def _run(workdir, record_set, fold, number=2, **changes):
  """A run of a teacher, with its config and an empty checkpoint."""
  config_lib.write(fake_config.make(**{
      "data": record_set.directory, "train_split": "train", "folds": number,
      "left_out_fold": fold, **changes}), str(workdir))
  os.makedirs(workdir / "checkpoints")
  for ending in ("index", "data-00000-of-00001"):
    (workdir / "checkpoints" / f"ckpt-10.{ending}").touch()
  (workdir / "checkpoints" / "checkpoint").write_text(
      'model_checkpoint_path: "ckpt-10"\n'
      'all_model_checkpoint_paths: "ckpt-10"\n')
  return workdir


def test_class_that_only_the_left_out_fold_has_is_told(
    record_set, tmp_path, caplog):
  folds.kept(record_set, fake_config.make(folds=2, left_out_fold=0))
  assert not caplog.text
  few = fake_teacher.write_records(str(tmp_path), "few", (4,))
  green, blue = folds.assign(few, 2)[1:3].tolist()  # One image of each class.
  for fold in range(2):
    caplog.clear()
    folds.kept(few, fake_config.make(folds=2, left_out_fold=fold))
    for name, fold_of_class in (("green", green), ("blue", blue)):
      assert (name in caplog.text) == (fold == fold_of_class), caplog.text


def test_folds_have_the_same_classes_and_stay_the_same(record_set):
  found = folds.assign(record_set, 3)
  assert np.bincount(found).tolist() == [3, 3, 3]
  for label in range(3):  # Image i has class i % 3.
    assert sorted(found[label::3]) == [0, 1, 2]
  np.testing.assert_array_equal(found, folds.assign(record_set, 3))
  kept = folds.kept(record_set, fake_config.make(folds=3, left_out_fold=1))
  np.testing.assert_array_equal(kept, found != 1)
  assert folds.kept(record_set, fake_config.make()) is None
  with pytest.raises(errors.InputError, match="expected 10 groups of images"):
    folds.assign(record_set, 10)


@pytest.mark.parametrize("number, left_out", [(1, 0), (3, 3), (0, 1)])
def test_a_fold_that_does_not_exist_is_told(number, left_out):
  with pytest.raises(errors.InputError, match="--folds and --left_out_fold"):
    folds.check_left_out(
        fake_config.make(folds=number, left_out_fold=left_out))


def test_training_sees_all_images_but_those_of_the_fold(record_set):
  kept = folds.assign(record_set, 3) != 1
  options = dict(global_batch_size=2, sizes=(32,), num_proposals=4, seed=0,
                 shuffle_buffer=4, kept=kept)
  seen = [batch["record_index"].tolist()
          for batch in input_pipeline.training_batches(
              record_set, **options).take(6).as_numpy_iterator()]
  for epoch in (seen[:3], seen[3:]):
    assert sorted(sum(epoch, [])) == np.flatnonzero(kept).tolist()
  resumed = [batch["record_index"].tolist()
             for batch in input_pipeline.training_batches(
                 record_set, start_step=4, **options
             ).take(2).as_numpy_iterator()]
  assert resumed == seen[4:]


@pytest.mark.one_lane
@pytest.mark.parametrize("batch_size", [1, 4])
def test_cache_has_the_scores_of_the_teacher_that_has_not_seen_the_image(
    record_set, batch_size, tmp_path, monkeypatch):
  monkeypatch.setattr(teacher_cache.device_batches, "default_size",
                      lambda *_, **__: batch_size)
  members = []
  for fold in range(2):
    directory = tmp_path / str(fold)
    directory.mkdir()
    members.append(fake_teacher.make(
        str(directory), seed=fold, spread=1.0 + fold))
  teachers = folds.Teachers(members, folds.assign(record_set, 2))
  elsewhere = dataclasses.replace(
      record_set, directory=str(tmp_path))  # An empty cache.
  alone = [teacher_cache.image_scores(member, elsewhere, **_OPTIONS).read()
           for member in members]
  assert np.abs(alone[0] - alone[1]).max(axis=(1, 2)).min() > 1e-3
  both = teacher_cache.image_scores(teachers, elsewhere, **_OPTIONS).read()
  for index, fold in enumerate(teachers.fold_of):
    np.testing.assert_allclose(both[index], alone[fold][index], rtol=1e-5)
  features = dict(size=32, num_proposals=8, top_k=3)
  whole = [teacher_cache.roi_features(member, elsewhere, **features).read()
           for member in members]
  chosen = teacher_cache.roi_features(teachers, elsewhere, **features).read()
  for index, fold in enumerate(teachers.fold_of):
    np.testing.assert_array_equal(
        chosen[index]["indices"], whole[fold][index]["indices"])
    np.testing.assert_allclose(
        chosen[index]["fc7"].astype(float),
        whole[fold][index]["fc7"].astype(float), rtol=2e-3, atol=1e-3)
  # Other folds are another cache.
  others = folds.Teachers(members, 1 - teachers.fold_of)
  found = teacher_cache.image_scores(others, elsewhere, **_OPTIONS).read()
  np.testing.assert_allclose(found[0], alone[others.fold_of[0]][0], rtol=1e-5)


@pytest.mark.one_lane
def test_several_sides_are_averaged_over_both_views(record_set, tmp_path):
  teacher = fake_teacher.make(str(tmp_path))
  options = {**_OPTIONS, "record_set": record_set}
  single = [teacher_cache.image_scores(
      teacher, **{**options, "size": size}).read() for size in (32, 48)]
  fused = teacher_cache.image_scores(teacher, sizes=(32, 48), **options)
  expected = np.mean(single, axis=(0, 2))                         # [9, C]
  np.testing.assert_allclose(fused.read(), expected, rtol=1e-6)
  batches = input_pipeline.training_batches(
      record_set, global_batch_size=4, sizes=(32,), num_proposals=8, seed=1)
  for batch in fused.join(batches).take(3):
    np.testing.assert_allclose(
        batch["teacher_image_scores"],
        expected[batch["record_index"].numpy()], rtol=1e-6)


def test_runs_of_all_folds_are_found(record_set, tmp_path):
  workdirs = [_run(tmp_path / str(fold), record_set, fold) for fold in (0, 1)]
  paths = folds.check(_students(record_set, workdirs))
  assert paths == [str(workdir / "checkpoints" / "ckpt-10")
                   for workdir in workdirs]


@pytest.mark.parametrize("made, changes, words", [
    ({}, {"reverse": True}, "0 of 2, 1 of 2. Received: 1 of 2, 0 of 2"),
    ({"number": 3}, {}, "0 of 3, 1 of 3, 2 of 3. Received: 0 of 3, 1 of 3.$"),
    ({"number": 0}, {}, "0 of 2, 1 of 2. Received: 0 of 0, 1 of 0"),
    ({"train_split": "other"}, {}, "of folds of the student's records"),
    ({"stage": "cls"}, {}, "^--fold_teachers: .*expected a run of stage wsd"),
    ({}, {"teacher_cache": "off"}, "expected cached outputs"),
    ({}, {"teacher_dropout": True}, "--teacher_dropout in stage kd_pred"),
    ({}, {"stage": "kd_feature"}, "--teacher_cache=auto in stage kd_feature")])
def test_runs_that_are_not_teachers_of_these_folds_are_told(
    made, changes, words, record_set, tmp_path):
  workdirs = [_run(tmp_path / str(fold), record_set, fold, **made)
              for fold in (0, 1)]
  changes = dict(changes)
  if changes.pop("reverse", False):
    workdirs.reverse()
  with pytest.raises(errors.InputError, match=words):
    folds.check(_students(record_set, workdirs, **changes))


@pytest.mark.parametrize("name, before, after", [
    ("fc_units", 16, 8), ("score_scale", 1.0, 3.0)])
def test_teachers_of_different_models_are_told(
    name, before, after, record_set, tmp_path):
  workdirs = [_run(tmp_path / "0", record_set, 0, **{name: before}),
              _run(tmp_path / "1", record_set, 1, **{name: after})]
  with pytest.raises(errors.InputError, match=(
      f"1: expected the model of .*0. Received: --{name} was {before}, is "
      f"{after}")):
    folds.check(_students(record_set, workdirs))


def test_a_student_without_folds_has_one_teacher(record_set, tmp_path,
                                                 monkeypatch):
  loaded = []
  monkeypatch.setattr(teacher_lib, "load",
                      lambda *arguments: loaded.append(arguments))
  folds.load(_students(record_set, [], teacher=str(tmp_path)), record_set)
  assert loaded == [(str(tmp_path), "best", fake_records.CLASSES)]
