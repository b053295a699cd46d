"""Infers the columns of a table: names of labels, a class each, or neither.

The column of a class has a value of `label_values` for every image. In a file
without any 0, -1 or a blank may mean "absent" or "unknown"; such a file is
refused unless a flag gives the meaning. Other columns are ignored and reported.
"""

import dataclasses
import itertools
import os
import re

from kdwsd import errors
from kdwsd.data import texts
from kdwsd.data.sources import csv_boxes
from kdwsd.data.sources import csv_tables
from kdwsd.data.sources import label_values

_LABEL_NAMES = frozenset(
    "label labels labelname labelnames class classes classname classnames tag "
    "tags category categories categoryname target targets classlabel "
    "classlabels imagelabel imagelabels imagetags finding findings "
    "findinglabels".split())
# Columns of numbers that could be mistaken for labels or class names.
_OTHER_NAMES = frozenset(
    "width height depth imagewidth imageheight xmin ymin xmax ymax x y w h x1 "
    "y1 x2 y2 split subset set fold partition id index idx valid isvalid "
    "istrain istest train val validation test difficult truncated occluded "
    "iscrowd isgroupof isoccluded istruncated isdepiction isinside pose source "
    "size".split())
# Those that are not classes even if all values are 0 and 1.
_NEVER_CLASSES = frozenset(
    "width height depth imagewidth imageheight xmin ymin xmax ymax x1 y1 x2 y2 "
    "difficult iscrowd isgroupof".split())
# Columns of label ids, used if there is no column of label names.
_LABEL_IDS = frozenset("labelid classid categoryid targetid".split())
_SAID_OF_LABELS = frozenset(
    "confidence present presence ispresent value score probability".split())
_ONLY_CLASSES = "_classes.csv"  # Roboflow's: all other columns are classes.
_UNNAMED = re.compile(r"unnamed:\d+")
_MOST_KEPT = 1000  # Distinct values kept of a column without labels.
_CHUNK = 5000  # Rows.
_MOST_ODD = 3  # Invalid values in a class's column that may be mistakes.


@dataclasses.dataclass(frozen=True)
class Hints:
  """Flags that describe a table; None for what is to be inferred.

  Attributes:
    csv_separator: separator of the fields.
    label_separator: separator of the labels in a field; `none` for one label.
    path_column: name of the column of image paths.
    label_columns: headers of the columns of label names.
    ignore_columns: headers of the columns to ignore.
    minus_one: meaning of -1, `absent` or `unknown`.
    blank: meaning of a blank in the column of a class, `absent` or `unknown`.
  """
  csv_separator: str = None
  label_separator: str = None
  path_column: str = None
  label_columns: tuple = ()
  ignore_columns: tuple = ()
  minus_one: str = None
  blank: str = None


@dataclasses.dataclass(frozen=True)
class Columns:
  """The meaning of the columns.

  Attributes:
    labels: indices of the columns of label names.
    fields: the distinct fields of those.
    classes: indices of the columns of classes, if `labels` is empty.
    box: indices of the columns xmin, ymin, xmax, ymax, or None.
    frame: indices of the columns height and width, or None.
    ignored: headers of all others.
    meanings: `label_values.Meanings` of the values in columns of classes.
  """
  labels: tuple
  fields: frozenset
  classes: tuple
  box: tuple
  frame: tuple
  ignored: tuple
  meanings: label_values.Meanings


class _Seen:
  """Distinct values of a column, up to a maximal number.

  Attributes:
    values: set of texts.
    kinds: their kinds by `label_values.kind`.
    is_binary: whether all values are label values and not all are blank.
    is_mixed: whether some values are label values.
  """

  def __init__(self, keep_all):
    self._most = None if keep_all else _MOST_KEPT
    self._full = False
    self.values = set()

  def add(self, values):
    """Adds the values of some rows."""
    if not self._full:
      self.values.update(values)
      self._full = self._most is not None and len(self.values) > self._most

  def close(self):
    """Call this when all rows have been added."""
    self.kinds = {label_values.kind(value) for value in self.values}
    known = bool(self.kinds - {None, label_values.BLANK})
    self.is_binary = known and None not in self.kinds
    self.is_mixed = known and None in self.kinds

  def others(self):
    """Values that are not label values."""
    return sorted(value for value in self.values
                  if label_values.kind(value) is None)


