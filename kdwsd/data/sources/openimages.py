"""Open Images: a CSV file of image-level labels, and optionally one of boxes.

    ImageID,Source,LabelName,Confidence          human-imagelabels.csv
    000026e7ee790996,verification,/m/0cnyhnx,0
    000026e7ee790996,verification,/m/0bt9lr,1

People have verified only some labels of an image: confidence 1 is present, 0 is
absent, and a class without a line is unknown for the image. A confidence
between these, of a machine-generated label, is present from `min_confidence` up
and unknown below. If lines of an image contradict each other about a label, the
label is unknown. A label with a box is present.

Names come from `class-descriptions.csv` (`/m/0bt9lr,Dog`). The files list whole
splits, and often only some of the images have been downloaded: with
`--on_error=skip`, lines of images that are not in the folder are counted and
ignored.

Source: storage.googleapis.com/openimages/web, "Data Formats"; A. Kuznetsova et
al., "The Open Images Dataset V4", IJCV 2020, sec. 3.2, on verification.
"""

import collections
import csv
import os

import numpy as np

from kdwsd import errors
from kdwsd import places
from kdwsd.data import image_names
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import label_ids

_LABELS = ("ImageID", "LabelName", "Confidence")
_BOXES = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_PRESENT, _ABSENT, _UNKNOWN = 1, 0, -1

# With so many classes, the list of unknown ones is as large as an image.
_MANY_CLASSES = 5000


def read(path, *, images, class_descriptions=None, boxes=None,
         min_confidence=None, classes=None, problems):
  """Reads one split.

  Args:
    path: path of the CSV file of image-level labels.
    images: folder of the images, which are named by their id.
    class_descriptions: CSV file of label and name; labels are the names of the
      classes if None.
    boxes: CSV file of boxes, for evaluation; None for none.
    min_confidence: minimum confidence of a label; None if all are 0 or 1.
    classes: names or labels wanted, in order; None for those with a line.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are those of the file.

  Raises:
    errors.InputError: a file, its header or a line is invalid, or images are
      missing and none is to be skipped.
  """
  sources.check_directory(images, "the folder of the images (--images)")
  names = _descriptions(class_descriptions)
  files, others = _files(images)
  table = _Labels(path, files, min_confidence, problems)
  rows = _boxes(boxes, files, table, problems) if boxes else {}
  table.check_images(images)
  there = sorted({names.get(label, label) for states in table.states.values()
                  for label in states})
  if not there:
    raise errors.InputError(
        f"{path}: expected labels of the images in {images}. Received: none of "
        f"{len(files)} images; {table.missing} lines are of other images.")
  chosen, numbers = _number(classes, there, names, path)
  items = []
  for image_id, states in table.states.items():
    present = {numbers[label] for label, state in states.items()
               if state == _PRESENT and label in numbers}
    known = {numbers[label] for label, state in states.items()
             if state == _ABSENT and label in numbers} | present
    items.append(sources.Item(
        image_path=files[image_id], image_id=image_id,
        label_ids=tuple(sorted(present)),
        unknown_label_ids=label_ids.AllBut(len(chosen), known),
        objects=_objects(rows.get(image_id, ()), numbers) if boxes else None,
        where=table.places[image_id]))
  left_out = collections.Counter(
      names.get(label, label) for states in table.states.values()
      for label, state in states.items()
      if state == _PRESENT and label not in numbers)
  notices = table.notices(images, len(files), others)
  if not class_descriptions:
    notices.append("Classes are named by their labels, such as "
                   f"{texts.shown(there[0])}; --class_descriptions=class-"
                   "descriptions.csv gives names.")
  if len(chosen) > _MANY_CLASSES:
    notices.append(f"Each record lists up to {len(chosen)} unknown classes; "
                   "--classes takes those that you need.")
  if left_out:
    notices.append(sources.left_out_notice(left_out))
  return sources.Source(
      classes=chosen, items=items, notices=tuple(notices), description={
          "format": "openimages", "name": os.path.basename(path),
          "boxes": boxes and os.path.basename(boxes),
          "min_confidence": min_confidence})


