"""Recipes, serving kit and documentation: listed, copied, found."""

import os
import pathlib
import shutil
import subprocess
import sys

from absl import flags
import pytest

from kdwsd import errors
from kdwsd import shipped
from kdwsd.training.settings import flag
from tests import programs

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FOLDERS = ("docs", "export", "flags")


@pytest.fixture(name="package")
def _package(tmp_path, monkeypatch):
  """The package as a wheel installs it, and an empty folder to be in."""
  share = tmp_path / "site" / "kdwsd" / "share"
  site = str(share.parent.parent)
  shutil.copytree(_ROOT / "kdwsd", share.parent)
  for folder in _FOLDERS:
    shutil.copytree(_ROOT / folder, share / folder)
  here = tmp_path / "here"
  here.mkdir()
  monkeypatch.chdir(here)

  def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True,
        timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": site})

  def train(*arguments):
    return programs.run(
        "kdwsd.train", "--stage=all", "--workdir=run", "--data=none",
        *arguments, environment={"PYTHONPATH": site})

  run.train = train
  return run


def _tree(folder):
  return {path.relative_to(folder).as_posix(): path.read_bytes()
          for path in folder.rglob("*")
          if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("program, folder", [
    ("recipes", "flags"), ("serving_kit", "export"), ("docs", "docs")])
def test_a_wheel_lists_and_copies_them(package, program, folder):
  listed = package(f"kdwsd.{program}")
  assert listed.returncode == 0, listed.stderr
  assert f"python -m kdwsd.{program} --copy" in listed.stdout
  copied = package(f"kdwsd.{program}", "--copy")
  assert copied.returncode == 0, copied.stderr
  assert _tree(pathlib.Path(folder)) == _tree(_ROOT / folder)
  elsewhere = package(f"kdwsd.{program}", "--copy=else where/deep")
  assert elsewhere.returncode == 0, elsewhere.stderr
  assert _tree(pathlib.Path("else where/deep", folder)) == _tree(
      _ROOT / folder)


def test_recipes_are_listed_with_their_first_sentence():
  lines = shipped.table("flags", without=["common"]).splitlines()
  recipes = [path.relative_to(_ROOT).as_posix()
             for path in sorted(_ROOT.glob("flags/*/*.flags"))
             if path.parent.name != "common"]
  assert [line.split()[0] for line in lines] == recipes
  found = dict(line.split(maxsplit=1) for line in lines)
  assert found["flags/nuswide/wsd.flags"] == "T-WDet on NUS-WIDE, 81 concepts"
  # Of two lines, and of two sentences.
  assert found["flags/demo/all.flags"].endswith("20 minutes on two CPU cores")
  for text in found.values():
    assert text[0] != "#" and "Data:" not in text


@pytest.mark.parametrize("name, expected", [
    ("docs/training.md", "Training"),
    ("export/client.py",
     "Classifies images with a served student; prints a line of JSON per "
     "image"),
    ("export/models.config",
     "What TensorFlow Serving serves: --model_config_file"),
    ("docs/images/demo.jpg", ""),
])
def test_headlines(name, expected):
  assert shipped.headline(name) == expected


def test_names_leave_out_what_python_writes():
  assert "export/client.py" in shipped.names("export")
  assert not [name for name in shipped.names("export") if "pycache" in name]


def test_a_second_copy_writes_what_is_missing(tmp_path):
  path, written = shipped.copy("flags", str(tmp_path))
  assert path == str(tmp_path / "flags")
  assert written == len(shipped.names("flags")) > 20
  (tmp_path / "flags" / "demo" / "all.flags").unlink()
  assert shipped.copy("flags", str(tmp_path)) == (path, 1)
  assert shipped.copy("flags", str(tmp_path)) == (path, 0)


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("mine"), lambda path: path.mkdir(),
    lambda path: path.symlink_to("nowhere")])
def test_a_changed_file_is_never_overwritten(tmp_path, make):
  mine = tmp_path / "flags" / "demo" / "all.flags"
  mine.parent.mkdir(parents=True)
  make(mine)
  with pytest.raises(errors.InputError) as caught:
    shipped.copy("flags", str(tmp_path))
  assert str(mine) in str(caught.value)
  assert "--copy=DIR" in str(caught.value)
  assert list(mine.parent.parent.rglob("*.flags")) == [mine]


def test_several_changed_files_are_counted(tmp_path):
  shipped.copy("flags", str(tmp_path))
  for name in ("all", "quick"):
    (tmp_path / "flags" / "demo" / f"{name}.flags").write_text("mine")
  with pytest.raises(errors.InputError, match="all.flags and 1 more: "):
    shipped.copy("flags", str(tmp_path))


def test_a_recipe_here_comes_before_the_one_of_the_package(
    tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  name = "flags/demo/quick.flags"
  assert shipped.find(name) == str(_ROOT / name)
  assert shipped.find("flags/voc07") == str(_ROOT / "flags/voc07")
  shipped.copy("flags", ".")
  assert shipped.find(name) == name
  assert shipped.find("flags/voc07") == "flags/voc07"


@pytest.mark.parametrize("name", [
    "flags/none.flags", "export/models.config", "../flags/demo/quick.flags",
    "/flags/demo/quick.flags", "demo/quick.flags", "", "flags/\0"])
def test_nothing_else_is_found(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  assert shipped.find(name) == name


def test_a_flagfile_of_mine_may_include_one_of_the_package(
    tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mine.flags").write_text(
      "--flagfile=flags/common/wsd.flags\n--seed=7\n", encoding="utf-8")
  values = flag.read_recipe("mine.flags")
  assert values["seed"] == 7
  assert values["stage"] == "wsd"
  (tmp_path / "flags" / "common").mkdir(parents=True)
  (tmp_path / "flags" / "common" / "wsd.flags").write_text(
      "--stage=cls\n", encoding="utf-8")
  assert flag.read_recipe("mine.flags")["stage"] == "cls"


def test_absl_reads_flagfiles_by_the_method_that_is_replaced():
  values = flags.FlagValues()
  assert callable(values._get_flag_file_lines)
  shipped.find_flagfiles(values)
  with pytest.raises(flags.CantOpenFlagFileError):
    values(["", "--flagfile=flags/none.flags"])


@pytest.mark.parametrize("arguments", [
    ["--flagfile=flags/demo/quick.flags"],
    ["--flagfile", "flags/voc07/wsd.flags"],
    ["--stage=all", "--recipe=flags/voc07", "--workdir=x", "--data=x"],
])
def test_training_finds_the_recipes_of_a_wheel(package, arguments):
  done = package("kdwsd.train", *arguments, "--only_check_args")
  assert done.returncode == 0, done.stderr


def test_a_recipe_of_the_package_is_logged(package):
  done = package.train("--recipe=flags/voc07", "--caffe_parity")
  assert done.returncode == 2
  logged, = (line for line in done.stderr.splitlines()
             if "taken from the package: " in line)
  assert logged.split("package: ")[1].startswith("flags/voc07, flags/common/")
  assert "no such directory" in done.stderr


def test_a_recipe_that_nobody_has_is_told(package):
  done = package.train("--recipe=flags/voc12")
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1] == (
      "error: --recipe: expected a flagfile for each stage. Received: no "
      "flags/voc12/wsd.flags; `python -m kdwsd.recipes` lists those that come "
      "with kdwsd.")
