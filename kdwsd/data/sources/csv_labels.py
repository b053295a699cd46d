"""People's own images: a CSV file of paths and labels.

Two forms, told apart by the header. Labels by name, parted by ; or |:

    path,labels
    holiday/beach.jpg,person;boat
    holiday/empty.jpg,

or a column for each class, with 1 for present, 0 for absent and ? for unknown:

    path,person,boat
    holiday/beach.jpg,1,1
    holiday/sea.jpg,0,?

Paths start from the folder of the file, or from `--images`. In the first form
the classes are those of `--classes`, or all names found, sorted: give another
split the same list, or its labels get other numbers. In the second they are the
columns, or those of them that `--classes` names.
"""

import csv
import io
import os
import re

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data import texts

_VALUES = ("0", "1", "?")


def read(path, *, images=None, classes=None, problems):
  """Reads a CSV file.

  Args:
    path: of the file, UTF-8, fields parted by commas.
    images: folder that paths start from; the file's own if None.
    classes: names, in order; None for those of the file.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are the paths as written.

  Raises:
    errors.InputError: the file, its header or a line is not right.
  """
  text = sources.read_text(path, "a CSV file")
  images = images or os.path.dirname(os.path.abspath(path))
  header, rows = _rows(text, path)
  by_name = header[1:] == ["labels"]
  if by_name:
    found = sorted({name for _, row in rows if len(row) == 2
                    for name in _names(row[1])})
    if classes is None and not found:
      raise errors.InputError(
          f"{path}: expected labels by name. Received: none in {len(rows)} "
          "lines.")
    classes = tuple(classes or found)
    sources.check_classes(classes, path)
  else:
    there = header[1:]
    classes = sources.choose_classes(classes, there, path)
  numbers = {name: i for i, name in enumerate(classes)}
  items, seen = [], {}
  for line, row in rows:
    where = f"{path}:{line}"
    try:
      name = row[0].strip()
      if len(row) != len(header) or not name:
        raise errors.InputError(
            f"{where}: expected {len(header)} fields, the first a path. "
            f"Received: {texts.quoted(','.join(row))}.")
      if name in seen:
        raise errors.InputError(
            f"{where}: expected every image once. Received: "
            f"{texts.shown(name)}, also in line {seen[name]}.")
      seen[name] = line
      if by_name:
        present, unknown = _by_name(row[1], numbers, where), ()
      else:
        present, unknown = _by_column(row[1:], there, numbers, where)
      items.append(sources.Item(
          image_path=os.path.join(images, name), image_id=name,
          label_ids=present, unknown_label_ids=unknown, where=where))
    except errors.InputError as error:
      problems.add(error)
  return sources.Source(
      classes=classes, items=items, description={
          "format": "csv", "name": os.path.basename(path)})


def _rows(text, path):
  """Returns the header and (line number, fields) of each line not blank."""
  reader = csv.reader(io.StringIO(text, newline=""), strict=True)
  rows = []
  try:
    for row in reader:
      if any(field.strip() for field in row):
        rows.append((reader.line_num, row))
  except csv.Error as error:
    raise errors.InputError(
        f"{path}:{reader.line_num}: expected comma-separated fields. "
        f"Received: {error}.") from error
  header = [field.strip() for field in rows[0][1]] if rows else []
  if len(header) < 2 or header[0] != "path":
    raise errors.InputError(
        f"{path}: expected a header `path,labels`, or `path` and one column a "
        "class. Received: "
        f"{texts.shown(','.join(header)) or 'an empty file'}.")
  return header, rows[1:]


def _names(field):
  return [name.strip() for name in re.split(r"[;|]", field) if name.strip()]


def _by_name(field, numbers, where):
  strange = [name for name in _names(field) if name not in numbers]
  if strange:
    raise errors.InputError(
        f"{where}: expected labels of the {len(numbers)} in --classes. "
        f"Received: {texts.shown(', '.join(strange))}.")
  return tuple(sorted({numbers[name] for name in _names(field)}))


def _by_column(fields, header, numbers, where):
  labels = {"0": [], "1": [], "?": []}
  for name, field in zip(header, fields):
    value = field.strip()
    if value not in _VALUES:
      raise errors.InputError(
          f"{where}: expected 0, 1 or ? under {texts.quoted(name)}. Received: "
          f"{texts.quoted(field)}.")
    if name in numbers:
      labels[value].append(numbers[name])
  return tuple(sorted(labels["1"])), tuple(sorted(labels["?"]))
