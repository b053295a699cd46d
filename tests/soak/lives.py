"""A program in a process of its own, that ends in peace or is killed."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import time

_POLL_INTERVAL = 0.001

# Seconds. A program that is not killed ends in less, and what it started dies
# with it in less.
_LIMIT = 3600.0
_MOURNING = 120.0

_STAGE = re.compile(r"\bStage (\w+)(: | is done: )")
_HALF_WRITTEN = re.compile(r"\.partial-|_temp$|\.tmp|tempstate|\.lockfile")


class DeathError(Exception):
  """A program ended otherwise than in peace or by our hand."""


@dataclasses.dataclass(frozen=True)
class Attempt:
  """One process of a program.

  Attributes:
    killed: whether by us; otherwise it has ended, all well.
    seconds: that it ran.
    start_up: seconds to its first word, or that it ran.
    where: the stage it was in, or the program's name.
    doing: its last words, and what it had half written.
  """
  killed: bool
  seconds: float
  start_up: float
  where: str
  doing: str


def run(program, folder, moment=None, *, alone=False):
  """Runs a program once.

  Args:
    program: a `programs.Program`.
    folder: laid out by it; what it says is added to `output.txt` beside it.
    moment: `moments.AtTime` or `moments.Aim` at which it is killed, with
      SIGKILL; None for never.
    alone: whether to kill the process alone, as the kernel does when memory
      runs out, instead of all that it started too.

  Returns:
    An `Attempt`.

  Raises:
    DeathError: it failed, took too long, or what it had started lived on.
  """
  words = os.path.join(os.path.dirname(folder), "output.txt")
  with open(words, "ab") as log:
    start = log.tell()
    has_come = moment.watch(folder) if moment else lambda elapsed: False
    began = time.monotonic()
    process = subprocess.Popen(
        program.command(), cwd=folder, env=program.environment(folder),
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True)
    killed, start_up = False, None
    try:
      while not killed and process.poll() is None:
        elapsed = time.monotonic() - began
        if start_up is None and os.path.getsize(words) > start:
          start_up = elapsed
        if elapsed > _LIMIT:
          raise DeathError(f"{program.name}: expected to end within "
                           f"{_LIMIT:.0f} s.\n{_read(words, start)}")
        killed = has_come(elapsed)
        if killed and alone:
          process.kill()
        elif killed:
          _kill_group(process.pid)
        else:
          time.sleep(_POLL_INTERVAL if moment else 0.05)
      code = process.wait()
      seconds = time.monotonic() - began
      _check_gone(process.pid, program)
    finally:
      _kill_group(process.pid)
      process.wait()
  said = _read(words, start)
  # It may have ended by itself in the last moment.
  killed = killed and code == -signal.SIGKILL
  if code and not killed:
    raise DeathError(f"{program.name}: expected to end well. Received: exit "
                     f"status {code}.\n{said}")
  return Attempt(killed, seconds, start_up or seconds, _where(program, said),
                 _doing(said, _half_written(folder)))


def _kill_group(group):
  with contextlib.suppress(ProcessLookupError):
    os.killpg(group, signal.SIGKILL)


def _check_gone(group, program):
  """Waits for all that an ended process had started to be gone."""
  deadline = time.monotonic() + _MOURNING
  late = False
  while not late:
    late = time.monotonic() > deadline
    try:
      os.killpg(group, 0)
    except ProcessLookupError:
      return
    time.sleep(0.05)
  _kill_group(group)
  raise DeathError(
      f"{program.name}: expected all it had started to die with it. Received: "
      f"processes that were there {_MOURNING:.0f} s later.")


def _read(path, start):
  with open(path, "rb") as file:
    file.seek(start)
    return file.read().decode(errors="replace")


def _half_written(folder):
  """Files and folders under temporary names, relative; the innermost last."""
  return sorted(
      os.path.relpath(os.path.join(place, name), folder)
      for place, folders, names in os.walk(folder)
      for name in (*folders, *names) if _HALF_WRITTEN.search(name))


def _where(program, said):
  stages = _STAGE.findall(said)
  if not program.stages:
    return program.name
  return stages[-1][0] if stages else "start"


def _doing(said, left):
  lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
  words = repr(lines[-1][:100]) if lines else "nothing said yet"
  return words + (f"; half written: {', '.join(left[:3])}" if left else "")
