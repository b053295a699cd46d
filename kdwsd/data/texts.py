"""Text that people bring: its lines, and how messages show what is in it."""

import re
import reprlib
import shlex
import unicodedata

from kdwsd import errors

# Control characters, of which a terminal obeys some; halves of UTF-16 pairs,
# which no file can hold; and what ends a line elsewhere than in an editor.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_NAME = 1000  # characters

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120
_REPR.maxlong = 40
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 8
_REPR.maxlevel = 4


def lines(text):
  """Lines of a text as editors count them, without their ends.

  `str.splitlines` also parts at form feeds and at separators of Unicode, and
  so would give other numbers, and to a name with one of them two lines.
  """
  found = re.split("\r\n|\r|\n", text)
  return found if found[-1] else found[:-1]


def shown(value, most=200):
  """What a message shows of a name: as it is if it is fit, else `quoted`."""
  if not isinstance(value, str) or _UNFIT.search(value):
    return quoted(value)
  return value if len(value) <= most else value[:most] + "..."


def folded(value):
  """What texts share that look alike but for their case.

  A Mac writes an accent as a character of its own; some tools write spaces
  and marks that cannot be seen.
  """
  value = unicodedata.normalize("NFKC", value).casefold()
  return value if value.isascii() else "".join(
      one for one in value if unicodedata.category(one) != "Cf")


def flag(name, value):
  """A flag as a message tells to give it: quoted where a shell needs that."""
  return shlex.quote(f"--{name}={shown(value)}")


def quoted(value):
  """What a message shows of any value: its `repr`, of one line and not long."""
  return _REPR.repr(value)


def check_name(name, where, what):
  """Raises `errors.InputError` unless a name can be written and shown.

  Args:
    name: text.
    where: it stands, for the message.
    what: it should be, for the message.
  """
  try:
    unfit = _UNFIT.search(name)
  except TypeError:
    unfit = True
  if unfit or len(name) > _LONGEST_NAME:
    raise errors.InputError(
        f"{where}: expected {what} of at most {_LONGEST_NAME} characters, none "
        f"of them a control character. Received: {quoted(name)}.")
