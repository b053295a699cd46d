"""The lock files are what .ci/lock.py writes, and it keeps their versions."""

import os

import pytest

from tests.installation import loading

lock = loading.load("lock")
_UV = """#!/bin/sh
printf '%s\\n' "$LANE $*" >> {folder}/calls
while [ $# -gt 1 ]; do
  case "$1" in
    --output-file) output=$2 ;;
    --constraint) cat "$2" >> {folder}/constraints ;;
  esac
  shift
done
# Keeps what it finds, and adds a package.
echo 'Added_One==1.0' >> "$output"
"""


@pytest.fixture(name="uv")
def _uv(tmp_path, monkeypatch):
  """A uv that notes its arguments, and copies of the lock files."""
  (tmp_path / "uv").write_text(_UV.format(folder=tmp_path), encoding="utf-8")
  (tmp_path / "uv").chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
  monkeypatch.setattr(lock, "_HERE", tmp_path)
  return tmp_path


@pytest.mark.parametrize("lane", lock.PYTHONS)
def test_reading_and_merging_a_lock_changes_nothing(lane):
  text = (loading.ROOT / ".ci" / f"constraints-{lane}.txt").read_text("utf-8")
  pins = {python: lock.read(text, python) for python in lock.PYTHONS[lane]}
  assert lock.HEADER + "\n".join(lock.merge(pins)) + "\n" == text


@pytest.mark.parametrize("lane", lock.PYTHONS)
def test_setuptools_is_locked(lane):
  text = (loading.ROOT / ".ci" / f"constraints-{lane}.txt").read_text("utf-8")
  for python in lock.PYTHONS[lane]:
    assert lock.read(text, python).items() >= lock.ALWAYS[lane].items()


def test_versions_that_differ_get_a_marker():
  assert lock.merge({"3.10": {"a": "1", "b": "1", "pip": "9"},
                     "3.11": {"a": "1", "b": "2", "c": "3"}}) == [
      "a==1",
      "b==1; python_version == '3.10'",
      "b==2; python_version == '3.11'",
      "c==3; python_version == '3.11'",
  ]


def test_a_lock_keeps_its_versions_unless_told_otherwise(uv):
  path = uv / "constraints-modern.txt"
  path.write_text("kept==2.0; python_version == '3.12'\n", encoding="utf-8")
  assert lock.main(["lock.py", "modern"]) == 0
  lines = path.read_text(encoding="utf-8").splitlines()
  assert "kept==2.0; python_version == '3.12'" in lines
  assert "added-one==1.0" in lines
  assert lock.main(["lock.py", "modern", "--upgrade"]) == 0
  assert "kept" not in path.read_text(encoding="utf-8")


def test_each_python_of_both_lanes_is_resolved(uv):
  assert lock.main(["lock.py"]) == 0
  calls = (uv / "calls").read_text(encoding="utf-8").splitlines()
  assert len(calls) == 7
  for call, python in zip(calls, (
      "3.9.25", "3.10", "3.11", "3.10", "3.11", "3.12", "3.13")):
    assert f"--python-version {python} " in call
  assert [call.startswith("modern ") for call in calls] == [False] * 3 + (
      [True] * 4)
  assert "setuptools==80.8.0\n" in (uv / "constraints").read_text("utf-8")


def test_an_unknown_lane_prints_the_usage(uv, capsys):
  assert lock.main(["lock.py", "old"]) == 2
  assert "lock.py modern --upgrade" in capsys.readouterr().err
  assert not (uv / "calls").exists()
