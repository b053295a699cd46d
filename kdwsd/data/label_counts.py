"""Numbers of images of each class in a split, from its card."""

import dataclasses
import functools

from absl import logging
import numpy as np

from kdwsd.data import texts

_FIRST = 5  # names


@dataclasses.dataclass(frozen=True)
class LabelCounts:
  """Numbers of images by class; unknown labels count in neither.

  Attributes:
    where: path of the card.
    classes: C names.
    positive: [C] int64, images in which the class is present.
    negative: [C] int64, images in which it is known to be absent.
    num_objects: annotated objects; None where the source has no boxes.
  """
  where: str
  classes: tuple
  positive: np.ndarray
  negative: np.ndarray
  num_objects: int


def read(record_set):
  """Reads the counts of a card.

  Args:
    record_set: a `record_files.RecordSet`.

  Returns:
    `LabelCounts`, or None for a card without counts.
  """
  card = record_set.card
  by_class = card.get("images_per_class")
  unknown = card.get("unknown_per_class") or {}
  if not _are_counts(by_class) or not _are_counts(unknown) or set(
      by_class) != set(record_set.classes):
    return None
  positive = np.array([by_class[c] for c in record_set.classes], np.int64)
  unknown = np.array([unknown.get(c, 0) for c in record_set.classes], np.int64)
  objects = card.get("num_objects")
  return LabelCounts(
      where=record_set.card_path,
      classes=record_set.classes, positive=positive,
      negative=record_set.num_images - positive - unknown,
      num_objects=objects if isinstance(objects, int) else None)


def names(classes, chosen):
  """The chosen classes for a message: all if they are few, else the first.

  Args:
    classes: C names.
    chosen: [C] bool.

  Returns:
    Text such as `a, b` or `a, b, c, d, e and 12 more`.
  """
  found = [texts.shown(name, 60) for name, is_one in zip(classes, chosen)
           if is_one]
  more = f" and {len(found) - _FIRST} more" if len(found) > _FIRST else ""
  return ", ".join(found[:_FIRST]) + more


def difference(expected, received):
  """The difference between two lists of classes, for a message.

  Args:
    expected: C names.
    received: names, in another order or of other classes.

  Returns:
    Text such as `80 classes, of which number 3 is b, not c`; numbers from 1.
  """
  if len(expected) != len(received):
    every = [True] * len(received)
    return f"{len(received)} classes, {names(received, every)}"
  place = next(i for i, (a, b) in enumerate(zip(expected, received)) if a != b)
  mine, theirs = (texts.shown(of[place], 60) for of in (received, expected))
  return (f"{len(received)} classes, of which number {place + 1} is {mine}, "
          f"not {theirs}")


@functools.cache
def warn(line):
  """Logs a line once in a process, as all stages read the same data."""
  logging.warning("%s", line)


def _are_counts(value):
  return isinstance(value, dict) and all(
      isinstance(n, int) and 0 <= n < 2**63 for n in value.values())
