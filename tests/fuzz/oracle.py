"""What must hold for whatever a parser was given."""

import re

import numpy as np

# Longer ones hide what they say; beside the paths that stand in them.
_LONGEST = 2000

# A terminal would obey them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Broken(AssertionError):
  """A parser has done what it never should."""


def demand(condition, message):
  """Raises `Broken` unless the condition holds."""
  if not condition:
    raise Broken(message)


def refusal(error, folder, places):
  """Checks the words of a refusal.

  Args:
    error: the `errors.InputError`.
    folder: of the case.
    places: regular expression of what must stand in the message, with the
      folder left out: the file at fault, its line where it has lines.
  """
  raw = str(error)
  said = raw.replace(folder + "/", "").replace(folder, "")
  demand("expected" in said and "Received" in said,
         f"a refusal without expected and Received: {raw[:300]!r}")
  demand(re.search(places, said),
         f"a refusal that does not say where ({places}): {raw[:300]!r}")
  demand(len(raw.splitlines()) == 1 and not _CONTROL.search(raw),
         f"a refusal that is not one line of text: {raw[:300]!r}")
  demand(len(said) <= _LONGEST,
         f"a refusal of {len(said)} characters: {raw[:300]!r}")


def line_exists(message, name, num_lines):
  """Checks that the line a message names is in the file."""
  for number in re.findall(re.escape(name) + r":(\d+)", message):
    demand(1 <= int(number) <= max(num_lines, 1),
           f"a refusal that names line {number} of {num_lines}: {message!r}")


def num_repeated(messages):
  """Lines without a message of their own whose image has another line.

  Where it is not known which line is right, neither is kept; the message of
  the other one names both.
  """
  named = {number for message in messages
           for number in re.findall(r", also in line (\d+)\.$", message)}
  own = {match[1] for message in messages
         if (match := re.search(r":(\d+): ", message))}
  return len(named - own)


def source(found, num_classes=None):
  """Checks what every `sources.Source` promises."""
  classes = found.classes
  demand(isinstance(classes, tuple) and classes, f"no classes: {classes!r}")
  demand(len(set(classes)) == len(classes), "a class twice")
  for name in classes:
    demand(isinstance(name, str) and name.strip() == name and name,
           f"class {name!r}")
    name.encode("utf-8")  # It goes into a card.
  if num_classes is not None:
    demand(len(classes) == num_classes, "another number of classes")
  seen = set()
  for item in found.items:
    _item(item, len(classes))
    demand(item.image_id not in seen, f"image {item.image_id!r} twice")
    seen.add(item.image_id)


def _item(item, num_classes):
  demand(isinstance(item.image_id, str) and item.image_id,
         f"image id {item.image_id!r}")
  for text in (item.image_id, item.image_path):
    text.encode("utf-8")  # It goes into a record, and to the system.
    demand("\0" not in text, f"a NUL in {text!r}")
  ids = list(item.label_ids) + list(item.unknown_label_ids)
  demand(len(set(ids)) == len(ids), f"labels {ids} more than once")
  demand(all(type(i) is int and 0 <= i < num_classes for i in ids),
         f"labels {ids} of {num_classes} classes")
  demand(list(item.label_ids) == sorted(item.label_ids), "labels not in order")
  if item.objects is not None:
    objects = item.objects
    count = len(objects.boxes)
    boxes(objects.boxes)
    for values, kind in ((objects.class_ids, np.int64),
                         (objects.difficult, bool), (objects.crowd, bool)):
      demand(values.shape == (count,) and values.dtype == kind,
             f"objects {values!r}")
    demand(all(0 <= i < num_classes for i in objects.class_ids),
           f"class ids {objects.class_ids}")
    if objects.frame is not None:
      demand(all(type(side) is int and side > 0 for side in objects.frame),
             f"frame {objects.frame!r}")


def boxes(values, scores=None, inside=False):
  """Checks [N, 4] boxes, and [N] scores."""
  demand(values.ndim == 2 and values.shape[1] == 4
         and values.dtype == np.float32,
         f"boxes of {values.shape} {values.dtype}")
  demand(np.isfinite(values).all(), f"boxes not finite: {values.tolist()}")
  demand((values[:, 2:] >= values[:, :2]).all(),
         f"boxes not in order: {values.tolist()}")
  if inside:
    demand(((values >= 0) & (values <= 1)).all(),
           f"boxes outside: {values.tolist()}")
  if scores is not None:
    demand(scores.shape == (len(values),) and scores.dtype == np.float32
           and np.isfinite(scores).all(), f"scores {scores!r}")
