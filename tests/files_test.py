"""Files are there whole or not at all, and errors say where."""

import os

import pytest

from kdwsd import errors
from kdwsd import files


def test_writes_and_makes_directories(tmp_path):
  path = tmp_path / "a" / "b" / "x.json"
  files.write_json(path, {"häufig": [1, 2.5, None]})
  assert files.read_json(path) == {"häufig": [1, 2.5, None]}
  assert "häufig" in path.read_text(encoding="utf-8")
  assert os.listdir(path.parent) == ["x.json"]


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
