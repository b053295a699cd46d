"""CSV: a table of image paths and labels, for images of any origin.

Label names, several in a field or one per row:

    path,labels
    holiday/beach.jpg,person;boat
    holiday/empty.jpg,

or a column for each class (for its values see `label_values`):

    path,person,boat
    holiday/beach.jpg,1,1
    holiday/sea.jpg,0,?

Separators and columns are inferred (`csv_tables`, `csv_columns`, `csv_names`)
and reported. Rows of the same image are joined: a class is present if it is in
any row, else absent if it is in any row. Columns xmin, ymin, xmax, ymax beside
label names are boxes in pixels.

Paths are relative to the folder of the file, or to `--images`; a name without
an image extension stands for the file with one. In the first form the classes
are those of `--classes`, or all names found, sorted; another split needs the
same list to have the same label ids. In the second form the classes are the
columns, in order.
"""

import collections
import contextlib
import os

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import csv_boxes
from kdwsd.data.sources import csv_columns
from kdwsd.data.sources import csv_names
from kdwsd.data.sources import csv_tables
from kdwsd.data.sources import label_values
from kdwsd.data.sources import paths

_USUAL = (".jpg", ".JPG", ".png")  # Told at once to be images.
_NO_LABELS = ("unlabeled", "unlabelled")  # Roboflow's column, hardly a class.
_MOST_KNOWN = 100_000  # Rows of class columns that are kept in memory.


def read(path, *, images=None, classes=None, hints=None, problems):
  """Reads a CSV file.

  Args:
    path: path of the file, UTF-8.
    images: base folder of the paths; None for the file's folder.
    classes: names, in order; None for those of the file.
    hints: a `csv_columns.Hints`, or None; the rest is inferred.
    problems: `sources.Problems`; a bad row removes its whole image.

  Returns:
    A `sources.Source`; image ids are the paths as written.

  Raises:
    errors.InputError: the file, its header or a row is invalid or ambiguous.
  """
  hints = hints or csv_columns.Hints()
  table = csv_tables.read(path, separator=hints.csv_separator,
                          path_column=hints.path_column)
  if images is not None:
    sources.check_directory(images, "the folder of the images (--images)")
  images = images or os.path.dirname(places.abspath(path))
  columns = csv_columns.decide(table, hints, classes)
  if not columns.labels:
    form = _ByColumn(table, columns, classes)
  else:
    form = _ByName(table, columns, classes, hints)
  found = csv_boxes.Boxes(table, columns.box, columns.frame)
  listed = _join(table, columns, images, form, found, problems)
  items, left_out = _items(table, listed, form, found)
  return sources.Source(
      classes=form.classes, items=items, description={
          "format": "csv", "name": os.path.basename(path)},
      image_folder=images, notices=tuple(filter(None, [
          _what_was_found(table, columns, form, found),
          listed.notice(), found.notice(),
          sources.left_out_notice(left_out)])))


class _ByName:
  """Label names; those that the class list leaves out are numbered too.

  Attributes:
    classes: class names of the source.
    names: these, followed by the names that are left out.
    how: text for a notice on what was inferred.
  """

  def __init__(self, table, columns, classes, hints):
    self._table, self._columns = table, columns.labels
    where = "column" + "s" * (len(columns.labels) > 1) + " " + ", ".join(
        texts.quoted(table.header[i]) for i in columns.labels)
    try:
      self.how, part = csv_names.find(
          columns.fields, classes, hints.label_separator)
    except csv_names.UncertainError as error:
      raise errors.InputError(
          f"{self._place_of(error.field)}: expected {error.expected}. "
          f"Received: {error.received}.") from error
    of_field = {}
    for field in columns.fields:
      with contextlib.suppress(csv_names.NotAListError):
        of_field[field] = part(field)
    there = sorted({name for names in of_field.values() for name in names})
    if classes is None and not there:
      raise errors.InputError(
          f"{table.path}: expected labels by name. Received: none in {where}.")
    self.classes = sources.choose_classes(classes, there, table.path)
    self.names, numbers = _numbers(self.classes, there)
    self._of_field = {
        field: tuple(sorted({numbers[name] for name in names}))
        for field, names in of_field.items()}
    self.how = f"labels by name in {where}, {self.how}"

  def _place_of(self, field):
    """File and line of the first row with a field."""
    for line, row in self._table.rows():
      if any(field == row[i].strip() for i in self._columns if i < len(row)):
        return f"{self._table.path}:{line}"
    return self._table.path

  def read(self, line, row):
    """Returns numbers of names present, and of names unknown."""
    found = ()
    for i in self._columns:
      labels = self._of_field.get(row[i])
      if labels is None:
        raise errors.InputError(
            f"{self._table.path}:{line}: expected a list of labels, as in "
            f"other rows. Received: {texts.quoted(row[i])}.")
      found = tuple(sorted({*found, *labels})) if found and labels else (
          found or labels)
    return found, ()


