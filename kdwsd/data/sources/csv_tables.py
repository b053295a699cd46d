"""Tables of text: CSV with any separator.

The separator is inferred as the one by which the header has a column of image
paths. That column is recognised by its header or by image extensions in its
fields. Excel's first line `sep=;` is respected. Rows are parsed again on each
use, so that a million of them need no memory.
"""

import csv
import dataclasses
import itertools
import re

from kdwsd import errors
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts

SEPARATORS = ",;\t|"
_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t",
          "pipe": "|", "bar": "|", "space": " "}
_PATH_NAMES = frozenset(
    "path paths file files filename filenames filepath filepaths fname image "
    "images imagefile imagefilename imageid imagename imagepath img imgfile "
    "imgid imgname imgpath photo picture".split())
_SAMPLE = 200  # Rows that are read to find the column of paths.
_EXCEL = re.compile(r'\s*"?sep=(.)"?\s*$')


@dataclasses.dataclass(frozen=True)
class Table:
  """A table with a header.

  Attributes:
    path: path of the file.
    text: all of it.
    separator: separator of the fields.
    header: names of the columns, without the spaces around them.
    path_column: index of the one with the images' paths.
    first: number of records before the header.
  """
  path: str
  text: str
  separator: str
  header: tuple
  path_column: int
  first: int = 0

  def rows(self):
    """Yields (line number, fields) of the rows; blank ones are left out.

    Blank fields beyond those of the header are ignored.
    """
    length = len(self.header)
    for line, row in itertools.islice(
        _records(self.text, self.separator, self.path), self.first + 1, None):
      if len(row) > length and not "".join(row[length:]).strip():
        row = row[:length]
      yield line, row

  def wrong_length(self, line, row):
    """The `errors.InputError` of a row with too few or too many fields."""
    return errors.InputError(
        f"{self.path}:{line}: expected {len(self.header)} fields separated by "
        f"{texts.quoted(self.separator)}, those that contain it in double "
        f"quotes. Received: {len(row)}, "
        f"{texts.quoted(self.separator.join(row))}.")

  def column(self, name, flag):
    """Index of a column that a flag names.

    Raises:
      errors.InputError: no column or several columns have that name.
    """
    return _column(self.header, name, flag, self.path)


def read(path, *, separator=None, path_column=None):
  """Opens a table.

  Args:
    path: path of the file, UTF-8.
    separator: separator of the fields, or a word for it; None to infer it.
    path_column: header of the column of image paths; None to infer it.

  Returns:
    A `Table`.

  Raises:
    errors.InputError: no such file, no header, or the separator or the column
      of paths is ambiguous.
  """
  text = sources.read_text(path, "a CSV file")
  first = 0
  excel = _EXCEL.match(text[:20].split("\n", 1)[0])
  if excel:
    separator, first = separator or excel[1], 1
  tables, samples, failures = [], [], {}
  for candidate in [separator_of(separator)] if separator else SEPARATORS:
    records = _records(text, candidate, path)
    try:
      sample = [row for _, row in itertools.islice(
          records, first, first + _SAMPLE)]
    except errors.InputError as error:
      failures[candidate] = error
      continue
    if not sample:
      raise errors.InputError(
          f"{path}: expected a header, such as `path,labels`. Received: "
          "an empty file.")
    header = tuple(field.strip() for field in sample[0])
    samples.append([header] + sample[1:])
    column = _path_column(header, sample[1:], path_column, path)
    if column is not None and len(header) > 1:
      tables.append(Table(path, text, candidate, header, column, first))
  header_line = text[:10_000].lstrip().split("\n", 1)[0]
  likely = [mark for mark in failures if mark in header_line or not samples]
  if likely and not tables:
    raise failures[likely[0]]
  if not tables and path_column is not None:
    _column(max((sample[0] for sample in samples), key=len), path_column,
            "--path_column", path)
  return _only(tables, samples, path)


