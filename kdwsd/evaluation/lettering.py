"""How names of classes and images are written in pictures and tables.

In pictures they are drawn literally: `$` starts no formula, and characters that
the standard font lacks come from another installed font. Characters without any
font are logged once.
"""

import contextlib
import functools
import os
import unicodedata
import warnings

from absl import logging

# Bundled with matplotlib; has Latin, Greek, Cyrillic, Arabic and Hebrew.
_STANDARD_FAMILY = "DejaVu Sans"
_STANDARD_FILE = "DejaVuSans.ttf"

# Has a placeholder box for every character.
_NO_FONT = "LastResort"

_MOST_NAMED = 10  # characters


def options(texts):
  """Properties with which matplotlib draws texts literally.

  Args:
    texts: all texts that will be drawn with them.

  Returns:
    Dict of properties of `matplotlib.text.Text`.
  """
  return {"parse_math": False, "usetex": False, "fontfamily": [
      family for _, family in _fonts("".join(texts))]}


@contextlib.contextmanager
def unwarned():
  """Silences matplotlib on characters without a font; `options` logs them."""
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Glyph .* missing")
    yield


def columns(text):
  """Width of a text in terminal columns: 2 for a CJK character or emoji."""
  if text.isascii():
    return len(text)
  return sum(0 if unicodedata.category(c) in ("Mn", "Cf") else
             2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text, width, right=False):
  """Pads a text with spaces to a width in columns; on the left if `right`."""
  spaces = " " * (width - columns(text))
  return spaces + text if right else text + spaces


def shortened(text, most):
  """Truncates a text to a number of columns, ending in three dots."""
  if columns(text) <= most:
    return text
  while text and columns(text) > most - 3:
    text = text[:-1]
  return text + "..."


@functools.cache
def _standard():
  """Path of the standard font."""
  import matplotlib  # pylint: disable=import-outside-toplevel
  return os.path.join(
      matplotlib.get_data_path(), "fonts", "ttf", _STANDARD_FILE)


def _fonts(text):
  """[(path, family)] of fonts that together have a text's characters."""
  missing = frozenset(
      ord(c) for c in text if not _is_invisible(c)) - _characters(_standard())
  found = [(_standard(), _STANDARD_FAMILY)]
  return found + list(_others(missing)) if missing else found


def _is_invisible(character):
  return unicodedata.category(character) in ("Cc", "Cf", "Mn", "Zs", "Zl", "Zp")


@functools.lru_cache(maxsize=1024)
def _others(missing):
  """Installed fonts for characters, greedily: most remaining ones first."""
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
  """Code points of a font; none if it is not readable or not scalable."""
  from matplotlib import ft2font  # pylint: disable=import-outside-toplevel
  try:
    font = ft2font.FT2Font(path)
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
  except (OSError, RuntimeError):
    return frozenset()


def _warn(left):
  shown = " ".join(map(chr, sorted(left)[:_MOST_NAMED]))
  logging.warning(
      "No installed font has %d characters of the names in pictures; they are "
      "drawn as boxes: %s%s. Install a font for all scripts, such as Noto.",
      len(left), shown, " ..." if len(left) > _MOST_NAMED else "")
