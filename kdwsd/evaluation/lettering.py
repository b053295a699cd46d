"""How texts of the user's - classes, images - are written in pictures.

As they are: `$` begins no formula, and what the standard font lacks comes from
a font of the system that has it. What no font has is said once in the log.
"""

import functools
import os
import unicodedata

from absl import logging

# Comes with matplotlib and knows Latin, Greek, Cyrillic, Arabic and Hebrew.
_STANDARD_FAMILY = "DejaVu Sans"
_STANDARD_FILE = "DejaVuSans.ttf"

# It has a box for every character.
_NO_FONT = "LastResort"

_MOST_NAMED = 10  # characters


def options(texts):
  """Arguments with which matplotlib writes texts as they are.

  Args:
    texts: all that will be written with them.

  Returns:
    Dict of `matplotlib.text.Text`'s properties.
  """
  return {"parse_math": False, "usetex": False, "fontfamily": [
      family for _, family in _fonts("".join(texts))]}


@functools.cache
def standard():
  """Path of the standard font."""
  import matplotlib  # pylint: disable=import-outside-toplevel
  return os.path.join(
      matplotlib.get_data_path(), "fonts", "ttf", _STANDARD_FILE)


def runs(text):
  """Parts of a text by font, for Pillow, which has one font at a time.

  Args:
    text: without line ends.

  Returns:
    List of (part, path of its font).
  """
  paths = [path for path, _ in _fonts(text)]
  if len(paths) == 1:
    return [(text, paths[0])]
  found = []
  for character in text:
    path = found[-1][1] if found else standard()
    # A combining mark belongs to what it is on, a space to either.
    if not (unicodedata.combining(character) or character.isspace()):
      path = next((p for p in paths if ord(character) in _characters(p)),
                  standard())
    if found and found[-1][1] == path:
      found[-1] = found[-1][0] + character, path
    else:
      found.append((character, path))
  return found


def columns(text):
  """Columns that a text takes in a terminal: 2 for a CJK character or emoji."""
  if text.isascii():
    return len(text)
  return sum(0 if unicodedata.category(c) in ("Mn", "Cf") else
             2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text, width, right=False):
  """A text with spaces to so many columns; they come first if `right`."""
  spaces = " " * (width - columns(text))
  return spaces + text if right else text + spaces


def shortened(text, most):
  """A text cut to so many columns; what is cut shows as three dots."""
  if columns(text) <= most:
    return text
  while text and columns(text) > most - 3:
    text = text[:-1]
  return text + "..."


def _fonts(text):
  """[(path, family)] that together have a text's characters."""
  missing = frozenset(
      ord(c) for c in text if not _is_invisible(c)) - _characters(standard())
  found = [(standard(), _STANDARD_FAMILY)]
  return found + list(_others(missing)) if missing else found


def _is_invisible(character):
  return unicodedata.category(character) in ("Cc", "Cf", "Mn", "Zs", "Zl", "Zp")


@functools.lru_cache(maxsize=1024)
def _others(missing):
  """Fonts of the system for characters, each with the most that are left."""
  found, left = [], missing
  while left:
    path, family = max(_installed(), default=(None, None), key=lambda font: (
        len(left & _characters(font[0])), font[1]))
    has = left & _characters(path) if path else frozenset()
    if not has:
      _warn(left)
      break
    found.append((path, family))
    left -= has
  return tuple(found)


@functools.cache
def _installed():
  """[(path, family)] of upright fonts of normal weight."""
  from matplotlib import font_manager  # pylint: disable=import-outside-toplevel
  return sorted({
      (font.fname, font.name) for font in font_manager.fontManager.ttflist
      if font.style == "normal" and font.weight in (400, "normal", "regular")
      and _NO_FONT not in os.path.basename(font.fname)})


@functools.cache
def _characters(path):
  """Code points that a font has; none of one that cannot be read or scaled."""
  from matplotlib import ft2font  # pylint: disable=import-outside-toplevel
  try:
    font = ft2font.FT2Font(path)
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
  except (OSError, RuntimeError):
    return frozenset()


def _warn(left):
  shown = " ".join(map(chr, sorted(left)[:_MOST_NAMED]))
  logging.warning(
      "No installed font has %d characters of the names in pictures, which are "
      "drawn as boxes: %s%s. A font for all scripts, such as Noto, helps.",
      len(left), shown, " ..." if len(left) > _MOST_NAMED else "")
