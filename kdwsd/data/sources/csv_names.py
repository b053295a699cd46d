"""Labels by name: what parts those that share a field of a table.

Lists as Python or JSON write them are certain, and then all fields must be
lists. Otherwise labels are parted by `;` or `|` where either occurs. A comma
may belong to a name ("bow, decorative") and a space often does ("stop sign"):
they part labels only where the parts prove to be labels of their own, each
alone in another field, or first in one and last in another, or in the class
list. What is not certain is refused, as are words in more combinations than
names have: "clear primary", "haze primary", "clear primary water".
"""

import ast
import json
import re
import warnings

from kdwsd.data import texts

_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t",
          "pipe": "|", "space": " "}
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# Strings parted by commas; or by spaces, as NumPy writes them.
_LIST = re.compile(
    rf"(?:{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*,?|{_QUOTED}(?:\s+{_QUOTED})*)?")
_STRING = re.compile(_QUOTED)
# What share of the fields with a mark must prove that it parts labels; others
# never do without being asked to.
_NEEDED = {",": 0.5, " ": 1.0}
_MOST_COMPARED = 500
_ODD = re.compile(r"""[\[\]{}"]|^'|'$|^\(['"]""")


class NotAListError(ValueError):
  """A field that is no list of labels, in a column of such lists."""


class UncertainError(ValueError):
  """What parts the labels of a column is not certain.

  Attributes:
    field: where it shows.
    expected: and
    received: in words.
  """

  def __init__(self, field, expected, received):
    super().__init__(expected)
    self.field, self.expected, self.received = field, expected, received


def find(fields, classes, separator):
  """Finds out how to part the labels of a column.

  Args:
    fields: the different fields.
    classes: names asked for, or None; a field that is one of them is a label.
    separator: value of `--label_separator`, or None.

  Returns:
    (how, part): in words, and a function from a field to a list of names, which
    raises `NotAListError`.

  Raises:
    UncertainError: it is not certain.
  """
  classes = frozenset(classes or ())
  fields = sorted({field.strip() for field in fields} - classes - {""})
  if fields and (all(map(_is_bracketed, fields))
                 or any(map(_is_list_of_strings, fields))):
    return "lists", _names(classes, _parts_of_list)
  mark = _look(fields, classes) if separator is None else (
      "" if separator == "none" else _WORDS.get(separator, separator))
  part = _names(classes, _parted(mark))
  unfit = "" if separator is not None or mark == "," else ","
  _check(fields, classes, part, unfit)
  return (f"parted by {' or '.join(map(repr, mark))}"
          if separator is None and mark else
          f"parted by {mark!r}" if mark else "one a field"), part


def _look(fields, classes):
  """Returns the characters that part labels; none where each field is one."""
  for mark in (";|", ";", "|", ",", " ") if classes else ():
    split = _parted(mark)
    parts = [_clean(split(field)) for field in fields]
    if any(len(some) > 1 for some in parts) and all(
        len(some) == 1 and not re.search("[;|,]", some[0])
        or classes.issuperset(some) for some in parts):
      return _those_used(mark, fields) or mark
  marks = _those_used(";|", fields)
  if marks:
    return marks
  for mark in (",", " ", "/", "+", "&"):
    split = _parted(mark)
    parts = {field: _clean(split(field)) for field in fields}
    parts = {field: some for field, some in parts.items()
             if len(some) > 1 or mark in field}
    free = _free(parts.values(), classes.union(fields))
    proved = [field for field, some in parts.items() if free.issuperset(some)]
    if parts and len(proved) >= len(parts) * _NEEDED.get(mark, 2):
      return mark
    half = [field for field, some in parts.items()
            if mark in "/+&" and not free.isdisjoint(some)]
    if proved or half or parts and (
        mark == "," or mark == " " and _recur(parts)):
      field = (proved or half or sorted(parts))[0]
      raise UncertainError(
          field, f"to know whether {'a space' if mark == ' ' else repr(mark)} "
          "parts labels or belongs to a name; give "
          f"{texts.flag('label_separator', 'space' if mark == ' ' else mark)}"
          ", or none if a field is one "
          "label, or --classes", texts.quoted(field))
  return ""


def _those_used(marks, fields):
  return "".join(mark for mark in marks
                 if any(mark in field for field in fields))


def _recur(parts):
  """Whether words come in so many combinations that they are hardly names."""
  sets = [frozenset(some) for some in parts.values()]
  if len(set(sets)) < len(sets) or len(sets) > len(frozenset().union(*sets)):
    return True
  few = sets[:_MOST_COMPARED]
  return any(one < other for one in few for other in few)


def _free(parts, alone):
  """Parts that stand alone elsewhere, or first here and last there."""
  first = {some[0] for some in parts if some}
  last = {some[-1] for some in parts if some}
  return alone | first & last


def _check(fields, classes, part, unfit):
  """Refuses names that look like several, or like code."""
  checked = set(classes)
  for field in fields:
    for name in part(field):
      if name in checked:
        continue
      checked.add(name)
      if unfit and unfit in name:
        raise UncertainError(
            field, "to know whether a comma belongs to a name; give "
            "--label_separator with what parts labels, or --classes",
            texts.quoted(name))
      if _ODD.search(name):
        raise UncertainError(
            field, "names without brackets or quotes; part labels with "
            "--label_separator, or give the names as they are with --classes",
            texts.quoted(name))


def _names(classes, split):
  """A function from a field to its names."""
  def part(field):
    field = field.strip()
    if not field or field in classes:
      return [field] if field else []
    return _clean(split(field))
  return part


def _clean(parts):
  return [name for name in map(str.strip, parts) if name]


def _parted(mark):
  """A function that parts a field at any of some characters.

  A mark of the user's that is longer, such as ` - `, parts as a whole.
  """
  if not mark:
    return lambda field: [field]
  if mark.isspace():
    return str.split
  if set(mark) <= set(";|"):
    return re.compile(f"[{mark}]").split
  return lambda field: field.split(mark)


def _is_bracketed(field):
  """Whether a field looks like a list; [a, b] does, and (a, b) does not."""
  if field[0] == "[":
    return field[-1] == "]"
  return field == "set()" or field[0] + field[-1] in ("()", "{}") and bool(
      _LIST.fullmatch(field[1:-1].strip()))


def _is_list_of_strings(field):
  """Whether a field is a list for sure: one of quoted strings."""
  return (_is_bracketed(field) and field[1:-1].strip()[:1] in ("'", '"')
          and bool(_LIST.fullmatch(field[1:-1].strip())))


def _parts_of_list(field):
  """Names in a list as JSON, Python, NumPy or a person writes it."""
  if field == "set()":
    return []
  try:
    value = json.loads(field, parse_int=str, parse_float=str)
  except (ValueError, RecursionError):
    value = None
  if isinstance(value, list):
    if not all(isinstance(name, str) for name in value):
      raise NotAListError(field)
    return value
  inner = field[1:-1].strip() if _is_bracketed(field) else "["
  if _LIST.fullmatch(inner):
    return [_string(quoted) for quoted in _STRING.findall(inner)]
  if re.search(r"""[\[\]{}"']""", inner):
    raise NotAListError(field)
  return inner.split(",")


def _string(quoted):
  """The value of a string literal."""
  if "\\" not in quoted:
    return quoted[1:-1]
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      return ast.literal_eval(quoted)
  except (ValueError, SyntaxError) as error:
    raise NotAListError(quoted) from error
