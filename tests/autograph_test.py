"""AutoGraph converts no function of the package."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PATHS = [path.relative_to(_ROOT).as_posix()
          for path in sorted(_ROOT.glob("kdwsd/**/*.py"))
          if "tf.function" in path.read_text(encoding="utf-8")]


def _uses(text):
  """Lines that use `tf.function`, and of these the ones without AutoGraph."""
  used, off = set(), set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Attribute) and ast.unparse(node) == "tf.function":
      used.add(node.lineno)
    elif (isinstance(node, ast.Call)
          and ast.unparse(node.func) == "tf.function"
          and any(keyword.arg == "autograph" and not keyword.value.value
                  for keyword in node.keywords)):
      off.add(node.lineno)
  return used, off


@pytest.mark.parametrize("path", _PATHS)
def test_graphs_are_made_without_it(path):
  used, off = _uses((_ROOT / path).read_text(encoding="utf-8"))
  assert used == off


def test_uses_are_found():
  assert len(_PATHS) > 5
  assert _uses("""
@tf.function
def a(): pass
@tf.function(autograph=False)
def b(): pass
c = tf.function(b, autograph=True)
d = tf.function(
    b, autograph=False)
""") == ({2, 4, 6, 7}, {4, 7})
