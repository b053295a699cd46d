"""Versions come and go on disk; calls always find one."""

import os
import shutil
import tempfile
import time
from unittest import mock
import uuid

import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_pb2

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.serving.server import codes
from kdwsd.serving.server import models
from tests.serving.server import fakes


@pytest.fixture(scope="module", name="exports")
def fixture_exports(tmp_path_factory):
  """{version: directory of an export}."""
  base = str(tmp_path_factory.mktemp("exports"))
  return {version: fakes.write(base, version) for version in (1, 2)}


def _model(base, **changes):
  return models.Model(
      "student", str(base), **{"poll_seconds": 1000.0, **changes})


def _spec(name="student", version=None, label=None):
  spec = model_pb2.ModelSpec(name=name, version_label=label)
  if version is not None:
    spec.version.value = version
  return spec


def _latest(model):
  return model.find(_spec()).version


def _state(status):
  return get_model_status_pb2.ModelVersionStatus.State.Name(status.state)


def _states(model):
  return {status.version: _state(status)
          for status in model.status(_spec()).model_version_status}


def _break(base, version):
  """A version directory that is no SavedModel."""
  os.makedirs(os.path.join(base, str(version)))
  with open(os.path.join(base, str(version), "saved_model.pb"), "wb") as file:
    file.write(b"\x08\x01 no proto")


def test_the_newest_version_takes_over_and_the_old_one_goes(
    exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 9)
  model = _model(tmp_path)
  model.start()
  assert _latest(model) == 9
  held = model.find(_spec())
  fakes.publish(exports[2], tmp_path, 10)  # Not before 9, as text would be.
  model.poll()
  assert _latest(model) == 10
  assert _states(model) == {10: "AVAILABLE", 9: "UNLOADING"}
  model.poll()
  assert _states(model)[9] == "UNLOADING"  # It has a user still.
  assert held.signature("")
  del held
  model.poll()
  assert _states(model) == {10: "AVAILABLE", 9: "END"}
  with pytest.raises(codes.ServingError) as caught:
    model.find(_spec(version=9))
  assert caught.value.code.name == "NOT_FOUND"
  assert caught.value.message == (
      "Servable not found for request: Specific(student, 9)")
  model.stop()


def test_versions_on_an_object_store_are_loaded_when_they_are_whole(
    exports, tmp_path, monkeypatch):
  base = f"ram://{uuid.uuid4().hex}/models"

  def upload(version, names):
    for folder, _, files_there in os.walk(exports[1]):
      for name in files_there:
        path = os.path.join(folder, name)
        if (name == "saved_model.pb") == (names == "last"):
          files.upload(path, f"{base}/{version}{path[len(exports[1]):]}")

  model = _model(base)
  with pytest.raises(errors.InputError, match=f"{base}: expected the direct"):
    model.start()
  upload(9, "first")
  upload(9, "last")
  upload(10, "first")
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  model.start()
  assert _states(model) == {9: "AVAILABLE"}
  upload(10, "last")
  with monkeypatch.context() as patch:
    patch.setattr(places, "fetch", mock.Mock(side_effect=OSError(5, "away")))
    with pytest.raises(errors.InputError, match=f"{base}/10: expected .*away"):
      model.poll()
  model.poll()
  assert _latest(model) == 10
  assert not os.listdir(tmp_path)
  answer = model.find(_spec()).signature("").run(
      {"image_bytes": np.array([b"abc"], object)})
  np.testing.assert_allclose(
      answer["probabilities"], [fakes.probabilities(b"abc", 1)])
  model.stop()


