"""A program whose output is not read, or not written, ends in order."""

import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PRINT = ("from kdwsd import command_line\n"
          "command_line.run(lambda _: print('a' * {}))")


def _run(*arguments, unbuffered=""):
  """Runs Python with a standard output that nobody reads."""
  read, write = os.pipe()
  os.close(read)
  try:
    return subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, stdout=write,
        stderr=subprocess.PIPE, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
  finally:
    os.close(write)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [
    ("-c", _PRINT.format(1)), ("-c", _PRINT.format(100_000)),
    ("-m", "kdwsd", "--help"), ("-m", "kdwsd", "--version"),
    ("-m", "kdwsd", "recipes"), ("-m", "kdwsd.train", "--help")])
def test_it_exits_without_a_word(arguments, unbuffered):
  done = _run(*arguments, unbuffered=unbuffered)
  assert (done.returncode, done.stderr) == (1, "")


def test_the_status_of_an_error_is_kept():
  done = _run("-c", "from kdwsd import command_line, errors\n"
              "def main(_):\n  print('a')\n  raise errors.InputError('b')\n"
              "command_line.run(main)")
  assert (done.returncode, done.stderr) == (2, "error: b\n")


def test_another_broken_pipe_keeps_its_traceback():
  done = subprocess.run(
      [sys.executable, "-c", "from kdwsd import standard_output\n"
       "with standard_output.may_be_unread():\n"
       "  raise BrokenPipeError(32, 'a socket')"],
      cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode == 1
  assert "BrokenPipeError: [Errno 32] a socket" in done.stderr


def test_a_full_disk_is_told_in_one_line():
  with open("/dev/full", "w", encoding="utf-8") as full:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT.format(1)], cwd=_ROOT, stdout=full,
        stderr=subprocess.PIPE, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""})
  assert (done.returncode, done.stderr) == (
      2, "error: standard output: No space left on device\n")


def test_another_full_file_keeps_its_traceback():
  done = subprocess.run(
      [sys.executable, "-c", "from kdwsd import standard_output\n"
       "with standard_output.may_be_unread():\n"
       "  print('a')\n"
       "  raise OSError(28, 'another')"],
      cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
  assert (done.returncode, done.stdout) == (1, "a\n")
  assert "OSError: [Errno 28] another" in done.stderr