def separator_of(value):
  """Converts the value of `--csv_separator` to a character.

  Raises:
    errors.InputError: neither a character nor a word for one.
  """
  value = _WORDS.get(value, value)
  if len(value) != 1 or value in "\"\r\n\0":
    raise errors.InputError(
        "--csv_separator: expected one character, or one of "
        f"{', '.join(_WORDS)}. Received: {texts.quoted(value)}.")
  return value


def plain(name):
  """Normalised header of a column: `imageid` for `Image_ID`."""
  return re.sub(r"[\s_\-]+", "", name).casefold()


def listed(names, most=12):
  """Names of columns, for messages."""
  shown = [texts.shown(name, 60) or "(no name)" for name in names[:most]]
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(shown) + more


def _only(tables, samples, path):
  """The only valid candidate; raises if there is none, or several."""
  if len(tables) == 1:
    return tables[0]
  if tables:
    raise errors.InputError(
        f"{path}: expected one way to split the header; give the separator by "
        "--csv_separator. Received: "
        + " or ".join(texts.quoted(table.separator) for table in tables)
        + ", with image paths in the column "
        + " or ".join(texts.quoted(table.header[table.path_column])
                      for table in tables) + ".")
  header = max((sample[0] for sample in samples), key=len)
  if any(image_names.is_image(field) for field in header):
    raise errors.InputError(
        f"{path}:1: expected a header; add a first line that names the "
        "columns, such as `path,labels`. Received: an image, "
        f"{listed(header)}.")
  raise errors.InputError(
      f"{path}:1: expected a header with a column of image paths (path, "
      "filename, image, ...) and labels; name that column with --path_column, "
      f"the separator with --csv_separator. Received: {listed(header)}.")


def _path_column(header, rows, wanted, path):
  """Index of the column of image paths, or None."""
  if wanted is not None:
    same = [name for name in header if plain(name) == plain(wanted)]
    return (_column(header, wanted, "--path_column", path) if same else None)
  there = [i for i, name in enumerate(header) if plain(name) in _PATH_NAMES]
  images = [i for i, name in enumerate(header)
            if _all_images(rows, i) and not image_names.is_image(name)]
  found = [i for i in there if i in images] or sorted({*there, *images})
  if len(found) > 1:
    raise errors.InputError(
        f"{path}:1: expected one column of image paths; name it with "
        f"--path_column. Received: {listed([header[i] for i in found])}.")
  return found[0] if found else None


def _all_images(rows, column):
  """Whether all fields of a column are names of images."""
  fields = [row[column].strip() for row in rows if len(row) > column]
  fields = [field for field in fields if field]
  return bool(fields) and all(map(image_names.is_image, fields))


def _column(header, name, flag, path):
  name = name.strip()
  found = ([i for i, one in enumerate(header) if one == name]
           or [i for i, one in enumerate(header) if plain(one) == plain(name)])
  if len(found) != 1:
    raise errors.InputError(
        f"{flag}: expected one column of {path}: {listed(header)}. Received: "
        f"{texts.shown(name)}, the name of {len(found) or 'none'}.")
  return found[0]


def _records(text, separator, path):
  """Yields (line number, fields) of the records that are not blank."""
  reader = csv.reader(_lines(text), delimiter=separator, strict=True,
                      skipinitialspace=True)
  try:
    for row in reader:
      if row and (row[0].strip() or "".join(row).strip()):
        yield reader.line_num, row
  except csv.Error as error:
    raise errors.InputError(
        f"{path}:{reader.line_num}: expected fields separated by "
        f"{texts.quoted(separator)}, those that contain it in double quotes. "
        f"Received: {texts.shown(str(error))}.") from error


def _lines(text):
  """Yields the lines of a text with their line endings.

  `io.StringIO` would hold four bytes for every character.
  """
  start = 0
  while start < len(text):
    end = text.find("\n", start) + 1 or len(text)
    yield text[start:end]
    start = end