def test_labelled_versions_stay(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  fakes.publish(exports[2], tmp_path, 2)
  model = _model(tmp_path, labels={"stable": 1, "canary": 2})
  model.start()
  fakes.publish(exports[1], tmp_path, 3)
  model.poll()
  assert model.available() == [1, 2, 3]
  assert _latest(model) == 3
  for label, version in (("stable", 1), ("canary", 2)):
    assert model.find(_spec(label=label)).version == version
  with pytest.raises(codes.ServingError) as caught:
    model.find(_spec(label="beta"))
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert caught.value.message == "Unrecognized servable version label: beta"
  model.stop()


def test_only_the_latest_is_loaded_and_other_directories_are_ignored(
    exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  fakes.publish(exports[2], tmp_path, 2)
  for name in ("writing-3", "4x", "-5", "6.0", "tmp"):
    (tmp_path / name).mkdir()
  (tmp_path / "7").write_text("a file", encoding="utf-8")
  model = _model(tmp_path)
  model.start()
  assert _states(model) == {2: "AVAILABLE"}
  model.stop()


def test_a_broken_version_is_reported_and_the_old_one_goes_on(
    exports, tmp_path, monkeypatch):
  fakes.publish(exports[1], tmp_path, 1)
  model = _model(tmp_path)
  model.start()
  _break(tmp_path, 2)
  model.poll()
  assert _latest(model) == 1
  newest, old = model.status(_spec()).model_version_status
  assert (newest.version, _state(newest)) == (2, "END")
  assert newest.status.error_code
  assert newest.status.error_message
  assert (old.version, _state(old)) == (1, "AVAILABLE")
  loads = []
  load = models.servables.load
  monkeypatch.setattr(models.servables, "load", lambda *arguments: (
      loads.append(arguments[1]), load(*arguments))[1])
  model.poll()
  assert not loads  # It is as broken as it was.
  shutil.rmtree(tmp_path / "2")
  fakes.publish(exports[2], tmp_path, 2)
  model.poll()
  assert loads == [2]
  assert _latest(model) == 2
  model.stop()


def test_a_newest_version_that_is_taken_away_brings_the_older_one_back(
    exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  fakes.publish(exports[2], tmp_path, 2)
  model = _model(tmp_path)
  model.start()
  shutil.rmtree(tmp_path / "2")
  model.poll()
  assert _latest(model) == 1
  shutil.rmtree(tmp_path / "1")
  model.poll()
  assert _latest(model) == 1  # With nothing there, it stays.
  shutil.rmtree(tmp_path)
  model.poll()
  assert _latest(model) == 1
  model.stop()


def test_the_watch_finds_new_versions_by_itself(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  model = _model(tmp_path, poll_seconds=0.02)
  model.start()
  fakes.publish(exports[2], tmp_path, 2)
  end = time.monotonic() + 300
  while _states(model) != {1: "END", 2: "AVAILABLE"}:
    assert time.monotonic() < end, _states(model)
    time.sleep(0.02)
  model.stop()


def test_what_cannot_be_served_is_told_at_the_start(exports, tmp_path):
  with pytest.raises(errors.InputError, match="missing.*No such file"):
    _model(tmp_path / "missing").start()
  with pytest.raises(errors.InputError, match="names are numbers"):
    _model(tmp_path).start()
  _break(tmp_path, 1)
  with pytest.raises(errors.InputError, match="are numbers.* Version 1: "):
    _model(tmp_path).start()
  fakes.publish(exports[2], tmp_path, 2)
  with pytest.raises(errors.InputError, match="canary.: 3.*Received: .1, 2."):
    _model(tmp_path, labels={"canary": 3}).start()
  with pytest.raises(errors.InputError, match="are numbers.* Version 1: "):
    _model(tmp_path, labels={"stable": 1}).start()


def test_other_models_are_not_found(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  model = _model(tmp_path, labels={"stable": 1})
  model.start()
  for spec in (_spec("other"), _spec("other", version=1),
               _spec("other", label="stable")):
    with pytest.raises(codes.ServingError) as caught:
      model.find(spec)
    assert caught.value.code.name == "NOT_FOUND"
    with pytest.raises(codes.ServingError) as caught:
      model.status(spec)
    assert caught.value.code.name == "NOT_FOUND"
  with pytest.raises(codes.ServingError, match="version 7 of model student"):
    model.status(_spec(version=7))
  with pytest.raises(codes.ServingError, match="no name"):
    model.find(_spec(""))
  model.stop()


@pytest.mark.parametrize("name", [
    "[v1] *?%#", "dög é", "a[b-", "?", "back\\slash", "100%25#x", "s3:"])
def test_paths_may_have_any_characters(exports, tmp_path, name):
  base = tmp_path / name
  fakes.publish(exports[1], base, 1)
  (tmp_path / "link").symlink_to(base)
  for path in (base, f"{base}/", tmp_path / "link"):
    model = _model(path)
    model.start()
    answer = model.find(_spec()).signature("").run(
        {"image_bytes": np.array([b"abc"], object)})
    np.testing.assert_allclose(
        answer["probabilities"], [fakes.probabilities(b"abc", 1)])
    model.stop()
