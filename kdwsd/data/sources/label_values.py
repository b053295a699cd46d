"""What the value of an image's label says; one meaning wherever it is read.

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
  """Reads a value as it is written.

  Args:
    value: text.

  Returns:
    `PRESENT`, `ABSENT`, `UNKNOWN` (of a ?), `MINUS_ONE` or `BLANK`, which some
    files mean otherwise; None of any other text.
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
  """`PRESENT`, `ABSENT` or `UNKNOWN` by value; None of any other text."""

  def __init__(self, minus_one=None, blank=None):
    """Settles what -1 and a blank mean; `UNKNOWN` if None."""
    super().__init__()
    self._settled = {MINUS_ONE: minus_one or UNKNOWN, BLANK: blank or UNKNOWN}

  def __missing__(self, value):
    said = kind(value)
    self[value] = meaning = self._settled.get(said, said)
    return meaning