def decide(table, hints, classes):
  """Infers the meaning of the columns of a table.

  Args:
    table: a `csv_tables.Table`.
    hints: a `Hints`.
    classes: requested names, or None.

  Returns:
    A `Columns`.

  Raises:
    errors.InputError: the meaning is ambiguous; the message names the flag
      that resolves it.
  """
  header = table.header
  left_out = {table.column(name, "--ignore_columns")
              for name in hints.ignore_columns}
  rest = [i for i in range(len(header))
          if i != table.path_column and i not in left_out]
  labels = tuple(table.column(name, "--label_column")
                 for name in hints.label_columns)
  named = ([i for i in rest if _stem(header[i]) in _LABEL_NAMES]
           or [i for i in rest if csv_tables.plain(header[i]) in _LABEL_IDS])
  seen = _look(table, {*labels, *named})
  columns = ()
  if not labels:
    labels = _by_name(table, seen, rest, named, classes)
  box = frame = None
  if not labels:
    columns = _by_column(table, seen, rest, classes)
  else:
    _check_certainties(table, seen, rest)
    box, frame = csv_boxes.columns(
        {csv_tables.plain(header[i]): i for i in rest})
  _check_values(table, [seen[i] for i in columns], hints)
  used = {table.path_column, *labels, *columns, *(box or ()), *(frame or ())}
  return Columns(
      labels=labels, classes=tuple(columns), box=box, frame=frame,
      fields=frozenset().union(*(seen[i].values for i in labels)),
      meanings=label_values.Meanings(hints.minus_one, hints.blank),
      ignored=tuple(name or f"column {i + 1} (no name)"
                    for i, name in enumerate(header) if i not in used))


def _look(table, labels):
  """Returns a `_Seen` for each column; ignores rows of a wrong length."""
  seen = [_Seen(i in labels) for i in range(len(table.header))]
  rows = table.rows()
  first, empty = None, True
  while True:
    chunk = list(itertools.islice(rows, _CHUNK))
    if not chunk:
      break
    first = first or chunk[0]
    chunk = [row for _, row in chunk if len(row) == len(seen)]
    empty = empty and not chunk
    for i, column in enumerate(zip(*chunk)):
      if i != table.path_column:
        seen[i].add(column)
  if empty and first:
    raise table.wrong_length(*first)
  if empty:
    raise errors.InputError(
        f"{table.path}: expected a row for each image below the header "
        f"{csv_tables.listed(table.header)}. Received: none.")
  for column in seen:
    column.close()
  return seen


def _by_name(table, seen, rest, named, classes):
  """Indices of the columns of label names."""
  header = table.header
  if classes and any(header[i] in classes and seen[i].is_binary for i in named):
    return ()
  numbered = [i for i in named if csv_tables.plain(header[i])[-1:].isdigit()]
  if any(seen[i].is_binary for i in numbered):
    named = [i for i in named if i not in numbered]  # Such as class1, class2.
  elif numbered == named and len({_stem(header[i]) for i in named}) == 1:
    return tuple(named)
  if len(named) > 1:
    raise errors.InputError(
        f"{table.path}:1: expected one column of labels; name it with "
        "--label_column, or leave others out with --ignore_columns. Received: "
        f"{csv_tables.listed([header[i] for i in named])}.")
  if not named:
    return ()
  classes_too = [i for i in rest if i not in named and seen[i].is_binary
                 and csv_tables.plain(header[i]) not in _OTHER_NAMES
                 and not _is_index(header, i, seen)]
  if seen[named[0]].is_binary and classes_too:
    raise errors.InputError(
        f"{table.path}:1: expected labels by name in "
        f"{texts.quoted(header[named[0]])} or columns of classes; settle it "
        f"with {texts.flag('label_column', header[named[0]])} or with "
        "--ignore_columns. "
        "Received: 0 and 1 in both, also in "
        f"{csv_tables.listed([header[i] for i in classes_too])}.")
  return (named[0],)


