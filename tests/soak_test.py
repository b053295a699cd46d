"""Killed with SIGKILL where it hurts, programs end as if they had not been.

The short form of `make soak`. Programs run as users start them.
"""

import os

import pytest

from tests.soak import kills
from tests.soak import programs
from tests.soak import state

_WSD = {"stage": "wsd", "workdir": "run/wsd", "eval_split": "",
        "train_sizes": "48"}
_STUDENT = {"stage": "kd_prediction", "workdir": "run/kd_prediction",
            "eval_split": "", "teacher": "run/wsd", "optimizer": "adam"}


@pytest.fixture(scope="module", name="conversion")
def fixture_conversion(tmp_path_factory):
  """An undisturbed conversion; a test beside it converts the same scenes."""
  place = str(tmp_path_factory.mktemp("conversion"))
  programs.draw_scenes(os.path.join(place, "scenes"), num_train=12, num_test=0)
  return kills.undisturbed(
      programs.conversion(), os.path.join(place, "scenes"), place)


@pytest.fixture(scope="module", name="student")
def fixture_student(conversion, tmp_path_factory):
  """An undisturbed run of a student, and before it one of its teacher."""
  teacher = kills.undisturbed(
      programs.training("wsd", **_WSD), conversion.folder,
      str(tmp_path_factory.mktemp("teacher")))
  return kills.undisturbed(
      programs.training(
          "kd_prediction", needs=("records", "run"), **_STUDENT),
      teacher.folder, str(tmp_path_factory.mktemp("student")))


def _killed_at(reference, place, *names):
  """What differs after kills at aims of these names."""
  aims = [reference.program.aim(name) for name in names]
  killed, differences = kills.live(
      reference, str(place),
      lambda killed: (aims[len(killed)], False) if len(killed) < len(aims)
      else None, lambda attempt, line: print(line))
  assert len(killed) == len(aims), "ended before it could be killed"
  return differences


@pytest.mark.slow
def test_killed_conversion_ends_with_the_same_bytes(conversion, tmp_path):
  assert _killed_at(conversion, tmp_path, "a shard",
                    "the counts of a shard") == []
  assert sum(".tfrecord" in name for name in conversion.state) == 6


@pytest.mark.slow
def test_killed_run_ends_with_the_same_weights(student, tmp_path):
  assert _killed_at(
      student, tmp_path, "the image scores of kd_prediction",
      "a checkpoint of kd_prediction") == []
  names = [name for name in student.state
           if name.startswith("run/kd_prediction/checkpoints/ckpt-8")]
  assert sum("model/" in name for name in names) > 10
  assert sum("optimizer/" in name for name in names) > 20


def _weights(reference, place, **flags):
  """Last weights of a student trained in another way."""
  again = kills.undisturbed(
      programs.training(
          "again", needs=reference.program.needs, **{**_STUDENT, **flags}),
      reference.source, str(place))
  return state.weights(os.path.join(
      again.folder, "run/kd_prediction/checkpoints/ckpt-8"))


@pytest.mark.slow
def test_one_seed_gives_one_result_wherever_images_are_kept(student, tmp_path):
  expected = state.weights(os.path.join(
      student.folder, "run/kd_prediction/checkpoints/ckpt-8"))
  assert state.differences(
      expected, _weights(student, tmp_path, cache="disk")) == []


@pytest.mark.slow
def test_another_seed_gives_another_result(student, tmp_path):
  expected = state.weights(os.path.join(
      student.folder, "run/kd_prediction/checkpoints/ckpt-8"))
  received = _weights(student, tmp_path, seed=1)
  assert expected.keys() == received.keys()
  assert len(state.differences(expected, received)) > 10