class _ByColumn:
  """A column for each class; attributes as for `_ByName`."""

  def __init__(self, table, columns, classes):
    there = tuple(table.header[i] for i in columns.classes)
    sources.check_classes(there, table.path)
    self.classes = sources.choose_classes(classes, there, table.path)
    self.names, numbers = _numbers(self.classes, there)
    self.how = f"{len(there)} columns of classes" + "".join(
        f" with {texts.quoted(name)} ({texts.flag('ignore_columns', name)} if "
        "that marks images without labels)" for name in self.classes
        if name.lower() in _NO_LABELS and name in there)
    self._table, self._columns = table, columns
    self._numbers = [numbers[name] for name in there]
    self._known = {}

  def read(self, line, row):
    """Returns numbers of names present, and of names unknown."""
    values = tuple([row[i] for i in self._columns.classes])
    labels = self._known.get(values)
    if labels is None:
      labels = self._read(line, values)
      if len(self._known) < _MOST_KNOWN:
        self._known[values] = labels
    return labels

  def _read(self, line, values):
    meanings = [self._columns.meanings[value] for value in values]
    if None in meanings:
      bad = meanings.index(None)
      name = self._table.header[self._columns.classes[bad]]
      raise errors.InputError(
          f"{self._table.path}:{line}: expected 1, 0, -1, ? or a blank under "
          f"{texts.quoted(name)}; if that is no class, give "
          f"{texts.flag('ignore_columns', name)}. Received: "
          f"{texts.quoted(values[bad])}.")
    return tuple(
        tuple(sorted(number for number, one in zip(self._numbers, meanings)
                     if one == meaning))
        for meaning in (label_values.PRESENT, label_values.UNKNOWN))


class _Listed:
  """Images in order, with their rows joined.

  Attributes:
    images: [path, line of the first row, present, unknown] by image id.
    num_joined: rows that were joined with an earlier one.
    num_odd: labels that are present in one row and absent in another.
  """

  def __init__(self, by_column):
    self._by_column = by_column
    self.images = {}
    self.num_joined = self.num_odd = 0

  def add(self, image_id, path, line, present, unknown):
    """Adds the labels of a row."""
    image = self.images.get(image_id)
    if image is None:
      self.images[image_id] = [path, line, present, unknown]
      return
    before, unknown_before = set(image[2]), set(image[3])
    either = before | set(present)
    self.num_joined += 1
    if self._by_column:
      self.num_odd += len(
          (before ^ set(present)) - unknown_before - set(unknown))
    image[2] = tuple(sorted(either))
    image[3] = tuple(sorted(unknown_before & set(unknown) - either))

  def notice(self):
    """A line on the joined rows; None if there are none."""
    if not self.num_joined:
      return None
    odd = (f"; {self.num_odd} labels are 1 in one row and 0 in another, and "
           "count as present" if self.num_odd else "")
    return f"Joined {self.num_joined} rows to others of the same image{odd}."


def _join(table, columns, images, form, found, problems):
  """Reads all rows; returns a `_Listed` without the images of bad rows."""
  by_column = isinstance(form, _ByColumn)
  listed, bad = _Listed(by_column), set()
  endings, names = paths.Endings(), paths.Names(images)
  for line, row in table.rows():
    name = None
    try:
      where = f"{table.path}:{line}"
      path, name = _image(table, row, images, where)
      if name[-4:] not in _USUAL and not image_names.is_image(name):
        path = endings.complete(path)
      name = names.first(name, path, listed.images, bad)
      if len(row) != len(table.header):
        raise table.wrong_length(line, row)
      labels = form.read(line, row)
      if columns.box is not None:
        found.add(name, line, row, labels[0])
      listed.add(name, path, line, *labels)
    except errors.InputError as error:
      if name and name in bad:
        continue  # One message per image.
      problems.add(error)
      bad.add(name)
  for name in bad:
    listed.images.pop(name, None)
  return listed


def _image(table, row, images, where):
  """File and id of the image of a row, by `paths.locate`."""
  name = (row[table.path_column].strip()
          if len(row) > table.path_column else "")
  if not name:
    raise errors.InputError(
        f"{where}: expected {len(table.header)} fields, one the path of an "
        "image. Received: no path in "
        f"{texts.quoted(table.separator.join(row))}.")
  texts.check_name(name, where, "the path of an image")
  return paths.locate(images, name, where)


def _items(table, listed, form, found):
  """Returns the items, and numbers of images by left-out label."""
  wanted, left_out = {(): ()}, collections.Counter()
  num_classes = len(form.classes)

  def choose(numbers):
    """Ids in the class list; shares equal tuples to save memory."""
    if numbers not in wanted:
      wanted[numbers] = tuple([n for n in numbers if n < num_classes])
    return wanted[numbers]

  items = []
  for image_id, (path, line, present, unknown) in listed.images.items():
    label_ids = choose(present)
    if len(label_ids) != len(present):
      left_out.update(form.names[n] for n in present[len(label_ids):])
    items.append(sources.Item(
        image_path=path, image_id=image_id, label_ids=label_ids,
        unknown_label_ids=choose(unknown),
        objects=found.objects(image_id, label_ids),
        where=f"{table.path}:{line}"))
  return items, left_out


def _numbers(classes, there):
  """Names, those of the class list first, and their numbers."""
  names = list(classes) + sorted(set(there) - set(classes))
  return names, {name: number for number, name in enumerate(names)}


def _what_was_found(table, columns, form, found):
  ignored = (f"; ignored columns: {csv_tables.listed(columns.ignored)}"
             if columns.ignored else "")
  return (f"{os.path.basename(table.path)}: separator "
          f"{table.separator!r}, image paths in column "
          f"{texts.quoted(table.header[table.path_column])}, {form.how}"
          f"{found.how}{ignored}.")
