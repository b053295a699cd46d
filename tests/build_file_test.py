"""BUILD is short, complete, and allows only imports that run downwards."""

import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_TEXT = (_ROOT / "BUILD").read_text(encoding="utf-8")


def _glob(patterns, exclude=(), allow_empty=False):
  """Bazel's `glob`: sorted paths of files, relative to the root."""
  found, left_out = (
      {path.relative_to(_ROOT).as_posix() for pattern in some
       for path in _ROOT.glob(pattern) if path.is_file()}
      for some in (patterns, exclude))
  found = sorted(path for path in found - left_out if "__pycache__" not in path)
  assert found or allow_empty, f"no file matches {patterns}"
  return found


def _evaluate():
  """Runs BUILD, whose Starlark is Python, and notes its targets.

  Returns:
    Its constants, and (rule, attributes) of each target.
  """
  targets = []

  def rule(kind):
    return lambda **attributes: targets.append((kind, attributes))

  scope = {"glob": _glob, "package": lambda **_: None}
  for kind in ("filegroup", "py_binary", "py_library", "py_test"):
    scope[kind] = rule(kind)
  exec(compile(_TEXT, "BUILD", "exec"), scope)
  return scope, targets


_CONSTANTS, _TARGETS = _evaluate()


def _of(kind):
  return [attributes for rule, attributes in _TARGETS if rule == kind]


def _python_files():
  return {path for folder in ("benchmarks", "kdwsd", "tests")
          for path in _glob([f"{folder}/**/*.py"])}


def test_is_written_by_hand():
  assert len(_TEXT.splitlines()) <= 200


def test_every_module_lies_in_one_library():
  sources = [path for rule in _of("py_library") for path in rule["srcs"]]
  assert sorted(sources) == sorted(
      path for path in _python_files() if not path.endswith("_test.py"))


def test_every_test_file_has_a_test():
  tests = [path for rule in _of("py_test") for path in rule["args"]]
  assert sorted(tests) == sorted(
      path for path in _python_files() if path.endswith("_test.py"))
  for rule in _of("py_test"):
    assert rule["srcs"] == rule["args"] + [rule["main"]]


def test_every_program_has_a_binary():
  programs = {
      path for path in _glob(["benchmarks/*.py", "kdwsd/*.py"])
      if '\nif __name__ == "__main__":\n' in (_ROOT / path).read_text("utf-8")}
  assert {rule["main"] for rule in _of("py_binary")} == programs


def test_names_only_files_and_targets_that_exist():
  names = [f":{rule['name']}" for _, rule in _TARGETS]
  assert len(set(names)) == len(names)
  for _, rule in _TARGETS:
    for path in rule.get("srcs", []):
      assert (_ROOT / path).is_file(), path
    needed = rule.get("deps", []) + [
        data for data in rule.get("data", []) if data.startswith(":")]
    assert set(needed) <= set(names), rule["name"]


@pytest.mark.parametrize("package", ["common", *_CONSTANTS["PACKAGES"]])
def test_imports_are_those_of_the_library(package):
  rule, = (rule for rule in _of("py_library") if rule["name"] == package)
  owner = {path: rule["name"] for rule in _of("py_library")
           for path in rule["srcs"]}
  allowed = {package} | {name[1:] for name in rule.get("deps", [])}
  for path in rule["srcs"]:
    text = (_ROOT / path).read_text(encoding="utf-8")
    for name, member in re.findall(
        r"^ *from (kdwsd[\w.]*) import (\w+)", text, re.MULTILINE):
      stem = name.replace(".", "/")
      imported = next(
          owner[file] for file in (f"{stem}/{member}.py",
                                   f"{stem}/{member}/__init__.py",
                                   f"{stem}/__init__.py", f"{stem}.py")
          if file in owner)
      assert imported in allowed, (path, name, member)


def test_packages_stand_in_the_order_of_their_imports():
  before = set()
  for package, imported in _CONSTANTS["PACKAGES"].items():
    assert set(imported) <= before, package
    before.add(package)
