"""Interruption of a program by SIGTERM, SIGINT or the loss of a worker.

A signal raises `Interrupted` in the main thread immediately: every `finally`
runs, no traceback is printed, and `command_line` exits with 128 plus the
signal's number, as shells do: 143 for SIGTERM, 130 for SIGINT. Work that must
be completed first runs inside `deferred` and polls `pending`. A second SIGINT
exits without any clean-up.

Python cannot run a signal handler while the main thread is inside TensorFlow,
so a second thread exits on its behalf after `_PATIENCE` seconds; inside
`deferred` it waits for as long as that takes, inside `limited` for `_LIMIT`
seconds more.
"""

import contextlib
import os
import signal
import socket
import threading
import time

# Seconds. Kubernetes and preemptible machines give 30 in all.
_PATIENCE = 8.0
_LIMIT = 10.0
_POLL_INTERVAL = 0.2

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
  """Raised in the main thread when the program is asked to stop.

  Attributes:
    reason: the cause, such as `SIGTERM`.
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
_limited = False


def install():
  """Installs the signal handlers; call it in the main thread.

  A signal that was ignored when the program started stays ignored, as SIGINT
  is for background jobs of a shell script.
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
  """Restores the handlers that TensorFlow replaces when it joins a cluster."""
  for number in _SIGNALS:
    if signal.getsignal(number) is _handle:
      signal.signal(number, _handle)


def pending():
  """The pending `Interrupted`, or None."""
  return _pending


def request(interrupted):
  """Interrupts the main thread from another one.

  Args:
    interrupted: the `Interrupted` to raise, unless one is already pending.
  """
  global _pending
  if _pending is None:
    _pending = interrupted
  signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)


@contextlib.contextmanager
def deferred():
  """Postpones interruptions to the end of the block."""
  with _mode(True):
    yield
  _raise_if_due()


@contextlib.contextmanager
def at_once():
  """Raises interruptions immediately, even inside `deferred`."""
  with _mode(False):
    _raise_if_due()
    yield


@contextlib.contextmanager
def limited():
  """Postpones interruptions no longer than a preemptible machine allows.

  For work inside `deferred` that may take minutes and is worth less than its
  clean end, such as compilation. If it ends in time, all is as without this.
  """
  global _limited
  before, _limited = _limited, True
  try:
    yield
  finally:
    _limited = before


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
  """Exits if the main thread does not act on a signal in time.

  Time is counted by looks, not by a clock: it goes on while a machine stands
  still, where the main thread has none.
  """
  number = None
  while number not in _SIGNALS or signal.getsignal(number) is not _handle:
    number = receiver.recv(1)[0]
  hung = in_all = 0.0
  while hung < _PATIENCE:
    time.sleep(_POLL_INTERVAL)
    hung += _POLL_INTERVAL
    in_all += _POLL_INTERVAL
    if _deferred and not (_limited and in_all > _LIMIT):
      hung = 0.0
  name = signal.Signals(number).name
  ending = _pending or Interrupted(name, 128 + number)
  # Not by `logging`, whose lock the main thread may hold.
  os.write(2, f"{ending.message}\n".encode())
  os._exit(ending.code)
