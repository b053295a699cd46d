"""The Caffe datalist of the reference code: one image a line.

    image_path y_1 ... y_C  xmin ymin xmax ymax score  xmin ymin xmax ...

Fields are separated by blanks. Labels are 0 or 1, boxes are inclusive pixels
counted from 0, and the number of proposals is arbitrary. The class list gives
the number of labels. `--datalist_frame` gives the frame of the boxes:
`original` for the upright image, or `warped672`, as in the reference code, for
the image warped to 672 x 672.

Lines are checked when the list is read. A worker reads the boxes of its images
again, so that the boxes of a whole data set are never in memory.

Source: github.com/Yochengliu/MLIC-KD-WSD, its data layer and README.
"""

import os

import numpy as np

from kdwsd import boxes
from kdwsd import errors
from kdwsd import places
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import paths

FRAMES = {"original": None, "warped672": (672, 672)}

# Exporters that count from 1, or scale an exclusive edge, err by a pixel.
_TOLERANCE_PIXELS = 1.0

# Scores are kept in float32.
_LARGEST = float(np.finfo(np.float32).max)


def read(path, *, images=None, classes=None, frame="original", problems):
  """Reads a datalist.

  Args:
    path: path of the text file.
    images: base folder of image paths; None for the datalist's folder.
    classes: names, in the order of the labels.
    frame: one of `FRAMES`.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`.

  Raises:
    errors.InputError: the file, an argument or a line is invalid.
  """
  if frame not in FRAMES:
    raise errors.InputError(
        f"--datalist_frame: expected one of {', '.join(FRAMES)}. Received: "
        f"{frame!r}.")
  if not classes:
    raise errors.InputError(
        "--classes: expected the class names of the datalist, as a file or "
        "a list; their number says where the labels end. Received: none.")
  images = images or os.path.dirname(places.abspath(path))
  items, seen, repeated = [], {}, set()
  for number, offset, content in _lines(path):
    where = f"{path}:{number}"
    line = sources.Line(path=path, offset=offset, where=where,
                        num_classes=len(classes), frame=FRAMES[frame])
    try:
      text = _decode(content, where)
      name, labels, rows = _parse(text, len(classes), where)
      _to_boxes(rows, line.frame, where)
      image_path, name = paths.locate(images, name, where)
      if name in seen:
        repeated.add(name)
        raise errors.InputError(
            f"{where}: expected every image once. Received: "
            f"{texts.shown(name)}, also in line {seen[name]}.")
      seen[name] = number
      items.append(sources.Item(
          image_path=image_path, image_id=name,
          label_ids=tuple(i for i, y in enumerate(labels) if y == "1"),
          proposals=line, where=where))
    except errors.InputError as error:
      problems.add(error)
  # It is unknown which of its lines has the right labels.
  items = [item for item in items if item.image_id not in repeated]
  return sources.Source(
      classes=tuple(classes), items=items, image_folder=images, description={
          "format": "datalist", "name": os.path.basename(path),
          "frame": frame})


def read_proposals(line, height, width):
  """Reads the proposals of one line.

  Args:
    line: a `sources.Line`.
    height: height of the upright image, pixels; used for the frame `original`.
    width: width of the upright image, pixels.

  Returns:
    boxes [N, 4] float32 and scores [N] float32, in the line's order.

  Raises:
    errors.InputError: the line is invalid, or a box is outside the image.
  """
  try:
    with places.open_bytes(line.path) as file:
      file.seek(line.offset)
      text = _decode(file.readline(), line.where)
  except OSError as error:
    raise errors.InputError(
        f"{line.where}: expected a datalist. Received: {error.strerror}."
    ) from error
  _, _, rows = _parse(text, line.num_classes, line.where)
  return _to_boxes(rows, line.frame or (height, width), line.where)


def _lines(path):
  """Yields (number, byte offset, bytes) of every line that is not blank."""
  offset = 0
  try:
    with places.open_bytes(path) as file:
      for number, content in enumerate(file, 1):
        if content.strip():
          yield number, offset, content
        offset += len(content)
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a datalist. Received: {error.strerror}."
    ) from error


def _decode(content, where):
  try:
    return content.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise errors.InputError(
        f"{where}: expected text in UTF-8. Received: byte "
        f"{content[error.start]:#04x}.") from error


def _parse(text, num_classes, where):
  """Splits a line into path, C label fields and [N, 5] float64 numbers."""
  if "\r" in text.rstrip("\r\n"):
    raise errors.InputError(
        f"{where}: expected lines that end in LF or CR LF. Received: a CR "
        "within a line.")
  fields = text.split()
  name, fields = fields[0] if fields else "", fields[1:]
  if len(fields) < num_classes or (len(fields) - num_classes) % 5:
    raise errors.InputError(
        f"{where}: expected a path, {num_classes} labels and 5 numbers per "
        f"proposal. Received: {len(fields)} numbers after "
        f"{texts.quoted(name)}.")
  labels = fields[:num_classes]
  for i, label in enumerate(labels):
    if label not in ("0", "1"):
      raise errors.InputError(
          f"{where}: expected labels 0 or 1. Received: {texts.quoted(label)} "
          f"as label {i + 1} of {texts.quoted(name)}.")
  try:
    numbers = np.array(fields[num_classes:], np.float64).reshape(-1, 5)
  except ValueError:
    numbers = None
  if numbers is None or not (np.abs(numbers) < _LARGEST).all():
    bad = next(i for i, field in enumerate(fields[num_classes:])
               if not _is_number(field))
    raise errors.InputError(
        f"{where}: expected numbers. Received: "
        f"{texts.quoted(fields[num_classes + bad])} in proposal "
        f"{bad // 5 + 1} of {texts.quoted(name)}.")
  return name, labels, numbers


def _is_number(text):
  try:
    return abs(float(text)) < _LARGEST
  except ValueError:
    return False


def _to_boxes(rows, frame, where):
  """Checks [N, 5] numbers and converts them to boxes and scores.

  Without a frame, only checks that need none are made, and None is returned.
  """
  xmin, ymin, xmax, ymax = rows[:, :4].T
  bad = (xmax < xmin) | (ymax < ymin)
  lowest = -_TOLERANCE_PIXELS
  bad |= (xmin < lowest) | (ymin < lowest)
  if frame is not None:
    height, width = frame
    bad |= (xmax > width - 1 + _TOLERANCE_PIXELS)
    bad |= (ymax > height - 1 + _TOLERANCE_PIXELS)
  if bad.any():
    first = int(np.argmax(bad))
    size = f" of {frame[1]} x {frame[0]} pixels" if frame else ""
    raise errors.InputError(
        f"{where}: expected proposals as xmin ymin xmax ymax inside the image"
        f"{size}. Received: {rows[first, :4].tolist()} as proposal "
        f"{first + 1}.")
  if frame is None:
    return None
  found = boxes.from_inclusive_pixels(rows[:, :4], *frame, first=0)
  return boxes.clip(found), rows[:, 4].astype(np.float32)
