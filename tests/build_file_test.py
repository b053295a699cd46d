"""BUILD names every module and test file, with the imports it has."""

import ast
import importlib.util
import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# From top to bottom: a room imports from those after it.
_ROOMS = ("training", "modeling", "evaluation", "serving", "data")


def _rules():
  """Yields (kind, attributes) of every rule in BUILD that is a literal."""
  tree = ast.parse((_ROOT / "BUILD").read_text(encoding="utf-8"))
  for node in tree.body:
    call = node.value
    if call.func.id.startswith("py_"):
      yield call.func.id, {
          word.arg: ast.literal_eval(word.value) for word in call.keywords}


def _python_files():
  return {path.relative_to(_ROOT).as_posix()
          for package in ("kdwsd", "tests")
          for path in (_ROOT / package).glob("**/*.py")}


def _generator():
  spec = importlib.util.spec_from_file_location(
      "build_file", _ROOT / ".ci" / "build_file.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_is_what_the_imports_say():
  text = (_ROOT / "BUILD").read_text(encoding="utf-8")
  assert text == _generator().render(), "run `make build-file` and commit BUILD"


def test_every_module_has_one_library_and_every_test_file_one_test():
  files = {"py_library": [], "py_test": []}
  for kind, rule in _rules():
    if kind in files:
      files[kind] += [
          path for path in rule["srcs"] if path != rule.get("main")]
  tests = {path for path in _python_files() if path.endswith("_test.py")}
  assert sorted(files["py_test"]) == sorted(tests)
  assert sorted(files["py_library"]) == sorted(_python_files() - tests)


def test_every_program_has_a_binary():
  programs = {
      path.relative_to(_ROOT).as_posix() for path in _ROOT.glob("kdwsd/*.py")
      if "\n  command_line.run(main)" in path.read_text(encoding="utf-8")}
  binaries = {rule["main"] for kind, rule in _rules() if kind == "py_binary"}
  assert binaries == programs


def test_direct_dependencies_match_a_reading_of_the_imports():
  # Read here with a regular expression, not as the generator does.
  pattern = re.compile(
      r"^ *from (kdwsd[\w.]*) import (\w+)(?: as \w+)?$", re.MULTILINE)
  for _, rule in _rules():
    text = (_ROOT / rule["srcs"][0]).read_text(encoding="utf-8")
    for package, name in pattern.findall(text):
      folder = package.replace(".", "/")
      expected = {f":{folder}/{name}", f":{folder}/{name}/__init__"}
      # `from kdwsd.x import y` where y lies in x/__init__.py or x.py itself.
      expected |= {f":{folder}/__init__", f":{folder}"}
      assert expected & set(rule["deps"]), (rule["name"], package, name)


def test_names_only_files_and_targets_that_exist():
  rules = list(_rules())
  names = {f":{rule['name']}" for _, rule in rules}
  assert len(names) == len(rules)
  for _, rule in rules:
    assert all((_ROOT / path).exists() for path in rule["srcs"]), rule
    assert set(rule.get("deps", [])) <= names, rule


@pytest.mark.parametrize("room", _ROOMS)
def test_imports_run_one_way(room):
  above = _ROOMS[:_ROOMS.index(room)]
  for _, rule in _rules():
    if rule["name"].startswith(f"kdwsd/{room}/"):
      upwards = [dep for dep in rule.get("deps", []) if dep.startswith(
          tuple(f":kdwsd/{other}/" for other in above))]
      assert not upwards, (rule["name"], upwards)
