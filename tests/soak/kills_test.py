"""Killed programs are compared, and one that forgets is found out."""

import dataclasses
import os
from unittest import mock

import pytest

from tests.soak import fake_program
from tests.soak import kills
from tests.soak import moments

# The programs that are killed here do not load TensorFlow.
pytestmark = pytest.mark.one_lane


@pytest.fixture(autouse=True)
def fixture_waits(monkeypatch):
  """Programs wait at what is aimed at."""
  monkeypatch.setattr(kills.lives, "run", fake_program.run)


def _reference(tmp_path, fault="none", steps=30):
  source = str(tmp_path / "source")
  fake_program.write_source(source)
  return kills.undisturbed(
      fake_program.program(fault, steps), source, str(tmp_path / "undisturbed"))


def _live(reference, tmp_path, moments_to_kill):
  told = []
  killed, differences = kills.live(
      reference, str(tmp_path / "life"),
      lambda killed: (*moments_to_kill[len(killed):], None)[0],
      lambda attempt, line: told.append(line))
  assert len(told) == len(killed)
  return killed, differences


def test_a_program_that_remembers_ends_as_if_nothing_had_been(tmp_path):
  reference = _reference(tmp_path)
  aims = reference.program.aims
  killed, differences = _live(
      reference, tmp_path, [(aims[1], False), (aims[0], True)])
  assert len(killed) == 2
  assert differences == []


@pytest.mark.parametrize("fault, told", [
    ("double", "run/history.jsonl: line "), ("left", "left over: run/x_temp/x"),
    ("weight", "run/metrics.json: sum: expected 30. Received: 31.")])
def test_a_program_that_forgets_is_found_out(tmp_path, fault, told):
  reference = _reference(tmp_path, fault)
  killed, differences = _live(
      reference, tmp_path, [(reference.program.aims[1], False)])
  assert len(killed) == 1
  # Of a folder left over, it and what is in it.
  assert len(differences) == (2 if fault == "left" else 1)
  assert differences[-1].startswith(told)


def test_soak_kills_as_often_as_asked(tmp_path):
  told = []
  soak = kills.Soak(str(tmp_path), 3, told.append)
  soak.run([_reference(tmp_path)], 5)
  assert soak.hits == {"count": 5}
  assert soak.problems == []
  assert soak.lives >= 2
  assert sum(line.startswith("kill ") for line in told) == 5
  # What was well is gone.
  assert sorted(os.listdir(tmp_path)) == ["source", "undisturbed"]


def test_soak_keeps_and_tells_what_differs(tmp_path):
  soak = kills.Soak(str(tmp_path), 3, lambda line: None)
  # By the clock, all kills may come before there is anything to go on from.
  with mock.patch.object(kills, "_BY_THE_CLOCK", 0):
    soak.run([_reference(tmp_path, "left")], 2)
  assert len(soak.problems) >= 1
  assert "left over: run/x_temp/x" in soak.problems[0]
  assert "001-count" in os.listdir(tmp_path)


def test_moments_come_from_the_seed(tmp_path):
  reference = kills.Reference(fake_program.program(), "", "", {}, 1.0, 9.0)
  drawn = []
  for seed in (0, 0, 1):
    soak = kills.Soak(str(tmp_path), seed, None)
    aims = list(reference.program.aims)
    drawn.append([soak.draw(reference, aims, []) for _ in range(40)])
  assert drawn[0] == drawn[1] != drawn[2]
  clock = [m.seconds for m, _ in drawn[0] if isinstance(m, moments.AtTime)]
  assert 10 < len(clock) < 30
  assert 1 <= min(clock) < 3 and 7 < max(clock) <= 9
  assert {m.name for m, _ in drawn[0] if isinstance(m, moments.Aim)} == {
      "a note", "history"}
  assert 1 <= sum(alone for _, alone in drawn[0]) <= 20


def test_aims_of_stages_that_are_done_are_passed_by(tmp_path):
  aims = [moments.Aim(stage, "", "", stage=stage)
          for stage in ("wsd", "cls", "kd_feature")]
  reference = kills.Reference(dataclasses.replace(
      fake_program.program(), stages=True), "", "", {}, 1.0, 9.0)
  soak = kills.Soak(str(tmp_path), 0, None)
  killed = [kills.lives.Attempt(True, 1.0, 1.0, "cls", "")]
  drawn = [soak.draw(reference, list(aims), killed)[0] for _ in range(40)]
  assert {m.name for m in drawn if isinstance(m, moments.Aim)} == {"cls"}
