"""The meaning of a label's value, the same for every table.

| value | meaning |
|---|---|
| 1, 1.0, True | present |
| 0, 0.0, False | absent |
| -1, ?, blank | unknown |
"""

import re

PRESENT, ABSENT, UNKNOWN = "present", "absent", "unknown"
MINUS_ONE, BLANK = "-1", "a blank"

_NUMBER = re.compile(r"([+-]?)([01])(?:\.0*)?(?:e[+-]?0+)?", re.IGNORECASE)


def kind(value):
  """Classifies a value as written.

  Args:
    value: text.

  Returns:
    `PRESENT`, `ABSENT`, `UNKNOWN` (for ?), or `MINUS_ONE` or `BLANK`, whose
    meaning differs between files; None for any other text.
  """
  value = value.strip()
  if value in ("", "?"):
    return UNKNOWN if value else BLANK
  word = value.lower()
  if word in ("true", "false"):
    return PRESENT if word == "true" else ABSENT
  number = _NUMBER.fullmatch(value)
  if not number:
    return None
  if number[2] == "0":
    return ABSENT
  return MINUS_ONE if number[1] == "-" else PRESENT


class Meanings(dict):
  """Maps values to `PRESENT`, `ABSENT` or `UNKNOWN`; other text to None."""

  def __init__(self, minus_one=None, blank=None):
    """Sets the meanings of -1 and of a blank; `UNKNOWN` if None."""
    super().__init__()
    self._settled = {MINUS_ONE: minus_one or UNKNOWN, BLANK: blank or UNKNOWN}

  def __missing__(self, value):
    said = kind(value)
    self[value] = meaning = self._settled.get(said, said)
    return meaning
