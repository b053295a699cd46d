"""How a program ends before it is done: by SIGTERM, SIGINT, or a lost worker.

A signal raises `Interrupted` in the main thread, at once and wherever that is:
every `finally` runs, no traceback is shown, and `command_line` exits with 128
plus the signal's number, 143 for SIGTERM and 130 for SIGINT, as shells count.
What should rather be finished first stands in `deferred`, and looks at
`pending`. A second SIGINT ends the program there and then.

The main thread may be deep in TensorFlow, where no Python handler can run: a
thread ends the program when it has not done so itself after `_PATIENCE`.
"""

import contextlib
import os
import signal
import socket
import threading
import time

# Seconds. Kubernetes gives 30 in all.
_PATIENCE = 8.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
  """The end of a program that was told to end.

  Attributes:
    reason: what told it, such as `SIGTERM`.
    code: exit status.
    message: a line for the user.
  """

  def __init__(self, reason, code, message=None):
    super().__init__(code)
    self.reason = reason
    self.message = message or f"Stopped by {reason}."


_pending = None
_raised = False
_deferred = False


def install():
  """Makes signals interrupt; call it in the main thread.

  A signal that the program was started to ignore stays ignored, as SIGINT is
  in the background of a shell script.
  """
  receiver, sender = socket.socketpair()
  receiver.setblocking(True)
  sender.setblocking(False)
  for number in _SIGNALS:
    if signal.getsignal(number) != signal.SIG_IGN:
      signal.signal(number, _handle)
  signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
  threading.Thread(
      target=_end_the_hung, args=(receiver, sender), daemon=True).start()


def listen_again():
  """Takes the signals back that TensorFlow takes when it joins a cluster."""
  for number in _SIGNALS:
    if signal.getsignal(number) is _handle:
      signal.signal(number, _handle)


def pending():
  """The `Interrupted` that was asked for; None if nothing was."""
  return _pending


def request(interrupted):
  """Interrupts the main thread from another one.

  Args:
    interrupted: the `Interrupted` to raise there, unless there is one already.
  """
  global _pending
  if _pending is None:
    _pending = interrupted
  signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)


@contextlib.contextmanager
def deferred():
  """Inside, nothing is raised; it is at the end, unless `at_once` was."""
  with _mode(True):
    yield
  _raise_if_due()


@contextlib.contextmanager
def at_once():
  """Inside, interruptions are raised even within `deferred`."""
  with _mode(False):
    _raise_if_due()
    yield


@contextlib.contextmanager
def _mode(value):
  global _deferred
  before, _deferred = _deferred, value
  try:
    yield
  finally:
    _deferred = before


def _handle(number, unused_frame):
  global _pending
  if _pending is None:
    _pending = Interrupted(signal.Signals(number).name, 128 + number)
  elif number == signal.SIGINT:
    os._exit(128 + number)
  _raise_if_due()


def _raise_if_due():
  global _raised
  if _pending is not None and not _deferred and not _raised:
    _raised = True
    raise _pending


def _end_the_hung(receiver, unused_sender):
  """Waits for a signal, then for the main thread to act on it."""
  number = None
  while number not in _SIGNALS or signal.getsignal(number) is not _handle:
    number = receiver.recv(1)[0]
  since = time.monotonic()
  while time.monotonic() - since < _PATIENCE:
    time.sleep(0.2)
    if _deferred:
      since = time.monotonic()
  name = signal.Signals(number).name
  ending = _pending or Interrupted(name, 128 + number)
  # Not by `logging`, whose lock the main thread may hold.
  os.write(2, f"{ending.message}\n".encode())
  os._exit(ending.code)
