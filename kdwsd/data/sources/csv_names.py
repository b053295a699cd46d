"""Infers the separator of several label names in a field of a table.

Lists in the syntax of Python or JSON are unambiguous; then all fields must be
lists. Otherwise `;` or `|` is a separator wherever it occurs. A comma may
belong to a name ("bow, decorative") and a space often does ("stop sign"). They
are separators only if the parts occur as labels: alone in another field, first
in one field and last in another, or in the class list. Ambiguous fields are
refused, as are words in more combinations than names would have: "clear
primary", "haze primary", "clear primary water".
"""

import ast
import json
import re
import warnings

from kdwsd.data import texts

_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t",
          "pipe": "|", "space": " "}
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# Strings separated by commas, or by spaces as NumPy writes them.
_LIST = re.compile(
    rf"(?:{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*,?|{_QUOTED}(?:\s+{_QUOTED})*)?")
_STRING = re.compile(_QUOTED)
# Share of the fields with a character that must show that it is a separator;
# other characters need a flag.
_NEEDED = {",": 0.5, " ": 1.0}
_MOST_COMPARED = 500
_ODD = re.compile(r"""[\[\]{}"]|^'|'$|^\(['"]""")


class NotAListError(ValueError):
  """A field is not a list of labels, in a column of such lists."""


class UncertainError(ValueError):
  """The separator of the labels in a column is ambiguous.

  Attributes:
    field: an ambiguous field.
    expected: what was expected, for the message.
    received: what was found, for the message.
  """

  def __init__(self, field, expected, received):
    super().__init__(expected)
    self.field, self.expected, self.received = field, expected, received


def find(fields, classes, separator):
  """Infers how to split the labels of a column.

  Args:
    fields: the distinct fields.
    classes: requested names, or None; a field that is one of them is a label.
    separator: value of `--label_separator`, or None.

  Returns:
    (how, split): text for a notice, and a function from a field to a list of
    names, which raises `NotAListError`.

  Raises:
    UncertainError: the separator is ambiguous.
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
  return (f"separated by {' or '.join(map(repr, mark))}"
          if separator is None and mark else
          f"separated by {mark!r}" if mark else "one a field"), part


def _look(fields, classes):
  """Returns the separators of labels, or "" if each field is one label."""
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
          "separates labels or belongs to a name; give "
          f"{texts.flag('label_separator', 'space' if mark == ' ' else mark)}"
          ", or none if a field is one "
          "label, or --classes", texts.quoted(field))
  return ""


def _those_used(marks, fields):
  return "".join(mark for mark in marks
                 if any(mark in field for field in fields))


def _recur(parts):
  """Whether words occur in too many combinations to be parts of names."""
  sets = [frozenset(some) for some in parts.values()]
  if len(set(sets)) < len(sets) or len(sets) > len(frozenset().union(*sets)):
    return True
  few = sets[:_MOST_COMPARED]
  return any(one < other for one in few for other in few)


def _free(parts, alone):
  """Parts that occur alone, or first in one field and last in another."""
  first = {some[0] for some in parts if some}
  last = {some[-1] for some in parts if some}
  return alone | first & last


def _check(fields, classes, part, unfit):
  """Refuses names that look like several names, or like code."""
  checked = set(classes)
  for field in fields:
    for name in part(field):
      if name in checked:
        continue
      checked.add(name)
      if unfit and unfit in name:
        raise UncertainError(
            field, "to know whether a comma belongs to a name; give "
            "--label_separator of the labels, or --classes",
            texts.quoted(name))
      if _ODD.search(name):
        raise UncertainError(
            field, "names without brackets or quotes; split labels with "
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
  """Returns a function that splits a field at any of some characters.

  A longer separator from a flag, such as ` - `, is used as a whole.
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
  """Names in a list in the syntax of JSON, Python, NumPy, or by hand."""
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
