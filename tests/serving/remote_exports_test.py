"""Exports on a file system of TensorFlow's, here ram://."""

import os
from unittest import mock
import uuid

import pytest

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.serving import remote_exports
from kdwsd.serving import saved_model


@pytest.fixture(name="models")
def _models():
  return f"ram://{uuid.uuid4().hex}/models"


def _export(models, version=None, content="x"):
  """Exports three files; returns the number of the version."""
  with saved_model.new_version(models, version) as (folder, number):
    for name in ("assets/classes.txt", "saved_model.pb", "variables/data"):
      files.write_text(os.path.join(folder, name), f"{content} {name}")
  return number


def test_versions_are_counted_and_found(models):
  with pytest.raises(errors.InputError, match="no version there"):
    saved_model.find(models)
  assert [_export(models), _export(models, 7), _export(models)] == [1, 7, 8]
  assert saved_model.versions(models) == [1, 7, 8]
  assert saved_model.find(models) == f"{models}/8"
  assert saved_model.find(f"{models}/7") == f"{models}/7"
  with pytest.raises(errors.InputError, match="models/7: .*does not exist yet"):
    _export(models, 7)
  assert saved_model.read_classes(f"{models}/8") == ("x assets/classes.txt",)


def test_the_file_that_makes_a_version_is_copied_last(models):
  copied = []
  upload = places.upload

  def noting(path, remote):
    copied.append(remote[len(models):])
    upload(path, remote)

  with mock.patch.object(places, "upload", noting):
    _export(models)
  assert sorted(copied) == [
      "/1/assets/classes.txt", "/1/saved_model.pb", "/1/variables/data"]
  assert copied[-1] == "/1/saved_model.pb"


def test_a_failing_copy_leaves_nothing(models):
  upload = places.upload

  def failing(path, remote):
    if remote.endswith("saved_model.pb"):
      raise OSError(5, "away")
    upload(path, remote)

  with mock.patch.object(places, "upload", failing):
    with pytest.raises(errors.InputError, match="--output: ram.*away"):
      _export(models)
  assert not places.exists(f"{models}/1/assets/classes.txt")
  assert _export(models) == 1


def test_what_a_killed_export_left_is_no_version(models):
  files.write_text(f"{models}/1/assets/classes.txt", "old")
  files.write_text(f"{models}/1/old", "old")
  assert saved_model.versions(models) == []
  assert _export(models) == 1
  assert not places.exists(f"{models}/1/old")


def test_a_failing_block_copies_nothing(models):
  with pytest.raises(KeyError), saved_model.new_version(models):
    raise KeyError
  assert saved_model.versions(models) == []


def test_a_copy_for_prediction_is_that_of_the_newest_version(models):
  _export(models, 3, "old")
  _export(models, 10, "new")
  folder = remote_exports.fetch(saved_model.find(models))
  assert sorted(os.listdir(folder)) == ["assets", "saved_model.pb", "variables"]
  with places.open_text(f"{folder}/variables/data", encoding="utf-8") as file:
    assert file.read() == "new variables/data"


def test_a_copy_that_fails_is_told(models):
  _export(models)
  with mock.patch.object(places, "open_bytes", side_effect=OSError(
      5, "away", "ram://x")):
    with pytest.raises(errors.InputError, match="ram://x: expected .*away"):
      remote_exports.fetch(f"{models}/1")
