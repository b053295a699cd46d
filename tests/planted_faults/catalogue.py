"""All faults: what changes, where, and which tests are to catch it."""

import dataclasses
import fnmatch

from tests.planted_faults import data
from tests.planted_faults import evaluation
from tests.planted_faults import modeling
from tests.planted_faults import serving
from tests.planted_faults import training

_ROOMS = (modeling, data, training, evaluation, serving)


@dataclasses.dataclass(frozen=True)
class Fault:
  """A change that makes the package wrong.

  Attributes:
    name: the path and the fault's number in it.
    path: of the changed file, from the root of the checkout.
    before: text that is there exactly once.
    after: text in its place.
    tests: paths of the test files that are to catch it.
  """
  name: str
  path: str
  before: str
  after: str
  tests: tuple[str, ...]

  def wider_tests(self, root):
    """Paths of all test files beside the first of `tests`."""
    folder = (root / self.tests[0]).parent
    return tuple(sorted(
        str(path.relative_to(root)) for path in folder.glob("*_test.py")))


def faults(only="*"):
  """Lists the faults whose name matches a shell pattern."""
  listed = []
  for room in _ROOMS:
    for path, changes in room.FAULTS.items():
      mirror = path.replace("kdwsd/", "tests/").replace(".py", "_test.py")
      for number, (before, after, *tests) in enumerate(changes, 1):
        listed.append(Fault(f"{path}:{number}", path, before, after,
                            tuple(tests) or (mirror,)))
  return [fault for fault in listed if fnmatch.fnmatch(fault.name, only)]


def problems(some, root):
  """Says which faults no longer fit the checkout, a line each.

  Args:
    some: list of `Fault`.
    root: of the checkout, a `pathlib.Path`.

  Returns:
    List of lines; empty if each fault can be planted.
  """
  found, texts = [], {}
  for fault in some:
    if fault.path not in texts:
      path = root / fault.path
      texts[fault.path] = path.read_text(
          encoding="utf-8") if path.exists() else ""
    text = texts[fault.path]
    count = text.count(fault.before)
    if count != 1:
      found.append(f"{fault.name}: expected this once: {fault.before!r}. "
                   f"Received: {count} times.")
      continue
    try:
      compile(text.replace(fault.before, fault.after), fault.path, "exec")
    except SyntaxError as error:
      found.append(f"{fault.name}: expected Python. Received: {error}.")
    found += [f"{fault.name}: expected test files. Received: no {test}."
              for test in fault.tests if not (root / test).exists()]
  return found
