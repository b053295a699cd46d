"""Lets whoever reads a program's output stop reading, as `| head` does."""

import contextlib
import os
import select
import sys

EXIT_UNREAD = 1  # As of absl where it prints help.


@contextlib.contextmanager
def may_be_unread():
  """Exits quietly if nobody reads standard output any more.

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
    # For what Python flushes at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _flush():
  if sys.stdout:  # None if it is closed from the start.
    sys.stdout.flush()


def _is_unread():
  """Whether standard output is a pipe whose reader has closed it."""
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)
  return bool(poll.poll(0))
