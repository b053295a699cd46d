"""Starts programs of the package without loading TensorFlow for each of them.

Loading it takes 4 to 5 seconds of CPU, more than most runs of the tests take
after it. `tests/program_server.py` loads it once for each process of pytest and
forks; the fork runs the program as `python -m` would. A test of what comes
before, such as the interpreter's options or encodings, starts a process itself.

A script of bash has them, too, with the number of a socket of `start_server`:

    python -S -m tests.programs NUMBER MODULE ARGUMENTS
"""

import atexit
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading

_ROOT = pathlib.Path(__file__).resolve().parent.parent

_server = None


class Program:
  """A running program, with those methods of `subprocess.Popen` that tests use.

  Attributes:
    args: the command line, as `python -m` takes it.
    pid: of its process.
    returncode: None while it is not known to have ended; -N after signal N.
    stdin, stdout, stderr: text pipes.
  """

  def __init__(self, module, *arguments, cwd=None, environment=None,
               server=None):
    """Starts it.

    Args:
      module: name of the module to run.
      *arguments: converted to text.
      cwd: its working directory, by default that of this process.
      environment: dict of variables beside those of this process.
      server: socket of `start_server`, by default of this Python.
    """
    self.args = ["-m", module, *map(str, arguments)]
    self.returncode = None
    (stdin, self.stdin), (self.stdout, stdout), (self.stderr, stderr) = (
        _pipe() for _ in range(3))
    ends = (stdin, stdout, stderr)
    self._status = _ask(
        server or _connection(), (end.fileno() for end in ends),
        {"module": module, "arguments": self.args[2:],
         "cwd": os.path.abspath(cwd or os.getcwd()),
         "environment": {**os.environ, **(environment or {})}})
    for end in ends:
      end.close()
    self.pid = self._answer()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for end in (self.stdin, self.stdout, self.stderr):
      end.close()
    self.wait()

  def poll(self):
    """Its return code, or None if it has not ended."""
    try:
      return self.wait(timeout=0)
    except subprocess.TimeoutExpired:
      return None

  def wait(self, timeout=None):
    """Waits for its end; returns its return code."""
    if self.returncode is None:
      if not select.select([self._status], [], [], timeout)[0]:
        raise subprocess.TimeoutExpired(self.args, timeout)
      self.returncode = os.waitstatus_to_exitcode(self._answer())
      self._status.close()
    return self.returncode

  def _answer(self):
    """The next number that the server has for this program."""
    return _answer(self._status)

  def communicate(self, text=None, timeout=None):
    """Writes to it, and gives all that it writes: standard output, error."""
    ends = {}
    readers = [
        threading.Thread(target=lambda end=end: ends.update({end: end.read()}),
                         daemon=True) for end in (self.stdout, self.stderr)]
    for reader in readers:
      reader.start()
    try:
      self.stdin.write(text or "")
      self.stdin.close()
    except BrokenPipeError:
      pass  # It reads none of it, or not all.
    for reader in readers:
      reader.join(timeout)
      if reader.is_alive():
        raise subprocess.TimeoutExpired(self.args, timeout)
    self.wait(timeout)
    return ends[self.stdout], ends[self.stderr]

  def send_signal(self, number):
    """Sends it a signal, unless it has ended."""
    if self.poll() is None:
      # It may have ended, and its status not be known yet.
      with contextlib.suppress(ProcessLookupError):
        os.kill(self.pid, number)

  def kill(self):
    """Ends it at once."""
    self.send_signal(signal.SIGKILL)


def run(module, *arguments, text=None, timeout=600, **where):
  """Runs a program to its end.

  Args:
    module: name of the module to run.
    *arguments: converted to text.
    text: standard input.
    timeout: seconds after which it is killed.
    **where: `cwd` and more, as `Program` takes them.

  Returns:
    `subprocess.CompletedProcess` with text.
  """
  program = Program(module, *arguments, **where)
  try:
    out, err = program.communicate(text, timeout)
  finally:
    program.kill()
  return subprocess.CompletedProcess(
      program.args, program.returncode, out, err)


def start_server(python=sys.executable, environment=None):
  """Starts a process that has loaded TensorFlow; it ends with this one.

  Args:
    python: of which environment.
    environment: dict of variables beside those of this process.

  Returns:
    A socket, to ask it for programs.
  """
  connection, theirs = socket.socketpair()
  with theirs:
    # Its streams are pipes, as those of the programs are.
    process = subprocess.Popen(
        [python, "-m", "tests.program_server", str(theirs.fileno())],
        cwd=_ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})})
  atexit.register(_stop, process, connection)
  return connection


def _stop(process, connection):
  """Lets a server end; shows what it has to complain of."""
  connection.close()
  _, err = process.communicate()
  if process.returncode:
    sys.stderr.write(err)


def _ask(connection, streams, request):
  """Asks a server for a program; returns the socket of its two answers."""
  status, theirs = socket.socketpair()
  with theirs:
    socket.send_fds(connection, [b"1"], [theirs.fileno(), *streams])
  status.sendall(json.dumps(request).encode())
  status.shutdown(socket.SHUT_WR)
  return status


def _answer(status):
  """The next number that the server has for a program: its own, its status."""
  answer = status.recv(4, socket.MSG_WAITALL)
  if len(answer) != 4:
    raise RuntimeError("tests.program_server has ended.")
  return int.from_bytes(answer, "big")


def _pipe():
  """A pipe's ends, to read and to write text."""
  reading, writing = os.pipe()
  return (os.fdopen(reading, encoding="utf-8", errors="surrogateescape"),
          os.fdopen(writing, "w", encoding="utf-8", errors="surrogateescape"))


def _connection():
  """The socket of this process's server, which is started at first."""
  global _server
  if _server is None:
    _server = start_server()
  return _server


def _main(number, module, *arguments):
  """Runs a program in this process's place; returns its exit status."""
  with socket.socket(fileno=int(number)) as connection:
    status = _ask(connection, range(3), {
        "module": module, "arguments": arguments, "cwd": os.getcwd(),
        "environment": {**os.environ}})
  _answer(status)
  # As a shell says it, of one that a signal ends.
  ended = os.waitstatus_to_exitcode(_answer(status))
  return ended if ended >= 0 else 128 - ended


if __name__ == "__main__":
  sys.exit(_main(*sys.argv[1:]))