class _Labels:
  """The labels of the images that exist.

  Attributes:
    states: {image id: {label: state}}.
    places: {image id: file and line that name it first}.
    missing: number of lines of images that do not exist.
    missing_boxes: the same in the file of boxes.
    contradictions: number of labels that became unknown.
  """

  def __init__(self, path, files, min_confidence, problems):
    self.states, self.places = {}, {}
    self.missing = self.missing_boxes = self.contradictions = 0
    self._path, self._problems, self._first = path, problems, None
    bad, confidences = set(), {}
    for line, (image_id, label, confidence) in _rows(path, _LABELS, problems):
      if image_id not in files:
        self.missing += 1
        self._first = self._first or (line, image_id)
        continue
      if confidence not in confidences:
        confidences[confidence] = _state(confidence, min_confidence)
      state = confidences[confidence]
      if state is None or not label:
        bad.add(image_id)
        problems.add(_bad_label(
            f"{path}:{line}", label, confidence, min_confidence))
        continue
      states = self.states.setdefault(image_id, {})
      if not states:
        self.places[image_id] = f"{path}:{line}"
      before = states.setdefault(label, state)
      if before != state and before != _UNKNOWN:
        states[label] = _UNKNOWN
        self.contradictions += 1
    for image_id in bad:  # An image must not keep half its labels.
      self.states.pop(image_id, None)

  def check_images(self, folder):
    """Refuses missing images unless they are to be skipped."""
    if self.missing and self._problems.on_error == "stop":
      line, image_id = self._first
      self._problems.add(errors.InputError(
          f"{self._path}:{line}: expected the image {texts.shown(image_id)} in "
          f"{folder}. Received: none, as for {self.missing} lines in all; "
          "--on_error=skip converts the images that are there."))

  def notices(self, folder, num_files, others):
    """Lines on what was ignored."""
    lines = []
    for count, what in ((self.missing, "labels"),
                        (self.missing_boxes, "boxes")):
      if count:
        lines.append(f"{count} lines of {what} are ignored: their images "
                     f"are not in {folder}.")
    silent = num_files - len(self.states)
    if silent:
      lines.append(f"{silent} images in {folder} are left out: no line of "
                   f"{self._path} is of them, or one is not right.")
    if self.contradictions:
      lines.append(f"{self.contradictions} labels are unknown because their "
                   "lines contradict each other.")
    if others:
      lines.append(f"{others} files in {folder} that are no images are "
                   "ignored.")
    return lines


def _rows(path, wanted, problems, optional=()):
  """Yields line number and the wanted fields of each row, streaming.

  A missing optional column gives empty fields.
  """
  try:
    with places.open_text(path, encoding="utf-8-sig", newline="") as file:
      reader = csv.reader(file)
      header = [field.strip() for field in next(reader, [])]
      missing = [name for name in wanted if name not in header]
      if missing:
        raise errors.InputError(
            f"{path}: expected a header with {', '.join(wanted)}. Received: "
            f"{texts.shown(','.join(header)) or 'an empty file'}.")
      columns = [header.index(name) if name in header else len(header)
                 for name in wanted + optional]
      for row in reader:
        if len(row) == len(header):
          row.append("")
          yield reader.line_num, [row[column].strip() for column in columns]
        elif row:
          problems.add(errors.InputError(
              f"{path}:{reader.line_num}: expected {len(header)} fields. "
              f"Received: {texts.quoted(','.join(row))}."))
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a CSV file. Received: {error.strerror}.") from error
  except UnicodeDecodeError as error:
    raise errors.InputError(
        f"{path}: expected a CSV file in UTF-8. Received: byte "
        f"{error.object[error.start]:#04x}.") from error
  except csv.Error as error:
    raise errors.InputError(
        f"{path}: expected comma-separated fields. Received: {error}."
    ) from error


def _state(confidence, min_confidence):
  """State of a label with a confidence, or None if that is invalid."""
  try:
    value = float(confidence)
  except ValueError:
    return None
  if value in (0, 1):
    return _PRESENT if value else _ABSENT
  if min_confidence is None or not 0 < value < 1:
    return None
  return _PRESENT if value >= min_confidence else _UNKNOWN


