"""Files are there whole or not at all, and errors say where."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from unittest import mock

import pytest

from kdwsd import errors
from kdwsd import files


def test_writes_and_makes_directories(tmp_path):
  path = tmp_path / "a" / "b" / "x.json"
  files.write_json(path, {"häufig": [1, 2.5, None]})
  assert files.read_json(path) == {"häufig": [1, 2.5, None]}
  assert "häufig" in path.read_text(encoding="utf-8")
  assert os.listdir(path.parent) == ["x.json"]


def test_a_json_file_may_start_with_a_mark_of_utf_8(tmp_path):
  path = tmp_path / "x.json"
  path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
  assert files.read_json(path) == {"a": "\u00e9"}


def test_a_failing_writer_leaves_the_old_file(tmp_path):
  path = tmp_path / "x.txt"
  files.write_text(path, "old")
  with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
    with open(temporary, "w", encoding="utf-8") as file:
      file.write("half of the n")
    raise RuntimeError
  assert path.read_text(encoding="utf-8") == "old"
  assert os.listdir(tmp_path) == ["x.txt"]


def test_the_temporary_name_has_the_same_extension(tmp_path):
  with files.atomic_path(tmp_path / "x.png") as temporary:
    assert temporary.endswith(".png")


_KILLED = """
import os, signal, sys
from kdwsd import files
with files.atomic_path(sys.argv[1]) as temporary:
  with open(temporary, "w") as file:
    file.write("half of the n")
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_attempt(tmp_path):
  path = tmp_path / "x-1.txt"
  (tmp_path / ".partial-y-other.txt").write_text("", encoding="utf-8")
  done = subprocess.run([sys.executable, "-c", _KILLED, path], check=False,
                        timeout=600)
  assert done.returncode == -signal.SIGKILL
  assert len(os.listdir(tmp_path)) == 2
  files.write_text(path, "new")
  assert sorted(os.listdir(tmp_path)) == [".partial-y-other.txt", "x-1.txt"]


def test_what_another_process_is_writing_stays(tmp_path):
  path = tmp_path / "x.txt"
  with files.atomic_path(path) as temporary:
    with open(temporary, "w", encoding="utf-8") as file:
      file.write("the other one")
    files.write_text(path, "new")
    assert os.path.exists(temporary)
  assert path.read_text(encoding="utf-8") == "the other one"
  assert os.listdir(tmp_path) == ["x.txt"]


def test_a_file_taken_for_abandoned_before_its_lock_is_made_anew(tmp_path):
  real, taken = fcntl.flock, []

  def late(lock, operation):
    if not taken:
      taken.extend(tmp_path.glob(".partial-*"))
      taken[0].unlink()
    real(lock, operation)

  with mock.patch.object(fcntl, "flock", late):
    with files.atomic_path(tmp_path / "x.txt") as temporary:
      assert os.listdir(tmp_path) == [os.path.basename(temporary)]
      assert [path.name for path in taken] != os.listdir(tmp_path)


def test_without_locks_only_what_is_old_goes(tmp_path):
  for name in ("old", "young"):
    (tmp_path / f".partial-{name}-x.txt").write_text("", encoding="utf-8")
  os.utime(tmp_path / ".partial-old-x.txt", (0, 0))
  with mock.patch.object(
      fcntl, "flock", side_effect=OSError(errno.ENOLCK, "no locks")):
    files.write_text(tmp_path / "x.txt", "text")
  assert sorted(os.listdir(tmp_path)) == [".partial-young-x.txt", "x.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").write_text("", encoding="utf-8")
  with pytest.raises(errors.InputError, match="file.*Received: "):
    files.write_text(tmp_path / "file" / "x.txt", "text")


def test_reading_says_what_came(tmp_path):
  with pytest.raises(errors.InputError, match="missing.json.*No such file"):
    files.read_json(tmp_path / "missing.json")
  path = tmp_path / "bad.json"
  path.write_text('{"a": ', encoding="utf-8")
  with pytest.raises(errors.InputError, match="bad.json: expected JSON"):
    files.read_json(path)
