"""Numbers of images per class, in a few lines for the terminal."""

import collections
import re

from kdwsd.data import texts

_ALL = 20   # Lists up to this many classes; of more, some at each end.
_ENDS = 8
_LONGEST = 40  # characters of a name


def lines(images_per_class, unknown_per_class=()):
  """Lists classes with their numbers of images, so that odd ones show.

  Args:
    images_per_class: {name: images in which the class is present}.
    unknown_per_class: {name: images in which presence is unknown}.

  Returns:
    List of (heading, text).
  """
  there = sorted(
      (name for name, count in images_per_class.items() if count),
      key=lambda name: (-images_per_class[name], name))
  missing = [name for name, count in images_per_class.items() if not count]
  named = [f"{_shown(name)} ({images_per_class[name]})" for name in there]
  found = []
  if len(named) <= _ALL:
    found.append(("classes", ", ".join(named) or "none has an image"))
  else:
    found += [
        ("classes", f"{', '.join(named[:_ENDS])},"),
        ("", f"... {len(named) - 2 * _ENDS} more ...,"),
        ("", ", ".join(named[-_ENDS:]))]
  if missing:
    found.append((
        "no image", f"{len(missing)} of {len(images_per_class)} classes: "
        + ", ".join(map(_shown, missing[:_ALL]))
        + (", ..." if len(missing) > _ALL else "")))
  found += [("alike", text) for text in _alike(images_per_class)]
  unknown = sum(dict(unknown_per_class).values())
  if unknown:
    found.append(("unknown", f"{unknown} labels"))
  return found


def _alike(names):
  """Yields groups of names that may be spellings of one class."""
  same = collections.defaultdict(list)
  for name in names:
    same[re.sub(r"[\s_-]+", " ", texts.folded(name))].append(name)
  same = [" and ".join(map(_shown, some)) for some in same.values()
          if len(some) > 1]
  if same:
    yield (f"{', '.join(same[:_ENDS])}{', ...' if same[_ENDS:] else ''}: "
           "different classes?")


def _shown(name):
  return texts.shown(name, _LONGEST)