def _by_column(table, seen, rest, classes):
  """Indices of the columns of classes."""
  header, found = table.header, []
  are_all = os.path.basename(table.path) == _ONLY_CLASSES
  for i in rest:
    column, name = seen[i], csv_tables.plain(header[i])
    if classes and header[i] in classes:
      found.append(i)
    elif name in _NEVER_CLASSES or _is_index(header, i, seen):
      continue
    elif column.is_binary and name in _OTHER_NAMES and not (
        classes or are_all):
      raise errors.InputError(
          f"{table.path}:1: expected to know whether {texts.quoted(header[i])} "
          f"is a class, as all its values could be labels; if not, give "
          f"{texts.flag('ignore_columns', header[i])}, else all classes with "
          f"--classes. Received: {csv_tables.listed(header)}.")
    elif column.is_binary:
      found.append(i)
    elif column.is_mixed and name not in _OTHER_NAMES and not classes:
      if len(column.others()) > _MOST_ODD:
        raise errors.InputError(
            f"{table.path}:1: expected 1, 0, -1, ? or a blank under "
            f"{texts.quoted(header[i])} if it is a class; if not, give "
            f"{texts.flag('ignore_columns', header[i])}, or name the column of "
            "labels by name with --label_column. Received: "
            f"{csv_tables.listed(column.others(), 4)}.")
      found.append(i)
  if not found:
    odd = next((i for i in rest if seen[i].others()), None)
    example = "" if odd is None else (
        f"; in {texts.shown(header[odd])}: "
        f"{csv_tables.listed(seen[odd].others(), 4)}")
    raise errors.InputError(
        f"{table.path}:1: expected a column of labels by name (labels, class, "
        "tags, ...), or a column of 0 and 1 for each class; name the former "
        f"with --label_column. Received: {csv_tables.listed(header)}{example}.")
  return found


def _stem(name):
  """A column's header without a number: `label` for `label_2`."""
  return csv_tables.plain(name).rstrip("0123456789")


def _is_index(header, i, seen):
  """Whether a column without a header holds row numbers, or is empty."""
  if header[i] and not _UNNAMED.fullmatch(csv_tables.plain(header[i])):
    return False
  if seen[i].kinds <= {label_values.BLANK}:
    return True
  return (i == 0 or bool(header[i])) and all(
      value.strip().isdecimal() for value in seen[i].values)


def _check_certainties(table, seen, rest):
  """Refuses a column that marks the labels of others as absent or doubtful."""
  for i in rest:
    if (csv_tables.plain(table.header[i]) in _SAID_OF_LABELS
        and not seen[i].kinds <= {label_values.PRESENT, label_values.BLANK}):
      name = table.header[i]
      raise errors.InputError(
          f"{table.path}:1: expected labels that hold. Received: a column "
          f"{texts.quoted(name)} with other values than 1; "
          f"{texts.flag('ignore_columns', name)} takes all labels as present, "
          "and --format=openimages reads the labels of Open Images.")


def _check_values(table, columns, hints):
  """Refuses values that may mean either absent or unknown."""
  kinds = set().union(*(column.kinds for column in columns))
  meanings = {label_values.MINUS_ONE: hints.minus_one,
              label_values.BLANK: hints.blank}
  absent = {label_values.ABSENT, *(
      kind for kind, meaning in meanings.items()
      if meaning == label_values.ABSENT)}
  if kinds & absent:
    return
  for kind, flag in zip(meanings, ("--minus_one", "--blank")):
    if kind in kinds and not meanings[kind]:
      raise errors.InputError(
          f"{table.path}: expected to know what {kind} means under a class, as "
          f"no value is 0; give {flag}=absent or {flag}=unknown. Received: "
          f"only {', '.join(sorted(filter(None, kinds)))}.")
