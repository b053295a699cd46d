"""What a user sees of a program that fails, and how soon."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PROGRAMS = sorted(
    path.stem for path in _ROOT.glob("kdwsd/*.py")
    if "\n  command_line.run(main)" in path.read_text(encoding="utf-8"))


def _run(*arguments):
  return subprocess.run(
      [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True,
      timeout=120, check=False)


def _program(body):
  return _run("-c", textwrap.dedent("""
      from kdwsd import command_line, errors
      def main(argv):
        {}
      command_line.run(main)
      """).format(body))


def test_bad_input_is_one_line_and_status_2():
  done = _program('raise errors.InputError("x.txt:3: expected a. Received: b")')
  assert done.returncode == 2
  assert done.stderr == "error: x.txt:3: expected a. Received: b\n"


def test_a_mistake_of_ours_keeps_its_traceback():
  done = _program("[][0]")
  assert done.returncode == 1
  assert "IndexError" in done.stderr


def test_arguments_that_are_no_flags_are_refused():
  done = _run("-m", "kdwsd.train", "wsd")
  assert done.returncode == 2
  assert done.stderr == "error: expected flags only. Received: 'wsd'.\n"


@pytest.mark.parametrize("name", _PROGRAMS)
def test_help_needs_no_tensorflow(name):
  # absl prints the help and leaves with status 1.
  done = _run("-X", "importtime", "-m", f"kdwsd.{name}", "--helpshort")
  assert f"kdwsd.{name}" in done.stdout or "flags:" in done.stdout
  imported = [line.split("|")[-1].strip() for line in done.stderr.splitlines()
              if line.startswith("import time:")]
  assert imported
  heavy = {"tensorflow", "cv2", "matplotlib", "official"} & set(imported)
  assert not heavy


@pytest.mark.parametrize("name", _PROGRAMS)
def test_a_mistyped_flag_is_named(name):
  done = _run("-m", f"kdwsd.{name}", "--no_such_flag=1")
  assert done.returncode != 0
  assert "no_such_flag" in done.stderr
  assert "Traceback" not in done.stderr
