"""The command `kdwsd` runs every program as `python -m` does."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

import pytest

import kdwsd
from kdwsd import __main__ as main

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the script that pip writes for an entry point does.
_SCRIPT = "import sys; from kdwsd.__main__ import command; sys.exit(command())"
_COMMAND = ["-c", _SCRIPT]
_MODULE = ["-m", "kdwsd"]


def _run(*arguments, cwd=_ROOT):
  return subprocess.run(
      [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True,
      timeout=600, check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)})


def test_there_is_a_command_for_every_program():
  programs = {path.stem.replace("_", "-") for path in _ROOT.glob("kdwsd/*.py")
              if "\n  command_line.run(main)" in path.read_text("utf-8")}
  assert set(main.PROGRAMS) == programs


@pytest.mark.parametrize("start, name", [
    (_COMMAND, "kdwsd"), (_MODULE, "python -m kdwsd")])
@pytest.mark.parametrize("argument", ["--help", "help", "-h"])
def test_help_lists_the_programs_with_what_they_do(start, name, argument):
  done = _run(*start, argument)
  assert (done.returncode, done.stderr) == (0, "")
  assert f"usage: {name} COMMAND" in done.stdout
  for program in main.PROGRAMS:
    line, = (line for line in done.stdout.splitlines()
             if line.split()[:1] == [program])
    summary = line.split(maxsplit=1)[1]
    assert summary[0].isupper()
    assert not set(summary) & set("`\"")
  assert len(done.stdout.splitlines()) < 25


@pytest.mark.parametrize("argument", ["--help", "--version", "trian"])
def test_nothing_heavy_is_imported_to_answer(argument):
  done = _run("-X", "importtime", "-m", "kdwsd", argument)
  imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()
              if line.startswith("import time:")}
  assert "kdwsd.invocation" in imported
  assert not imported & {"absl", "cv2", "keras", "numpy", "tensorflow"}


def test_the_version_names_tensorflow_and_python():
  done = _run(*_COMMAND, "--version")
  tensorflow = importlib.metadata.version("tensorflow")
  lane = "classic" if tensorflow.startswith("2.15.") else "modern"
  assert done.returncode == 0
  assert done.stdout == (
      f"kdwsd {kdwsd.__version__}, TensorFlow {tensorflow} ({lane} lane), "
      f"Python {platform.python_version()}\n")


@pytest.mark.parametrize("arguments, message", [
    (["trian"], "'trian'; do you mean train?"),
    (["makerecords", "--help"], "'makerecords'; do you mean make-records?"),
    (["xyz"], "'xyz'; kdwsd --help lists them."),
    (["--stage=all"], "'--stage=all'; kdwsd --help lists them."),
])
def test_an_unknown_command_is_one_line_with_a_suggestion(arguments, message):
  done = _run(*_COMMAND, *arguments)
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr == (
      f"error: expected a command of kdwsd first. Received: {message}\n")


def test_no_command_at_all_is_an_error_with_help():
  done = _run(*_COMMAND)
  assert (done.returncode, done.stdout) == (2, "")
  assert "usage: kdwsd COMMAND" in done.stderr


@pytest.mark.parametrize("arguments", [
    ["report"], ["train", "wsd"], ["train", "--no_such_flag"],
    ["make_records", "--helpshort"], ["train", "--helpfull"],
    ["train", "--flagfile=flags/demo/quick.flags", "--only_check_args"],
    ["serve"],
])
def test_a_program_behaves_as_with_python_m(arguments):
  program, *flags = arguments
  expected = _run("-m", f"kdwsd.{program}", *flags)
  for start in (_COMMAND, _MODULE):
    done = _run(*start, program.replace("_", "-"), *flags)
    assert done.returncode == expected.returncode
    for text, wanted in ((done.stdout, expected.stdout),
                         (done.stderr, expected.stderr)):
      if start == _COMMAND:
        wanted = wanted.replace(
            f"python -m kdwsd.{program}", f"kdwsd {program}").replace(
                "kdwsd make_records", "kdwsd make-records")
      assert text == wanted


def test_underscores_do_as_well():
  done = _run(*_COMMAND, "make_records", "--only_check_args")
  assert done.returncode == _run(
      "-m", "kdwsd.make_records", "--only_check_args").returncode
  assert "expected a command" not in done.stderr


def test_help_of_a_program_by_its_name():
  done = _run(*_COMMAND, "help", "show-records")
  assert "kdwsd show-records --data=" in done.stdout
  assert "python -m" not in done.stdout


def test_a_mistake_of_ours_keeps_its_traceback_and_status():
  done = _run("-c", "import absl.app\n"
              "def broken(*_, **__): raise KeyError('mine')\n"
              "absl.app.run = broken\n"
              "import sys; sys.argv = ['kdwsd', 'recipes']\n" + _SCRIPT)
  assert done.returncode == 1
  assert "kdwsd/recipes.py" in done.stderr
  assert done.stderr.endswith("KeyError: 'mine'\n")
