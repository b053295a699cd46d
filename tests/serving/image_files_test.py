"""Folders, patterns and lists become files; what fits none says so."""

import os

import pytest

from kdwsd.serving import image_files


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
  for name in ("b.jpg", "a b.jpg", "a.PNG", "sub/c.webp", "sub/d.txt",
               ".hidden/e.jpg", "sub/.f.jpg", "seen/b.png", "odd[1].jpg"):
    path = tmp_path / "photos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
  (tmp_path / "none").mkdir()
  (tmp_path / "none" / "notes.txt").write_text("x", encoding="utf-8")
  monkeypatch.chdir(tmp_path)
  return tmp_path


def _paths(found):
  assert not any(file.problem for file in found), found
  return [file.path for file in found]


def test_a_folder_is_searched_with_its_subfolders(folder):
  found = image_files.expand(["photos"], leave_out="photos/seen")
  names = ["a b.jpg", "a.PNG", "b.jpg", "odd[1].jpg", "sub/c.webp"]
  assert _paths(found) == ["photos/" + name for name in names]
  assert [file.name for file in found] == names
  assert "photos/seen/b.png" in _paths(image_files.expand(["photos"]))


def test_patterns_are_ours_to_expand_where_no_shell_did(folder):
  assert _paths(image_files.expand(["photos/*.jpg"])) == [
      "photos/a b.jpg", "photos/b.jpg", "photos/odd[1].jpg"]
  assert _paths(image_files.expand(["photos/**/*.webp"])) == [
      "photos/sub/c.webp"]
  # A file of that very name is no pattern.
  assert _paths(image_files.expand(["photos/odd[1].jpg"])) == [
      "photos/odd[1].jpg"]


def test_a_list_has_a_path_a_line(folder):
  found = image_files.expand(
      ["photos/b.jpg", "-"], ["photos/a b.jpg\r\n", "\n", "photos/a.PNG"])
  assert _paths(found) == ["photos/b.jpg", "photos/a b.jpg", "photos/a.PNG"]


@pytest.mark.parametrize("argument, received", [
    ("none", "expected images in the folder"),
    ("photos/*.gif", "no file fits"),
    ("photos/c.jpg", "no such file"), (os.devnull, "no file")])
def test_what_means_no_file_says_so_in_its_place(folder, argument, received):
  found = image_files.expand(["photos/b.jpg", argument, "photos/a.PNG"])
  assert [bool(file.problem) for file in found] == [False, True, False]
  assert found[1].path == argument
  assert received in found[1].problem


def test_a_folder_in_a_list_is_no_file(folder):
  found, = image_files.expand(["-"], ["photos\n"])
  assert "Received: a folder" in found.problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_told(folder):
  os.chmod(folder / "photos" / "sub", 0)
  try:
    found = image_files.expand(["photos"])
  finally:
    os.chmod(folder / "photos" / "sub", 0o755)
  assert "expected a folder that can be read" in found[-1].problem
