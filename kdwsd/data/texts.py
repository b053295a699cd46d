"""Text from users' files: splits it into lines and quotes it in messages."""

import re
import reprlib
import shlex
import unicodedata

from kdwsd import errors

# Control characters (terminals act on some), lone UTF-16 surrogates (which
# cannot be encoded), and Unicode's own line separators.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_NAME = 1000  # characters

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120
_REPR.maxlong = 40
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 8
_REPR.maxlevel = 4


def lines(text):
  """Splits text into lines as editors count them, without line endings.

  `str.splitlines` also splits at form feeds and Unicode separators: line
  numbers would differ from the editor's, and a name that contains one of them
  would be cut in two.
  """
  found = re.split("\r\n|\r|\n", text)
  return found if found[-1] else found[:-1]


def shown(value, most=200):
  """A name for messages: unchanged if printable, else `quoted`."""
  if not isinstance(value, str) or _UNFIT.search(value):
    return quoted(value)
  return value if len(value) <= most else value[:most] + "..."


def folded(value):
  """A key under which strings that look the same, ignoring case, are equal.

  macOS writes accents as separate characters, and some tools write invisible
  spaces and marks.
  """
  value = unicodedata.normalize("NFKC", value).casefold()
  return value if value.isascii() else "".join(
      one for one in value if unicodedata.category(one) != "Cf")


def flag(name, value):
  """`--name=value`, quoted for a shell where that is needed."""
  return shlex.quote(f"--{name}={shown(value)}")


def quoted(value):
  """Any value for messages: a shortened `repr` on one line."""
  return _REPR.repr(value)


def check_name(name, where, what):
  """Raises `errors.InputError` unless a name can be written and shown.

  Args:
    name: text.
    where: file and line of the name, for the message.
    what: what it names, for the message.
  """
  try:
    unfit = _UNFIT.search(name)
  except TypeError:
    unfit = True
  if unfit or len(name) > _LONGEST_NAME:
    raise errors.InputError(
        f"{where}: expected {what} of at most {_LONGEST_NAME} characters, none "
        f"of them a control character. Received: {quoted(name)}.")
