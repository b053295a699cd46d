"""What the system refuses - room, permission, a disk that fails - in one line.

Python raises OSError for it, TensorFlow errors of its own whose message has
"PATH; No space left on device" somewhere. No TensorFlow here.
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

# What TensorFlow puts around the message of an operation.
_NOTES = re.compile(r"\{\{[^}]*\}\} ?|\s*\[Op:\w+\].*")
_CALL = re.compile(r'\s*File ".*", line \d+')
_AROUND = re.compile(
    r"Graph execution error:?$|Detected at node\b|Node: '|<stack traces |"
    r"\d+ root error\(s\) found|\[\[.*\]\]$|Original stack trace|"
    r"\d+ (successful|derived) ")
_ROOT = re.compile(r"\(\d+\) ([A-Z_]+|[A-Z][a-z ]+): *")
_ASSERTED = re.compile(r"assertion failed: \[(.*)\]$")


@contextlib.contextmanager
def told(where):
  """Makes what the system refuses in the block an error in one line.

  Args:
    where: path that the message names if the error does not.

  Yields:
    None.

  Raises:
    errors.InputError: the system refused something. Other errors pass.
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
  """Reads an error.

  Args:
    error: any exception.

  Returns:
    (path or None, what the system says), or None for an error of another kind.
  """
  if isinstance(error, OSError):
    if error.errno in _NO_ROOM + _REFUSED:
      return error.filename, os.strerror(error.errno)
    return None
  found = _MESSAGE.search(literal_paths.named(str(error)))
  if not found:
    return None
  # TensorFlow puts the operation before: "{{function_node ...}} PATH".
  return found.group(1).rsplit("}} ", 1)[-1], found.group(2)


def first_line(error):
  """What TensorFlow says, without the operations and calls around it.

  Args:
    error: any exception, of Python's TensorFlow or of its C++ session.

  Returns:
    One line, without a full stop at its end.
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
  """The line for the user.

  Args:
    where: path.
    reason: second part of what `read` returns.
  """
  if _REASONS.get(reason) in _NO_ROOM:
    return (f"{where}: expected room to write. Received: {reason}; with some "
            "space freed, the same command goes on.")
  return (f"{where}: expected a file that can be read and written. Received: "
          f"{reason}.")
