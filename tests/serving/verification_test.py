"""The check before publishing sees what must not be published."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.serving import examples
from kdwsd.serving import native_session
from kdwsd.serving import saved_model
from kdwsd.serving import verification
from kdwsd.serving import warmup
from tests.data import fake_records
from tests.serving import fakes


def _verify(directory, servable, model, chosen):
  return verification.verify(
      str(directory), servable, model, chosen, eval_size=fakes.EVAL_SIZE)


@pytest.fixture(scope="module", name="student")
def fixture_student(tmp_path_factory):
  """(model, servable, directory)."""
  model = fakes.make_student()
  servable = fakes.servable_student(model)
  directory = str(tmp_path_factory.mktemp("student"))
  saved_model.write(servable, directory)
  return model, servable, directory


@pytest.fixture(name="here")
def fixture_here(monkeypatch):
  """The same session within this process, which takes a tenth of the time."""
  def run_here(directory, requests):
    with native_session.Session(directory) as session:
      return session.signatures, [session.run(*request)
                                  for request in requests]
  monkeypatch.setattr(native_session, "run_apart", run_here)


@pytest.fixture(name="copy")
def fixture_copy(student, tmp_path):
  """The student's export, to be changed."""
  return shutil.copytree(student[2], str(tmp_path / "copy"))


def test_sound_student_passes_with_its_warmup(student, copy):
  model, servable, _ = student
  chosen = examples.drawn(2)
  requests = [request for size in (1, 2)
              for request in examples.requests(servable, chosen[:size])]
  warmup.write(copy, requests, model_name="student")
  differences = _verify(copy, servable, model, chosen)
  assert set(differences) == {
        "serving_default", "per_image", "images", "classify"}
  assert max(differences.values()) < 1e-5


def test_sound_teacher_passes_on_records(tmp_path, here):
  del here
  # Exact pooling: the one operation with a gradient of its own.
  model = fakes.make_teacher(roi_pooling="max")
  servable = fakes.servable_teacher(model)
  record_set = fake_records.write(str(tmp_path), "test", 3)
  directory = str(tmp_path / "export")
  saved_model.write(servable, directory)
  chosen = examples.from_records(record_set, 2, num_proposals=4)
  assert [len(example.proposals) for example in chosen] == [4, 4]
  warmup.write(directory, examples.requests(servable, chosen),
               model_name="teacher")
  differences = _verify(directory, servable, model, chosen)
  assert set(differences) == {"serving_default", "per_image", "images"}
  assert max(differences.values()) < 1e-5


def test_other_weights_are_seen(student, here):
  del here
  _, servable, directory = student
  with pytest.raises(errors.InputError, match="expected probabilities within"):
    _verify(directory, servable, fakes.make_student(seed=1), examples.drawn(1))


@pytest.mark.parametrize("value, passes", [
    (0.50009, True), (0.5002, False), (np.nan, False), (np.inf, False)])
def test_a_difference_above_the_tolerance_is_seen(value, passes):
  arguments = ("there", "images", {"probabilities": np.float32([[0.5]])}, {
      "probabilities": np.float32([[value]]),
      "classes": np.array([[b"cat"]], object)}, ("cat",))
  if passes:
    assert verification._compare(*arguments) < 1e-4  # pylint: disable=protected-access
  else:
    with pytest.raises(errors.InputError, match="expected probabilities"):
      verification._compare(*arguments)  # pylint: disable=protected-access


def test_other_classes_are_seen(student, here):
  del here
  model, servable, directory = student
  other = dataclasses.replace(servable, classes=("dog", "cat", "emu"))
  with pytest.raises(errors.InputError, match="expected the classes"):
    _verify(directory, other, model, examples.drawn(1))


def test_other_signatures_are_seen(student, here):
  del here
  model, servable, directory = student
  fewer = dataclasses.replace(
      servable, signatures={"images": servable.signatures["images"]})
  with pytest.raises(errors.InputError, match="signatures .'images'.*classify"):
    _verify(directory, fewer, model, examples.drawn(1))


@pytest.mark.parametrize("output, row, value", [
    # A bad image that was scored, and a good one with a status.
    ("probabilities", -1, 0.5), ("status", 0, b"expected an image")])
def test_another_answer_of_per_image_is_seen(
    student, monkeypatch, output, row, value):
  def run_here(directory, requests):
    with native_session.Session(directory) as session:
      answers = [session.run(*request) for request in requests]
      answers[1][output][row] = value
      return session.signatures, answers
  monkeypatch.setattr(native_session, "run_apart", run_here)
  model, servable, directory = student
  with pytest.raises(errors.InputError, match="none to the last"):
    _verify(directory, servable, model, examples.drawn(1))


def test_a_warmup_request_that_fails_is_seen(student, copy, here):
  del here
  model, servable, _ = student
  warmup.write(copy, [("serving_default", {
      "image_bytes": np.array([fakes.truncated_jpeg()], object)})],
               model_name="student")
  with pytest.raises(errors.InputError, match=r"image_bytes\[0\]"):
    _verify(copy, servable, model, examples.drawn(1))


def test_lost_weights_are_seen(student, copy, here):
  del here
  model, servable, _ = student
  data = os.path.join(copy, "variables", "variables.data-00000-of-00001")
  os.truncate(data, os.path.getsize(data) // 2)
  with pytest.raises(errors.InputError, match="C\\+\\+ session can run"):
    _verify(copy, servable, model, examples.drawn(1))
