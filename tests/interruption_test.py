"""What ends a program early, when, and with what status."""

import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent


class _Program:
  """A program of its own, whose `main` has this body."""

  def __init__(self, body):
    self._process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import ctypes, os, re, signal, threading, time
            from kdwsd import command_line, interruption
            interruption._PATIENCE = 600  # What follows may be slow.
            # The tests themselves may run in the background.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            def say(word):
              print(word, flush=True)
            def main(argv):
            {}
            command_line.run(main)
            """).format(textwrap.indent(textwrap.dedent(body), "  "))],
        cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

  def until(self, word):
    """Waits for a line."""
    assert self._process.stdout.readline() == word + "\n"
    return self

  def tell(self, number):
    """Sends a signal."""
    self._process.send_signal(number)
    return self

  def end(self):
    """Gives (status, standard output, standard error)."""
    out, err = self._process.communicate(timeout=600)
    return self._process.returncode, out, err


@pytest.mark.parametrize("number, status, name", [
    (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")])
def test_a_signal_ends_a_program_in_one_line_and_cleans_up(
    number, status, name):
  code, out, err = _Program("""
      try:
        say("busy")
        time.sleep(1000)
      finally:
        say("tidy")
      """).until("busy").tell(number).end()
  assert code == status
  assert out == "tidy\n"
  assert err.endswith(f" Stopped by {name}.\n")
  assert err.count("\n") == 1


def test_what_is_deferred_is_finished_first():
  code, out, err = _Program("""
      with interruption.deferred():
        say("busy")
        while not interruption.pending():
          time.sleep(0.01)
        say("still here")
      say("not reached")
      """).until("busy").tell(signal.SIGTERM).end()
  assert (code, out) == (143, "still here\n"), err


def test_at_once_holds_within_deferred():
  code, out, _ = _Program("""
      with interruption.deferred():
        try:
          with interruption.at_once():
            say("busy")
            time.sleep(1000)
        except interruption.Interrupted:
          say("saved")
          raise
      """).until("busy").tell(signal.SIGTERM).end()
  assert (code, out) == (143, "saved\n")


def test_a_signal_that_came_before_is_raised_at_once():
  code, out, _ = _Program("""
      with interruption.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        say("deferred")
        with interruption.at_once():
          say("not reached")
      """).end()
  assert (code, out) == (143, "deferred\n")


def test_a_second_sigint_ends_what_is_deferred():
  code, out, _ = _Program("""
      with interruption.deferred():
        say("busy")
        while not interruption.pending():
          time.sleep(0.01)
        say("told once")
        time.sleep(1000)
      """).until("busy").tell(signal.SIGINT).until("told once").tell(
          signal.SIGINT).end()
  assert (code, out) == (130, "")


def test_a_second_sigterm_waits_like_the_first():
  code, out, _ = _Program("""
      with interruption.deferred():
        say("busy")
        while not interruption.pending():
          time.sleep(0.01)
        say("told once")
        time.sleep(1)
        say("finished")
      """).until("busy").tell(signal.SIGTERM).until("told once").tell(
          signal.SIGTERM).end()
  assert (code, out) == (143, "finished\n")


def test_a_main_thread_that_python_cannot_reach_is_ended():
  code, out, err = _Program("""
      interruption._PATIENCE = 1
      def say_when_blocked():
        blocked = 0
        while not blocked >> (signal.SIGTERM - 1) & 1:
          with open(f"/proc/self/task/{os.getpid()}/status") as file:
            blocked = int(re.search("SigBlk:(.*)", file.read())[1], 16)
        say("busy")
      threading.Thread(target=say_when_blocked).start()
      # With all signals blocked; another thread notices them.
      ctypes.CDLL(None).sigsuspend(ctypes.create_string_buffer(
          b"\\xff" * 128))
      """).until("busy").tell(signal.SIGTERM).end()
  assert (code, out, err) == (143, "", "Stopped by SIGTERM.\n")


def test_what_is_limited_is_ended_although_it_is_deferred():
  code, out, err = _Program("""
      interruption._PATIENCE = interruption._LIMIT = 0.5
      with interruption.deferred():
        with interruption.limited():
          say("busy")
          time.sleep(1000)
      say("not reached")
      """).until("busy").tell(signal.SIGTERM).end()
  assert (code, out, err) == (143, "", "Stopped by SIGTERM.\n")


def test_what_is_limited_and_ends_in_time_is_deferred():
  code, out, _ = _Program("""
      interruption._PATIENCE = 0.5
      interruption._LIMIT = 600
      with interruption.deferred():
        with interruption.limited():
          say("busy")
          while not interruption.pending():
            time.sleep(0.01)
        interruption._LIMIT = 0  # Is over, but no more of its concern.
        time.sleep(3)
        say("saved")
      """).until("busy").tell(signal.SIGTERM).end()
  assert (code, out) == (143, "saved\n")


def test_another_thread_can_interrupt():
  code, out, err = _Program("""
      def lose():
        interruption.request(interruption.Interrupted("x", 75, "x is gone"))
      threading.Timer(0.5, lose).start()
      time.sleep(1000)
      """).end()
  assert code == 75
  assert "x is gone" in err


def test_a_signal_ignored_from_the_start_stays_ignored():
  done = subprocess.run(
      [sys.executable, "-c", textwrap.dedent("""
          import os, signal
          signal.signal(signal.SIGINT, signal.SIG_IGN)
          from kdwsd import command_line
          def main(_):
            os.kill(os.getpid(), signal.SIGINT)
            print("unmoved")
          command_line.run(main)
          """)], cwd=_ROOT, capture_output=True, text=True, timeout=120,
      check=False)
  assert (done.returncode, done.stdout) == (0, "unmoved\n"), done.stderr
