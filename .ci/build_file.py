"""Writes BUILD from what the modules import: `make build-file`.

One library for each module, one test for each test file, one binary for each
module that is run. With --check it writes nothing and fails where BUILD is not
what it would write.
"""

import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("kdwsd", "tests")
# Runs a test file under pytest where Bazel wants a main file.
MAIN = "tests/bazel_main.py"
CONFTEST = "tests/conftest.py"
# Test files that read more than what they import.
DATA = {
    "tests/build_file_test.py": [":house", ":sources"],
    "tests/export_kit/client_test.py": [":serving_kit"],
    "tests/export_kit/configs_test.py": [":serving_kit"],
    "tests/export_kit/served_test.py": [":serving_kit"],
    "tests/flagfiles_test.py": [":recipes"],
    "tests/house_test.py": [":house", ":recipes"],
}

HEADER = '''\
# Written by .ci/build_file.py from the imports: `make build-file`. CI checks
# that it is up to date, loads all of it with Bazel, and runs tests through it.
#
# Python rules are Bazel's own, as Debian's Bazel 4.2 has them (up to Bazel 7
# they are native): `.ci/bazel test //:tests/boxes_test` runs that one without
# a network. A current Bazel takes them from rules_python: put a MODULE.bazel
#
#     bazel_dep(name = "rules_python", version = "1.0.0")
#
# beside this file and this line below the comment:
#
#     load("@rules_python//python:defs.bzl",
#          "py_binary", "py_library", "py_test")
#
# Third-party packages are those of the Python that Bazel finds; `.ci/bazel`
# puts .venv first.

package(default_visibility = ["//visibility:public"])

exports_files([".pytest.ini"])

filegroup(
    name = "recipes",
    srcs = glob(["flags/**/*.flags"]),
)

filegroup(
    name = "serving_kit",
    srcs = glob(["export/**"]),
)

filegroup(
    name = "house",
    srcs = [
        ".ci/bazel",
        ".ci/build_file.py",
        ".ci/constraints.txt",
        ".ci/lock.py",
        ".ci/make-venv",
        ".ci/run",
        "BUILD",
        "CITATION.cff",
        "LICENSE",
        "Makefile",
        "README.md",
        "docs/data.md",
        "setup.py",
    ],
)

filegroup(
    name = "sources",
    srcs = glob([
        "kdwsd/**/*.py",
        "tests/**/*.py",
    ]),
)
'''


def modules():
  """Paths of all modules, relative to the root, sorted."""
  return sorted(
      path.relative_to(ROOT).as_posix()
      for package in PACKAGES for path in (ROOT / package).glob("**/*.py"))


def target(path):
  """Name of a module's target: its path without the extension."""
  return path[:-len(".py")]


def dependencies(path, known):
  """Modules of this project that a module needs.

  Args:
    path: of the module, relative to the root.
    known: paths of all modules.

  Returns:
    Sorted paths: what it imports, anywhere in it, the packages it lies in,
    and, for a test, the modules it names in text to run them with `-m`.
  """
  found = set()
  tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), path)
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found.update(_resolve(alias.name, known) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        found.add(_resolve(f"{node.module}.{alias.name}", known))
    elif (isinstance(node, ast.Constant) and isinstance(node.value, str)
          and path.startswith("tests/")
          and re.fullmatch(r"kdwsd(\.\w+)+", node.value)):
      found.add(_resolve(node.value, known))
  found.update(f"{parent.as_posix()}/__init__.py"
               for parent in pathlib.PurePath(path).parents)
  if _is_test(path):
    found.update((MAIN, CONFTEST))
  return sorted(found & set(known) - {path})


def _resolve(name, known):
  """Path of the module a dotted name lies in; None where it is not ours."""
  parts = name.split(".")
  if parts[0] not in PACKAGES:
    return None
  while parts:
    stem = "/".join(parts)
    for path in (f"{stem}.py", f"{stem}/__init__.py"):
      if path in known:
        return path
    parts.pop()
  return None


def _is_test(path):
  return path.startswith("tests/") and path.endswith("_test.py")


def _is_binary(path):
  text = (ROOT / path).read_text(encoding="utf-8")
  return path.startswith("kdwsd/") and '\nif __name__ == "__main__":' in text


def _rule(kind, **attributes):
  lines = [f"{kind}("]
  for name, value in attributes.items():
    if isinstance(value, list):
      if len(value) == 1:
        lines.append(f'    {name} = ["{value[0]}"],')
      elif value:
        lines += [f"    {name} = [", *(f'        "{v}",' for v in value),
                  "    ],"]
    elif isinstance(value, bool):
      lines.append(f"    {name} = {value},")
    else:
      lines.append(f'    {name} = "{value}",')
  return "\n".join(lines + [")"]) + "\n"


def render():
  """The text of BUILD."""
  known = modules()
  rules = []
  for path in known:
    deps = [f":{target(other)}" for other in dependencies(path, known)]
    if _is_test(path):
      text = (ROOT / path).read_text(encoding="utf-8")
      rules.append(_rule(
          "py_test", name=target(path),
          size="large" if "subprocess" in text else "medium",
          srcs=sorted([path, MAIN]), args=[path],
          data=[".pytest.ini"] + DATA.get(path, []), main=MAIN,
          deps=[dep for dep in deps if dep != f":{target(MAIN)}"]))
      continue
    library = {"name": target(path), "srcs": [path], "deps": deps}
    if path.startswith("tests/"):
      library["testonly"] = True
    rules.append(_rule("py_library", **library))
    if _is_binary(path):
      rules.append(_rule(
          "py_binary", name=pathlib.PurePath(path).stem, srcs=[path],
          main=path, deps=deps))
  return HEADER + "\n" + "\n".join(rules)


def main():
  """Writes BUILD, or checks it."""
  file = ROOT / "BUILD"
  text = render()
  if "--check" not in sys.argv[1:]:
    file.write_text(text, encoding="utf-8")
  elif not file.exists() or file.read_text(encoding="utf-8") != text:
    sys.exit("error: BUILD: expected what the imports say. Received: an older "
             "one; run `make build-file` and commit it.")


if __name__ == "__main__":
  main()
