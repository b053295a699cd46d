"""Tests of kdwsd.training.profiling: which steps are in a profile."""

import pytest
import tensorflow as tf

from kdwsd.training import profiling
from tests.training import fake_steps


def _profiles(directory):
  return sorted(directory.glob("plugins/profile/*/*.xplane.pb"))


def test_profile_of_a_run_lies_where_tensorboard_looks(tmp_path):
  run = fake_steps.make(
      "cls", profile=profiling.Profile(str(tmp_path), (3, 4)))
  run.train(2)
  assert not _profiles(tmp_path)
  run.train(1)
  assert not _profiles(tmp_path)
  run.train(2)
  profile, = _profiles(tmp_path)
  content = profile.read_bytes()
  assert b"Conv2D" in content
  assert content.count(b"Conv2DBackpropFilter") > 1
  run.train(1)
  assert _profiles(tmp_path) == [profile]


def _take(profile, steps):
  for step in steps:
    with profile.of(step):
      tf.constant(1.0).numpy()


def test_run_that_stops_or_resumes_within_the_steps_has_a_profile(tmp_path):
  first = profiling.Profile(str(tmp_path / "first"), (3, 5))
  _take(first, range(1, 5))
  assert not _profiles(tmp_path / "first")
  first.stop()
  first.stop()
  assert len(_profiles(tmp_path / "first")) == 1
  second = profiling.Profile(str(tmp_path / "second"), (3, 5))
  _take(second, range(5, 8))
  assert len(_profiles(tmp_path / "second")) == 1


@pytest.mark.parametrize("steps", [(), (20, 30)])
def test_no_profile_without_its_steps(tmp_path, steps):
  profile = profiling.Profile(str(tmp_path), steps)
  _take(profile, range(1, 4))
  profile.stop()
  assert not _profiles(tmp_path)
