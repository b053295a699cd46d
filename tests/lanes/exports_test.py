"""Exports of each lane are used in the other."""

import contextlib
import re
import signal

import numpy as np
import pytest

from kdwsd import files
from kdwsd.serving import lite
from tests.lanes import lane


@pytest.fixture(scope="module", name="made")
def fixture_made(tmp_path_factory):
  """A folder with exports of each lane and what that lane answers."""
  place = tmp_path_factory.mktemp("made")
  for name in ("other", "this"):
    lane.run(name, "tests.lanes.exports", "make", place / name)
  return place


def _compare(expected, received, *, quantized):
  expected, received = dict(np.load(expected)), dict(np.load(received))
  assert expected.keys() == received.keys()
  for name, values in expected.items():
    assert np.ptp(values) > 0.01, f"{name} cannot differ"
    np.testing.assert_allclose(
        received[name], values, rtol=0, err_msg=name,
        atol=quantized if "int" in name else 2e-5)


@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_exports_answer_alike_in_the_other_lane(made, maker, user, tmp_path):
  lane.run(user, "tests.lanes.exports", "use", made / maker,
           tmp_path / "answers.npz")
  # A step of the output of 8 bits.
  _compare(made / maker / "answers.npz", tmp_path / "answers.npz",
           quantized=1 / 256)
  answers = np.load(tmp_path / "answers.npz")
  for file in lite.FILES.values():
    assert f"student, {file}" in answers
  # Every signature, and warm-up requests of one and of two images.
  assert sum("student, C++" in name for name in answers) >= 8
  assert sum("teacher, C++" in name for name in answers) >= 8


def test_exports_name_their_tensorflow(made):
  versions = {files.read_json(
      made / name / "models" / "student" / "1" / "export.json")[
          "tensorflow_version"] for name in ("this", "other")}
  assert len(versions) == 2


@contextlib.contextmanager
def _server(name, models):
  """Yields the gRPC port of the local server of a lane."""
  process = lane.start(
      name, "kdwsd.serve", f"--model_base_path={models}/student", "--port=0",
      "--rest_api_port=0")
  try:
    line = process.stdout.readline()
    found = re.search(r"gRPC .*:(\d+)", line)
    assert found, line + process.stderr.read()
    yield found.group(1)
  finally:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)


@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_a_server_answers_the_client_of_the_other_lane(
    made, maker, user, tmp_path):
  with _server(user, made / maker / "models") as port:
    lane.run(maker, "tests.lanes.exports", "call", port, made / maker,
             tmp_path / "answers.npz")
  expected = np.load(made / maker / "answers.npz")["student, predictor"]
  received = np.load(tmp_path / "answers.npz")
  for name in ("student, predictor", "student, classify"):
    np.testing.assert_allclose(received[name], expected, rtol=0, atol=2e-5)
