"""A forked program is what `python -m` would have started."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests import programs

pytestmark = pytest.mark.one_lane


@pytest.fixture(name="start")
def fixture_start(tmp_path):
  """Function of a program's text that starts it, in a folder of its own."""

  def start(text, *arguments, **environment):
    (tmp_path / "written.py").write_text(textwrap.dedent(text), "utf-8")
    return programs.Program("written", *arguments, cwd=tmp_path,
                            environment=environment)

  return start


def _end(program, text=None):
  out, err = program.communicate(text, timeout=300)
  return program.returncode, out, err


def test_it_has_its_arguments_streams_folder_and_variables(start, tmp_path):
  program = start("""
      import os, sys
      print(__name__, __file__, os.getcwd(), os.getpid(), sys.argv[1:])
      print(os.environ["OF_MINE"], os.environ["PATH"], sys.stdin.read())
      print("é told", file=sys.stderr)
      """, "a b", 7, OF_MINE="x")
  assert _end(program, "first\nsecond") == (0, (
      f"__main__ {tmp_path}/written.py {tmp_path} {program.pid} ['a b', '7']\n"
      f"x {os.environ['PATH']} first\nsecond\n"), "é told\n")


@pytest.mark.parametrize("text, status, said", [
    ("", 0, ""), ("import sys; sys.exit(3)", 3, ""),
    ("import sys; sys.exit('no')", 1, "no\n"),
    ("import os; os._exit(75)", 75, ""),
    ("import os; os.kill(os.getpid(), 15)", -15, "")])
def test_it_ends_as_it_ends(start, text, status, said):
  program = start(text)
  assert _end(program) == (status, "", said)
  assert program.poll() == program.wait() == status


def test_its_mistake_has_a_traceback_and_what_is_left_to_do_is_done(start):
  status, out, err = _end(start("""
      import atexit, threading
      atexit.register(print, "tidy")
      threading.Timer(0.2, print, ["late"]).start()
      [][0]
      """))
  assert (status, out) == (1, "late\ntidy\n")
  assert err.startswith("Traceback")
  assert err.endswith("IndexError: list index out of range\n")


def test_it_runs_beside_others_until_it_is_told(start):
  text = """
      import sys, time
      print("here", flush=True)
      time.sleep(100)
      """
  with start(text) as first, start(text) as second:
    for program in (first, second):
      assert program.stdout.readline() == "here\n"
      assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
      first.wait(0.1)
    first.send_signal(signal.SIGKILL)
    assert first.wait(60) == -signal.SIGKILL
    assert second.poll() is None
    second.kill()
  assert second.returncode == -signal.SIGKILL


def test_who_asked_can_end_before_it(tmp_path):
  (tmp_path / "written.py").write_text("import time; time.sleep(600)", "utf-8")
  done = subprocess.run(
      [sys.executable, "-c", "from tests import programs; print("
       f"programs.Program('written', cwd={str(tmp_path)!r}).pid)"],
      stdout=subprocess.PIPE, text=True, timeout=300, check=True)
  os.kill(int(done.stdout), signal.SIGKILL)  # It still runs.


def test_tensorflow_is_loaded_and_has_done_nothing(start):
  status, out, err = _end(start("""
      import sys
      print("tensorflow" in sys.modules, "kdwsd" in sys.modules)
      import tensorflow as tf
      # Refused after the first operation.
      tf.config.set_logical_device_configuration(
          tf.config.list_physical_devices("CPU")[0],
          [tf.config.LogicalDeviceConfiguration()] * 3)
      print(len(tf.config.list_logical_devices("CPU")))
      """))
  assert (status, out) == (0, "True False\n3\n"), err


def test_it_loads_the_package_that_is_there(start, tmp_path):
  (tmp_path / "kdwsd").mkdir()
  (tmp_path / "kdwsd" / "__init__.py").write_text("WHERE = 'here'", "utf-8")
  status, out, err = _end(start("import kdwsd; print(kdwsd.WHERE)"))
  assert (status, out) == (0, "here\n"), err
