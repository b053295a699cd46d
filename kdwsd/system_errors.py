"""What the system refuses - room, permission, a disk that fails - in one line.

Python raises OSError for it, TensorFlow errors of its own whose message has
"PATH; No space left on device" somewhere. No TensorFlow here.
"""

import contextlib
import errno
import os
import re

from kdwsd import errors

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)

_REASONS = {os.strerror(number): number for number in (
    *_NO_ROOM, *_REFUSED, errno.ENOENT)}
_MESSAGE = re.compile(r"(?:^|\s)([^;\n]*[^\s;]); ("
                      + "|".join(map(re.escape, _REASONS)) + r")\b")


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
  found = _MESSAGE.search(str(error))
  if not found:
    return None
  # TensorFlow puts the operation before: "{{function_node ...}} PATH".
  return found.group(1).rsplit(" ", 1)[-1], found.group(2)


def first_line(error):
  """What TensorFlow says, without the operations around it."""
  text = (str(error).splitlines() or [""])[0]
  text = re.sub(r"\{\{[^}]*\}\} ?|\s*\[Op:\w+\].*", "", text)
  return text.strip().rstrip(".") or type(error).__name__


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
