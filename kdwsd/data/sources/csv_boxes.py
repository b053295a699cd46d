"""Boxes in a table of labels: one row per object, as in TensorFlow's tools.

    filename,width,height,class,xmin,ymin,xmax,ymax

Boxes are pixel edges in an image of size `width` x `height`. An invalid box is
dropped and counted, but its label is kept. The objects of an image are unknown
if a row with a label has no box.
"""

import math

from kdwsd.data import sources
from kdwsd.data import texts

_BOX = ("xmin", "ymin", "xmax", "ymax")


def columns(there):
  """Finds the columns of boxes.

  Args:
    there: indices of columns by their plain names.

  Returns:
    Indices of xmin, ymin, xmax, ymax, and of height and width; None for either
    group that is incomplete.
  """
  box = tuple(there.get(name) for name in _BOX)
  frame = there.get("height"), there.get("width")
  return (None if None in box else box,
          None if None in box or None in frame else frame)


class Boxes:
  """Collects the boxes of images, where a table has any.

  Attributes:
    how: text for a notice on the table's columns.
  """

  def __init__(self, table, columns, frame):
    """Makes an empty collection.

    Args:
      table: a `csv_tables.Table`.
      columns: indices of the columns xmin, ymin, xmax, ymax; None for no boxes.
      frame: indices of the columns height and width, or None.
    """
    self._table, self._columns, self._frame = table, columns, frame
    self._rows, self._frames, self._faults = {}, {}, {}
    self._unknown = set()
    self._largest = 0.0
    self.how = "" if columns is None else ", boxes in xmin, ymin, xmax, ymax"

  def add(self, image_id, line, row, label_ids):
    """Reads the box of a row.

    Args:
      image_id: id of the image.
      line: number of the row's line.
      row: fields of the row.
      label_ids: ids of the labels of the box.
    """
    if self._columns is None:
      return
    rows = self._rows.setdefault(image_id, [])
    fields = [row[i].strip() for i in self._columns]
    if self._frame is not None and image_id not in self._frames:
      self._frames[image_id] = _frame([row[i].strip() for i in self._frame])
    if not label_ids:
      return
    if not any(fields):
      self._unknown.add(image_id)
      return
    xmin, ymin, xmax, ymax = map(_number, fields)
    if xmin < xmax and ymin < ymax:  # False for NaN.
      self._largest = max(self._largest, xmax, ymax)
      rows += [((ymin, xmin, ymax, xmax), label, False, False)
               for label in label_ids]
    else:
      self._faults.setdefault(image_id, []).append(
          f"{self._table.path}:{line}: expected xmin < xmax and ymin < ymax in "
          f"pixels. Received: {texts.quoted(', '.join(fields))}.")

  def objects(self, image_id, label_ids):
    """Returns the `sources.Objects` of an image, or None if they are unknown.

    Args:
      image_id: id of the image.
      label_ids: labels to include.
    """
    if (self._columns is None or image_id in self._unknown
        or self._are_fractions()):
      return None
    faults = self._faults.get(image_id, ())
    return sources.objects_of(
        [row for row in self._rows[image_id] if row[1] in label_ids],
        self._frames.get(image_id), dropped=len(faults),
        fault=faults[0] if faults else "")

  def notice(self):
    """A line on what was left out; None if nothing was."""
    if self._columns is not None and self._are_fractions():
      return "Left out all boxes: expected pixels, received fractions."
    return None

  def _are_fractions(self):
    return 0 < self._largest <= 1


def _frame(sides):
  """(height, width) of two texts; None if they are not sizes."""
  numbers = tuple(_number(side) for side in sides)
  if all(number >= 1 and number == int(number) for number in numbers):
    return tuple(map(int, numbers))
  return None


def _number(field):
  """A number of pixels; NaN if a text is not a number."""
  try:
    number = float(field)
  except ValueError:
    return math.nan
  return number if abs(number) <= sources.MOST_PIXELS else math.nan
