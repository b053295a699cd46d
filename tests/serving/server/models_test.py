"""Versions come and go on disk; calls always find one."""

import os
import shutil
import time

import pytest

from kdwsd import errors
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


def _latest(model):
  with model.use(models.Reference("student")) as loaded:
    return loaded.version


def _states(model):
  return {status.version: status.state
          for status in model.statuses(models.Reference("student"))}


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
  with model.use(models.Reference("student")) as held:
    fakes.publish(exports[2], tmp_path, 10)  # Not before 9, as text would be.
    model.poll()
    assert _latest(model) == 10
    assert _states(model) == {10: "AVAILABLE", 9: "UNLOADING"}
    model.poll()
    assert _states(model)[9] == "UNLOADING"  # It has a user still.
    assert held.signature("")
  model.poll()
  assert _states(model) == {10: "AVAILABLE", 9: "END"}
  with pytest.raises(codes.ServingError) as caught:
    with model.use(models.Reference("student", version=9)):
      pass
  assert caught.value.code == "NOT_FOUND"
  assert caught.value.message == (
      "Servable not found for request: Specific(student, 9)")
  model.stop()


def test_labelled_versions_stay(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  fakes.publish(exports[2], tmp_path, 2)
  model = _model(tmp_path, labels={"stable": 1, "canary": 2})
  model.start()
  fakes.publish(exports[1], tmp_path, 3)
  model.poll()
  assert model.available() == [1, 2, 3]
  for label, version in (("stable", 1), ("canary", 2)):
    reference = models.Reference("student", label=label)
    with model.use(reference) as loaded:
      assert loaded.version == version
    assert [status.version for status in model.statuses(reference)] == [version]
  with pytest.raises(codes.ServingError) as caught:
    with model.use(models.Reference("student", label="beta")):
      pass
  assert caught.value.code == "INVALID_ARGUMENT"
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
  newest, old = model.statuses(models.Reference("student"))
  assert (newest.version, newest.state) == (2, "END")
  assert newest.code != "OK"
  assert newest.message
  assert (old.version, old.state) == (1, "AVAILABLE")
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
  end = time.monotonic() + 20
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
  with pytest.raises(errors.InputError, match="1: expected a SavedModel"):
    _model(tmp_path).start()
  fakes.publish(exports[2], tmp_path, 2)
  with pytest.raises(errors.InputError, match="label canary: .*Received: 3"):
    _model(tmp_path, labels={"canary": 3}).start()
  with pytest.raises(errors.InputError, match="1: expected a SavedModel"):
    _model(tmp_path, labels={"stable": 1}).start()


def test_other_models_are_not_found(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  model = _model(tmp_path, labels={"stable": 1})
  model.start()
  for reference in (models.Reference("other"),
                    models.Reference("other", version=1),
                    models.Reference("other", label="stable")):
    with pytest.raises(codes.ServingError) as caught:
      with model.use(reference):
        pass
    assert caught.value.code == "NOT_FOUND"
    with pytest.raises(codes.ServingError) as caught:
      model.statuses(reference)
    assert caught.value.code == "NOT_FOUND"
  with pytest.raises(codes.ServingError, match="version 7 of model student"):
    model.statuses(models.Reference("student", version=7))
  with pytest.raises(codes.ServingError, match="no name"):
    with model.use(models.Reference("")):
      pass
  model.stop()
