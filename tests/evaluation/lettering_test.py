"""Tests of kdwsd.evaluation.lettering, with a font made here."""

from unittest import mock

from fontTools import fontBuilder
from fontTools.pens import ttGlyphPen
from matplotlib import font_manager
import numpy as np
import pytest

from kdwsd.evaluation import contact_sheets
from kdwsd.evaluation import lettering

# Of no font that comes with matplotlib, or that is likely to be installed.
_SUN, _MOON = "\U000e8001", "\U000e8002"
_BOTH = _SUN + _MOON


@pytest.fixture(autouse=True, name="clean")
def fixture_clean():
  """What was found out about fonts holds for one test."""
  with mock.patch.object(
      font_manager.fontManager, "ttflist",
      list(font_manager.fontManager.ttflist)):
    _forget()
    yield
  _forget()


def _forget():
  for cached in (lettering._installed, lettering._others,
                 lettering._characters):
    cached.cache_clear()


def _install(path, family, characters):
  """Makes a font whose characters are all a black square of 1 em."""
  pen = ttGlyphPen.TTGlyphPen(None)
  pen.moveTo((0, 0))
  for corner in ((0, 1000), (1000, 1000), (1000, 0)):
    pen.lineTo(corner)
  pen.closePath()
  names = [".notdef", "square"]
  builder = fontBuilder.FontBuilder(1000, isTTF=True)
  builder.setupGlyphOrder(names)
  builder.setupCharacterMap({ord(c): "square" for c in characters})
  builder.setupGlyf({".notdef": ttGlyphPen.TTGlyphPen(None).glyph(),
                     "square": pen.glyph()})
  builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
  builder.setupHorizontalHeader(ascent=1000, descent=0)
  builder.setupNameTable({"familyName": family, "styleName": "Regular"})
  builder.setupOS2(usWeightClass=400)
  builder.setupPost()
  builder.save(str(path))
  font_manager.fontManager.addfont(str(path))
  lettering._installed.cache_clear()
  return str(path)


def _families(text):
  return lettering.options([text])["fontfamily"]


@pytest.mark.parametrize("text", ["", "Ca$$h", "é Ж λ", "שלום", "مرحبا", "a b"])
def test_what_the_standard_font_has_needs_no_other(text):
  assert _families(text) == ["DejaVu Sans"]


def test_a_font_that_is_installed_helps_out(tmp_path):
  _install(tmp_path / "a.ttf", "Heavens", _BOTH)
  assert _families("x" + _SUN) == ["DejaVu Sans", "Heavens"]


def test_the_font_with_most_of_what_lacks_comes_first(tmp_path):
  _install(tmp_path / "a.ttf", "A moon", _MOON)
  _install(tmp_path / "b.ttf", "Both", _BOTH)
  assert _families(_BOTH) == ["DejaVu Sans", "Both"]


def test_what_no_font_has_is_said_once():
  with mock.patch.object(lettering.logging, "warning") as warned:
    for _ in range(2):
      assert _families(_BOTH + "x") == ["DejaVu Sans"]
  told, = [call[0][0] % call[0][1:] for call in warned.call_args_list]
  assert "2 characters" in told
  assert f"{_SUN} {_MOON}." in told


def test_pictures_are_drawn_in_the_font_that_has_it(tmp_path):
  def ink(line):
    white = np.full([9, 60, 3], 255, np.uint8)
    return contact_sheets.contact_sheet(
        [contact_sheets.Tile(white, (), (line,))], tile_pixels=60)[..., 0] < 128
  _install(tmp_path / "a.ttf", "Heavens", _SUN)
  # A square of 12 pixels.
  drawn = ink(_SUN)
  rows, columns = np.nonzero(drawn)
  assert columns.max() - columns.min() == 11
  assert rows.max() - rows.min() == 11
  assert drawn.sum() == 12 * 12
  # Then the rest, in the standard font.
  both = ink(_SUN + "x")
  end = columns.max() + 1
  assert both[:, :end].sum() == 12 * 12
  assert both[:, end:].any()


def test_formulas_are_not_parsed():
  options = lettering.options(["$x$"])
  assert options["parse_math"] is False
  assert options["usetex"] is False


@pytest.mark.parametrize("text, columns", [
    ("", 0), ("cat", 3), ("日本", 4), ("e\u0301", 1), ("é", 1), ("😀", 2),
    ("한국", 4), ("a\u200bb", 2)])
def test_columns_of_a_terminal(text, columns):
  assert lettering.columns(text) == columns
  assert lettering.padded(text, 9) == text + " " * (9 - columns)
  assert lettering.padded(text, 9, right=True) == " " * (9 - columns) + text


@pytest.mark.parametrize("text, most, expected", [
    ("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc..."), ("", 3, ""),
    ("日本語日本", 9, "日本語...")])
def test_long_texts_are_cut(text, most, expected):
  assert lettering.shortened(text, most) == expected
