"""Processes are run, killed with all they started, and understood."""

import os
from unittest import mock

import pytest

from tests.soak import fake_program
from tests.soak import lives
from tests.soak import moments

# The programs that are killed here do not load TensorFlow.
pytestmark = pytest.mark.one_lane


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
  return str(tmp_path / "place" / "work")


def _lay_out(program, folder, tmp_path):
  source = str(tmp_path / "source")
  fake_program.write_source(source)
  program.lay_out(folder, source)
  return program


def test_a_program_that_is_left_alone_ends(folder, tmp_path):
  program = _lay_out(fake_program.program(steps=10), folder, tmp_path)
  attempt = lives.run(program, folder)
  assert not attempt.killed
  assert 0 < attempt.start_up <= attempt.seconds
  assert sorted(os.listdir(folder)) == ["given", "run", "tmp"]
  assert os.listdir(os.path.join(folder, "tmp")) == []


def test_a_killed_program_is_told_with_what_it_did(folder, tmp_path):
  program = _lay_out(fake_program.program(steps=500), folder, tmp_path)
  attempt = fake_program.run(program, folder, program.aims[0])
  assert attempt.killed
  assert attempt.where == "count"
  assert "counting from 0" in attempt.doing
  assert "half written: run/.partial-" in attempt.doing
  assert "note.json" in attempt.doing


def test_a_moment_that_does_not_come_kills_nothing(folder, tmp_path):
  program = _lay_out(fake_program.program(steps=3), folder, tmp_path)
  assert not lives.run(program, folder, moments.AtTime(3600.0)).killed


def test_what_a_program_started_dies_with_it(folder, tmp_path):
  program = _lay_out(fake_program.program("child"), folder, tmp_path)
  assert fake_program.run(program, folder, program.aims[0]).killed


def test_what_outlives_its_program_is_told(folder, tmp_path):
  program = _lay_out(fake_program.program("child"), folder, tmp_path)
  with mock.patch.object(lives, "_MOURNING", 0.2):
    with pytest.raises(lives.DeathError, match="to die with it"):
      fake_program.run(program, folder, program.aims[0], alone=True)


def test_a_failure_is_told_with_its_last_words(folder, tmp_path):
  program = _lay_out(fake_program.program("fails"), folder, tmp_path)
  with pytest.raises(lives.DeathError, match="status 1.\n(.|\n)*it has failed"):
    lives.run(program, folder)


def test_a_program_that_hangs_is_told(folder, tmp_path):
  program = _lay_out(fake_program.program(steps=10000), folder, tmp_path)
  with mock.patch.object(lives, "_LIMIT", 0.5):
    with pytest.raises(lives.DeathError, match="expected to end within"):
      lives.run(program, folder)