def _bad_label(where, label, confidence, min_confidence):
  wanted = ("0 or 1; --min_confidence=0.5, for example, takes labels of "
            "machines from there up as present" if min_confidence is None
            else "0 to 1")
  return errors.InputError(
      f"{where}: expected a label and a confidence of {wanted}. Received: "
      f"{texts.quoted(label)}, {texts.quoted(confidence)}.")


def _boxes(path, files, table, problems):
  """Boxes of each image that exists; labels with a box become present.

  Returns:
    {image id: list of (label, box, crowd)}.
  """
  rows = {}
  for line, (image_id, label, *values, group) in _rows(
      path, _BOXES, problems, optional=("IsGroupOf",)):
    if image_id not in files:
      table.missing_boxes += 1
      continue
    try:
      xmin, xmax, ymin, ymax = map(float, values)
    except ValueError:
      xmin = xmax = ymin = ymax = np.nan  # It is dropped and counted later.
    rows.setdefault(image_id, []).append(
        (label, (ymin, xmin, ymax, xmax), group == "1", f"{path}:{line}"))
    if image_id in table.states:
      table.states[image_id][label] = _PRESENT
  return rows


def _objects(rows, numbers):
  """`Objects` of an image; boxes without area or numbers are dropped."""
  rows = [row for row in rows if row[0] in numbers]
  flat = [where for _, box, _, where in rows
          if not (box[2] > box[0] and box[3] > box[1]
                  and max(map(abs, box)) <= sources.MOST_PIXELS)]
  dropped = set(flat)
  return sources.objects_of(
      [(box, numbers[label], False, crowd) for label, box, crowd, where in rows
       if where not in dropped], fractions=True, dropped=len(flat),
      fault=f"{flat[0]}: a box without area" if flat else "")


def _files(folder):
  """{image id: path} of a folder, and the number of other files."""
  found, others = {}, 0
  for where, folders, names in places.walk(folder):
    folders.sort()
    for name in sorted(names):
      stem = os.path.splitext(name)[0]
      if not image_names.is_image(name):
        others += 1
      elif stem in found:
        raise errors.InputError(
            f"{folder}: expected one file of each image. Received: "
            f"{texts.shown(found[stem])} and "
            f"{texts.shown(os.path.join(where, name))}.")
      else:
        found[stem] = os.path.join(where, name)
  return found, others


def _descriptions(path):
  """{label: name}; a name of several labels gets the label appended."""
  if not path:
    return {}
  found = {}
  text = sources.read_text(path, "a CSV file of label and name")
  for number, row in enumerate(csv.reader(texts.lines(text)), 1):
    row = [field.strip() for field in row]
    if row == ["LabelName", "DisplayName"] or not any(row):
      continue
    if len(row) != 2 or not all(row) or found.get(row[0], row[1]) != row[1]:
      raise errors.InputError(
          f"{path}:{number}: expected a label and its name, each label once. "
          f"Received: {texts.quoted(','.join(row))}.")
    found[row[0]] = row[1]
  counts = collections.Counter(found.values())
  return {label: name if counts[name] == 1 else f"{name} ({label})"
          for label, name in found.items()}


def _number(classes, there, names, path):
  """Class names, and {label: label id}."""
  labels = {name: label for label, name in names.items()}
  if classes is not None:
    shared = {}
    for label, name in names.items():
      if name.endswith(f" ({label})"):
        shared.setdefault(name[:-len(label) - 3], []).append(label)
    unclear = [name for name in classes
               if name in shared and name not in labels]
    if unclear:
      raise errors.InputError(
          f"--classes: expected names that one label has. Received: "
          f"{texts.shown(unclear[0])}, which is the name of "
          f"{texts.shown(', '.join(shared[unclear[0]]))}; give the labels.")
  chosen = sources.choose_classes(
      classes, there if classes is None else [
          *there, *(label for label in names if names[label] in set(there))],
      path)
  return chosen, {labels.get(name, name): i for i, name in enumerate(chosen)}
