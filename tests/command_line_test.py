"""What a user sees of a program that fails, and how soon."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PROGRAMS = sorted(
    path.stem for path in _ROOT.glob("kdwsd/*.py")
    if "\n  command_line.run(main)" in path.read_text(encoding="utf-8"))


def _run(*arguments, **environment):
  return subprocess.run(
      [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True,
      timeout=600, check=False, env={**os.environ, **environment},
      encoding="utf-8", errors="surrogateescape")


def _program(body, **environment):
  return _run("-c", textwrap.dedent("""
      from kdwsd import command_line, errors
      def main(argv):
        {}
      command_line.run(main)
      """).format(body), **environment)


def test_bad_input_is_one_line_and_status_2():
  done = _program('raise errors.InputError("x.txt:3: expected a. Received: b")')
  assert done.returncode == 2
  assert done.stderr == "error: x.txt:3: expected a. Received: b\n"


@pytest.mark.parametrize("logger", ["absl", "tensorflow"])
def test_notes_of_tensorflow_are_not_shown_its_warnings_are(logger):
  lines = (f"import logging; logger = logging.getLogger({logger!r}); "
           "logger.info('a'); logger.warning('b')")
  done = _program("; ".join([
      "import sys, types",
      "sys.modules['tensorflow'] = types.SimpleNamespace("
      "__file__='/lib/tensorflow/__init__.py')",
      *(f"exec(compile({lines!r}, {path!r}, 'exec'))" for path in (
          "/lib/tensorflow/saver.py", "/lib/kdwsd/tensorflow.py",
          "/home/tensorflow/kdwsd/train.py"))]))
  assert [line.split()[-1] for line in done.stderr.splitlines()] == [
      "b", "a", "b", "a", "b"]


def test_what_keras_notes_of_precision_is_not_shown():
  # As it does where a GPU computes fast in 16 bits.
  done = _program("; ".join([
      "import tensorflow as tf",
      "from tensorflow.python.platform import tf_logging",
      "import importlib, os",
      "name = tf.keras.Model.__module__.split('.')[0]",
      "folder = os.path.dirname(importlib.import_module(name).__file__)",
      "path = folder + '/src/mixed_precision/device_compatibility_check.py'",
      "exec(compile('tf_logging.info(\"fast\"); tf_logging.warning(\"slow\")',"
      " path, 'exec'))"]))
  assert [line.split()[-1] for line in done.stderr.splitlines()] == ["slow"]


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


@pytest.mark.parametrize("environment, shown", [
    ({"PYTHONIOENCODING": "utf-8"}, "é 日 \\udcff"),
    ({"PYTHONIOENCODING": "ascii"}, "\\xe9 \\u65e5 \\udcff"),
    # In cp1252, e with an acute accent is the byte E9.
    ({"PYTHONIOENCODING": "cp1252"}, "\udce9 \\u65e5 \\udcff"),
    ({"PYTHONIOENCODING": "cp1252:strict"}, "\udce9 \\u65e5 \\udcff"),
    ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
     "\\xe9 \\u65e5 \\udcff")])
def test_no_encoding_of_the_terminal_ends_a_program(environment, shown):
  text = '"\\xe9 \\u65e5 \\udcff"'  # The last: of a file name not in UTF-8.
  done = _program(
      f"print({text}); from absl import logging; logging.info({text}); "
      f"raise errors.InputError({text})", **environment)
  assert done.returncode == 2, done.stderr
  assert done.stdout == shown + "\n"
  logged, error = done.stderr.splitlines()[-2:]
  assert logged.endswith(shown)
  assert error == f"error: {shown}"
