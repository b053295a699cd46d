"""A program gets SIGTERM at a moment, and is then started again."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from typing import Callable
from typing import Optional

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

# Seconds. A program comes to its moment, and ends, in less.
_LIMIT = 1800.0
_POLL_INTERVAL = 0.005

_HALF_WRITTEN = re.compile(r"\.partial-|_temp$|\.tmp|tempstate")


@dataclasses.dataclass(frozen=True)
class Case:
  """A program and the moment of its SIGTERM.

  Attributes:
    name: of the program, for people.
    moment: what it does then, for people.
    command: arguments of Python.
    come: function of what it has written to its streams that tells whether the
      moment has come.
    delay: seconds from there to the signal.
    again: regular expression of what the same command writes when it is started
      again; its groups are shown. Empty for its end with status 0.
    everyone: whether all processes get the signal, as when a machine stops,
      instead of the first one, as from most cluster managers.
    meanwhile: function that is called at the moment, before the delay.
    environment: variables to add.
  """
  name: str
  moment: str
  command: tuple
  come: Callable[[str], bool]
  delay: float = 0.0
  again: str = ""
  everyone: bool = False
  meanwhile: Optional[Callable[[], None]] = None
  environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of it.

  Attributes:
    seconds: from the signal to the program's end.
    orphans: seconds from there to the end of the last process it had started.
    status: exit status; negative for the signal that ended it.
    last: the last line it wrote.
    left: number of files under temporary names that it left.
    resumed: what the same command wrote, see `Case.again`.
  """
  seconds: float
  orphans: float
  status: int
  last: str
  left: int
  resumed: str


def logged(pattern):
  """`come` of a program that has written what a regular expression finds."""
  found = re.compile(pattern)
  return lambda said: bool(found.search(said))


def appears(folder, pattern):
  """`come` of a program that makes a file; it must not be there before."""
  found = re.compile(pattern)

  def come(unused_said):
    return any(
        found.search(os.path.relpath(os.path.join(place, name), folder))
        for place, folders, names in os.walk(folder)
        for name in (*folders, *names))
  return come


def give(case, folder):
  """Starts a program, gives it notice, and starts it again.

  Args:
    case: a `Case`.
    folder: working directory of the program.

  Returns:
    An `Outcome`.

  Raises:
    RuntimeError: it ended before its moment, or never, or did not resume.
  """
  with _started(case, folder) as (process, read):
    _wait_until(lambda: case.come(read()), process, read, case)
    if case.meanwhile:
      case.meanwhile()
    time.sleep(case.delay)
    if process.poll() is not None:
      raise RuntimeError(f"{case.name}: {case.moment}: expected it to run. "
                         f"Received: its end.\n{read()}")
    before = _temporary(folder) if case.name == "serve" else 0
    start = time.monotonic()
    if case.everyone:
      os.killpg(process.pid, signal.SIGTERM)
    else:
      process.send_signal(signal.SIGTERM)
    status = process.wait(_LIMIT)
    end = time.monotonic()
    _wait_for_group(process.pid)
    orphans = time.monotonic() - end
    lines = read().strip().splitlines() or [""]
    last = [line for line in lines if "Stop" in line or line is lines[-1]][0]
  left = _temporary(folder) - before
  return Outcome(end - start, orphans, status, last, left,
                 _again(case, folder))


def _again(case, folder):
  with _started(case, folder) as (process, read):
    if not case.again:
      status = process.wait(_LIMIT)
      if status:
        raise RuntimeError(f"{case.name}: {case.moment}: expected it to end "
                           f"well. Received: status {status}.\n{read()}")
      return "runs to its end"
    found = []

    def come():
      found[:] = re.findall(case.again, read())
      return bool(found)

    _wait_until(come, process, read, case)
    return found[0]


@contextlib.contextmanager
def _started(case, folder):
  """Yields the process and a function that reads what it has written."""
  path = os.path.join(os.path.dirname(folder), "output.txt")
  paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
  with open(path, "wb") as log:
    process = subprocess.Popen(
        [sys.executable, *case.command], cwd=folder, env={
            **os.environ, "PYTHONPATH": os.pathsep.join(paths),
            **case.environment},
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True)

  def read():
    with open(path, "rb") as file:
      return file.read().decode(errors="replace")

  try:
    yield process, read
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until(come, process, read, case):
  deadline = time.monotonic() + _LIMIT
  while not come():
    if process.poll() is not None and not come():
      raise RuntimeError(
          f"{case.name}: {case.moment}: expected it to come to this. "
          f"Received: its end, status {process.returncode}.\n{read()}")
    if time.monotonic() > deadline:
      raise RuntimeError(f"{case.name}: {case.moment}: expected it to come to "
                         f"this within {_LIMIT:g} s.\n{read()}")
    time.sleep(_POLL_INTERVAL)


def _wait_for_group(group):
  """Waits until no process of a group is left."""
  deadline = time.monotonic() + _LIMIT
  while time.monotonic() < deadline:
    try:
      os.killpg(group, 0)
    except ProcessLookupError:
      return
    time.sleep(_POLL_INTERVAL)


def _temporary(folder):
  """Number of files and folders under temporary names."""
  return sum(bool(_HALF_WRITTEN.search(name))
             for _, folders, names in os.walk(folder)
             for name in (*folders, *names))
