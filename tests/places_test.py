"""Remote paths behave as local ones, on TensorFlow's file system ram://."""

import io
import os
import pathlib
import subprocess
import sys
from unittest import mock
import uuid

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places


@pytest.fixture(name="folder", params=["local", "ram"])
def _folder(request, tmp_path):
  """A folder of each kind."""
  if request.param == "local":
    return str(tmp_path)
  folder = f"ram://{uuid.uuid4().hex}"
  places.makedirs(folder)
  return folder


def _write(folder, name, content=b"abc"):
  files.write_bytes(f"{folder}/{name}", content)
  return f"{folder}/{name}"


def test_files_and_folders(folder):
  path = _write(folder, "a b/c.txt")
  assert places.isfile(path) and places.exists(path)
  assert not places.isdir(path) and places.isdir(f"{folder}/a b")
  assert not places.isfile(f"{folder}/a b")
  assert not places.exists(f"{folder}/d") and not places.isdir(f"{folder}/d")
  assert places.listdir(f"{folder}/a b") == ["c.txt"]
  assert places.getsize(path) == 3
  _write(folder, "a b/x/y.txt")
  assert sorted((os.path.relpath(where, folder), sorted(inner), names)
                for where, inner, names in places.walk(folder)) == [
      (".", ["a b"], []), ("a b", ["x"], ["c.txt"]),
      ("a b/x", [], ["y.txt"])]
  places.remove(path)
  assert not places.exists(path)
  places.rmtree(f"{folder}/a b")
  places.rmtree(f"{folder}/a b")  # Not there.
  assert not places.exists(f"{folder}/a b/x/y.txt")


def test_errors_are_those_of_the_system(folder):
  for act in (places.getsize, places.remove, places.listdir,
              places.open_bytes):
    with pytest.raises(FileNotFoundError) as caught:
      act(f"{folder}/none")
    assert caught.value.strerror == "No such file or directory"
    assert caught.value.filename == f"{folder}/none"


def test_reading_from_any_position(folder):
  content = bytes(range(256)) * 20
  path = _write(folder, "x", content)
  with places.open_bytes(path) as file:
    assert file.read(3) == content[:3]
    file.seek(1000)
    assert (file.read(5), file.tell()) == (content[1000:1005], 1005)
    file.seek(-2, os.SEEK_END)
    assert file.read(10) == content[-2:]
    assert file.read(10) == b""
    file.seek(0)
    assert file.read() == content
  path = _write(folder, "t", "\ufeffone\r\ntwo".encode())
  with places.open_text(path, encoding="utf-8-sig", newline="") as file:
    assert list(file) == ["one\r\n", "two"]
  with places.open_text(path, encoding="utf-8-sig") as file:
    assert isinstance(file, io.TextIOWrapper) and file.read() == "one\ntwo"


def test_a_file_is_replaced_whole_or_not_at_all(folder):
  path = f"{folder}/new/x.json"
  files.write_json(path, {"a": 1})
  files.write_json(path, {"a": 2})
  with pytest.raises(KeyError), files.atomic_path(path) as temporary:
    with open(temporary, "wb") as file:
      file.write(b"half")
    raise KeyError
  with pytest.raises(errors.InputError, match=r"x\.json: expected to write"), (
      files.atomic_path(path)):
    raise OSError(28, "No space left on device")
  assert files.read_json(path) == {"a": 2}
  assert places.listdir(f"{folder}/new") == ["x.json"]
  with pytest.raises(errors.InputError, match="none.json: expected a JSON"):
    files.read_json(f"{folder}/none.json")


def test_what_a_killed_process_left_goes_with_the_next_attempt_after_an_hour():
  folder = f"ram://{uuid.uuid4().hex}"
  for name in (".partial-1-x", ".partial-2-y"):
    _write(folder, name)
  for age in 0, 1000:  # Perhaps being written.
    with mock.patch.object(
        places, "getmtime", lambda path, age=age: files.time.time() - age):
      files.write_text(f"{folder}/x", "")
    assert len(places.listdir(folder)) == 3
  written = files.time.time() - 4000  # ram:// does not know.
  with mock.patch.object(places, "getmtime", lambda path: written):
    files.write_text(f"{folder}/x", "")
  assert sorted(places.listdir(folder)) == [".partial-2-y", "x"]


def test_a_failing_upload_leaves_the_old_file():
  path = _write(f"ram://{uuid.uuid4().hex}", "x")
  for name in "upload", "rename":
    with mock.patch.object(places, name, side_effect=OSError(5, "away")):
      with pytest.raises(errors.InputError, match="ram://.*x: .* away"):
        files.write_text(path, "new")
  assert places.listdir(os.path.dirname(path)) == ["x"]
  with places.open_bytes(path) as file:
    assert file.read() == b"abc"


def test_a_remote_folder_is_copied(tmp_path):
  folder = f"ram://{uuid.uuid4().hex}"
  for name in "a", "b/c", "b/d/e":
    _write(folder, name, name.encode())
  places.download(folder, str(tmp_path))
  assert {path.relative_to(tmp_path).as_posix(): path.read_text()
          for path in tmp_path.rglob("*") if path.is_file()} == {
              name: name for name in ("a", "b/c", "b/d/e")}


@pytest.mark.parametrize("path,remote", [
    ("gs://b/c", True), ("ram://x", True), ("s3://", True), ("a/b", False),
    ("/a://b", False), ("C:/x", False), ("x:y", False), (None, False),
    (pathlib.Path("gs:/a"), False)])
def test_what_is_remote(path, remote):
  assert places.is_remote(path) == remote
  if not remote:
    places.check_local(path, "for a test")
  else:
    with pytest.raises(errors.InputError, match="a local path, for a test"):
      places.check_local(path, "for a test")


@pytest.mark.parametrize("function", ["abspath", "normpath", "realpath"])
def test_paths_keep_their_scheme(function):
  assert getattr(places, function)("gs://a/b").startswith("gs://a/b")
  assert getattr(places, function)("/a/b") == "/a/b"


def test_common_and_normal_paths():
  assert places.normpath("gs://a/./b//c/../d") == "gs://a/b/d"
  assert places.commonpath(["gs://a/b/c", "gs://a/b/d/e"]) == "gs://a/b"
  assert places.commonpath(["/a/b/c", "/a/b/d/e"]) == "/a/b"


def test_an_unknown_file_system_is_named():
  with pytest.raises(errors.InputError, match=(
      "nosuch://a/b: expected a file system .*tensorflow-io.* Received: .*"
      "nosuch")):
    places.exists("nosuch://a/b")


def test_an_error_without_a_number_keeps_its_message():
  with mock.patch.object(tf.io.gfile, "stat", side_effect=tf.errors.
                         UnavailableError(None, None, "try\nlater")):
    with pytest.raises(OSError, match="try later") as caught:
      places.getsize("ram://x")
  assert caught.value.strerror == "try later"


def test_local_paths_need_no_tensorflow(tmp_path):
  subprocess.run(
      [sys.executable, "-c", "import sys; from kdwsd import files, places; "
       "files.write_text(sys.argv[1], 'x'); assert places.isfile(sys.argv[1]); "
       "sys.exit('tensorflow' in sys.modules)", str(tmp_path / "x")],
      check=True, cwd=os.path.dirname(os.path.dirname(
          os.path.abspath(places.__file__))))
