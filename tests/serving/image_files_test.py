"""Folders, patterns and lists become files; what fits none says so."""

import collections
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
    ("photos/*.gif", "no match"),
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


def test_what_folders_hold_beside_images_is_counted(folder):
  for name in ("x.TXT", "y.mp4", "README", ".hidden/z.txt", "jpg"):
    (folder / "photos" / name).write_bytes(b"")
  (folder / "photos" / "up").symlink_to(folder / "photos")
  (folder / "photos" / "e.jpg").symlink_to(folder / "photos" / "b.jpg")
  passed_over = collections.Counter()
  found = image_files.expand(["photos", "photos"], leave_out="photos/seen",
                             passed_over=passed_over)
  assert len(found) == 12
  assert passed_over == {
      ".txt": 4, ".mp4": 2, "file without an ending": 4, "hidden file": 2,
      "hidden folder": 2, "linked folder": 2}
  assert image_files.describe(passed_over) == (
      "4 .txt, 4 files without an ending, 2 .mp4, 2 hidden files, "
      "2 hidden folders, 2 linked folders")
  assert image_files.describe({}) == ""
  assert image_files.describe({"linked folder": 1, ".a": 3}) == (
      "3 .a, 1 linked folder")
  assert image_files.describe({f".{i}": 9 for i in range(9)}).endswith(
      ", 27 others")
  found, = image_files.expand(["none"])
  assert found.problem.endswith("Received: 1 .txt.")


@pytest.mark.parametrize("name", [
    "a [v1]", "*", "?", "50%", "#1", "é", "名前", "a b ", "a\u2028b", "$x$",
    "a\nb", os.fsdecode(b"caf\xe9")])
def test_odd_names_mean_themselves(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  (tmp_path / name).mkdir()
  (tmp_path / name / f"{name}.jpg").write_bytes(b"")
  (tmp_path / "link").symlink_to(tmp_path / name)
  path = f"{name}/{name}.jpg"
  for argument, expected in (
      (path, path), (name, path), (name + "/", path),
      (str(tmp_path / name), str(tmp_path / path)),
      ("link", f"link/{name}.jpg"), ("link/", f"link/{name}.jpg")):
    found, = image_files.expand([argument])
    assert (found.path, found.problem) == (expected, None)
    assert found.name == f"{name}.jpg"
