"""Ends a program in order whose standard output cannot be written.

Whoever reads it may stop reading, as `| head` does, and a disk may be full.
"""

import contextlib
import os
import select
import sys

EXIT_UNREAD = 1  # As of absl where it prints help.
_EXIT_UNWRITTEN = 2


@contextlib.contextmanager
def may_be_unread():
  """Exits if standard output cannot be written: quietly if nobody reads it.

  Yields:
    None.
  """
  status = EXIT_UNREAD
  try:
    try:
      yield
    except SystemExit as error:
      status = error.code or EXIT_UNREAD
      _flush()
      raise
    _flush()
  except BrokenPipeError:
    if not _is_unread():  # It was another connection that broke.
      raise
    _discard()
    sys.exit(status)


def _flush():
  if not sys.stdout:  # It is closed from the start.
    return
  try:
    sys.stdout.flush()
  except BrokenPipeError:
    raise
  except OSError as error:
    _discard()
    print(f"error: standard output: {error.strerror}", file=sys.stderr)
    sys.exit(_EXIT_UNWRITTEN)


def _discard():
  """Discards what is not written yet; Python would try again at its end."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_unread():
  """Whether standard output is a pipe whose reader has closed it."""
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)
  return bool(poll.poll(0))
