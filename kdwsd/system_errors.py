"""One-line messages for a full disk, a missing permission or an I/O error.

Python raises OSError for these; TensorFlow raises errors of its own, with
"PATH; No space left on device" somewhere in the message. This module does not
import TensorFlow.
"""

import contextlib
import errno
import os
import re

from kdwsd import errors
from kdwsd import literal_paths

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)

_REASONS = {os.strerror(number): number for number in (
    *_NO_ROOM, *_REFUSED, errno.ENOENT)}
_MESSAGE = re.compile(r"(?:^|\s)([^;\n]*[^\s;]); ("
                      + "|".join(map(re.escape, _REASONS)) + r")\b")

# Text that TensorFlow adds around the message of an operation.
_NOTES = re.compile(r"\{\{[^}]*\}\} ?|\s*\[Op:\w+\].*")
_CALL = re.compile(r'\s*File ".*", line \d+')
_AROUND = re.compile(
    r"Graph execution error:?$|Detected at node\b|Node: '|<stack traces |"
    r"\d+ root error\(s\) found|\[\[.*\]\]$|Original stack trace|"
    r"\d+ (successful|derived) ")
_ROOT = re.compile(r"\(\d+\) ([A-Z_]+|[A-Z][a-z ]+): *")
_ASSERTED = re.compile(r"assertion failed: \[(.*)\]$")


@contextlib.contextmanager
def reported(where):
  """Reports file system errors inside the block as an `InputError`.

  Args:
    where: path to name in the message if the error has none.

  Yields:
    None.

  Raises:
    errors.InputError: a file system error. Other errors pass through.
  """
  try:
    yield
  except errors.InputError:
    raise
  except Exception as error:
    found = read(error)
    if not found:
      raise
    path, reason = found
    raise errors.InputError(message(path or where, reason)) from error


def read(error):
  """Extracts path and reason from a file system error.

  Args:
    error: any exception.

  Returns:
    (path or None, the system's message), or None for an error of another kind.
  """
  if isinstance(error, OSError):
    if error.errno in _NO_ROOM + _REFUSED:
      return error.filename, os.strerror(error.errno)
    return None
  found = _MESSAGE.search(literal_paths.named(str(error)))
  if not found:
    return None
  # TensorFlow writes the operation first: "{{function_node ...}} PATH".
  return found.group(1).rsplit("}} ", 1)[-1], found.group(2)


def first_line(error):
  """The reason in a TensorFlow error, without operations and stack traces.

  Args:
    error: any exception, from Python or from the C++ session.

  Returns:
    One line without a final full stop.
  """
  text = _NOTES.sub("", literal_paths.named(
      str(getattr(error, "message", None) or error)))
  lines, is_source = [], False
  for line in text.splitlines():
    # Older releases quote the source below a call.
    called = _CALL.match(line)
    if line.strip() and not called and not (
        is_source and line.startswith("    ")):
      lines.append(line.strip())
    is_source = bool(called)
  lines = [line for line in lines if not _AROUND.match(line)]
  found = _ROOT.sub("", lines[0]) if lines else ""
  asserted = _ASSERTED.match(found)
  if asserted:
    found = asserted.group(1).replace("] [", " ")
  return found.strip().rstrip(".") or type(error).__name__


def message(where, reason):
  """Formats the message for the user.

  Args:
    where: path.
    reason: the second value that `read` returns.
  """
  if _REASONS.get(reason) in _NO_ROOM:
    return (f"{where}: expected free disk space. Received: {reason}; free some "
            "space, then the same command resumes.")
  return (f"{where}: expected a file that can be read and written. Received: "
          f"{reason}.")
