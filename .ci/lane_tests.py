"""Prints the test files whose result may differ between the two lanes.

    .venv/bin/python .ci/lane_tests.py > runs/lane_tests.txt
    make test LANE=modern TESTS=@runs/lane_tests.txt

CI runs all tests in one lane and these in the other, but for those marked
`one_lane`. A test file is among them if it, a module of tests/ that it imports,
or a module that one of these imports or runs, imports a package of which the
lanes have different versions. What modules import in turn is left to the tests
of the modules imported.
"""

import ast
import pathlib
import re

# By the names under which they are imported. NumPy also differs, but everything
# imports it.
PACKAGES = frozenset({
    "cv2", "google", "keras", "official", "tensorflow", "tensorflow_addons",
    "tensorflow_datasets", "tensorflow_metadata", "tensorflow_serving",
    "tf_keras"})
_FOLDERS = ("benchmarks", "export", "kdwsd", "tests")
# In strings: a name after -m, a program's text, an argument of importlib.
_IN_STRINGS = re.compile(
    rf"\b(?:{'|'.join(_FOLDERS)})(?:\.\w+)+|(?<=\bimport )[\w.]+"
    rf"|\A(?:{'|'.join(sorted(PACKAGES))})(?:\.\w+)*\Z")


def _names(path):
  """Dotted names that a file imports, or has in strings."""
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield from _IN_STRINGS.findall(node.value)


class _Project:
  """The modules of a checkout and what they import."""

  def __init__(self, root):
    paths = [path for folder in _FOLDERS
             for path in (root / folder).rglob("*.py")]
    names = {path: set(_names(path)) for path in paths}
    self.modules = {path.relative_to(root).as_posix(): names[path]
                    for path in paths}

  def imports(self, module):
    """The project's modules that a module imports."""
    found = set()
    for name in self.modules[module]:
      parts = name.split(".")
      for end in range(1, len(parts) + 1):
        stem = "/".join(parts[:end])
        found |= {f"{stem}.py", f"{stem}/__init__.py"} & set(self.modules)
    return found

  def differs(self, module):
    """Whether a module itself imports a package that differs by lane."""
    return any(name.split(".")[0] in PACKAGES
               for name in self.modules[module])

  def reached(self, test):
    """A test file, its support in tests/, and the modules they import."""
    found, waiting = set(), {test}
    while waiting:
      module = waiting.pop()
      found.add(module)
      if module.startswith("tests/"):
        waiting |= self.imports(module) - found
    return found


def lane_tests(root):
  """Finds the test files that differ by lane.

  Args:
    root: path of the checkout.

  Returns:
    Their sorted paths, relative to `root`.
  """
  project = _Project(pathlib.Path(root))
  return sorted(
      module for module in project.modules if module.endswith("_test.py")
      and any(map(project.differs, project.reached(module))))


if __name__ == "__main__":
  print("\n".join(lane_tests(pathlib.Path(__file__).resolve().parent.parent)))
