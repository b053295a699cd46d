"""Writes .ci/constraints.txt: the exact versions that `make` installs.

    python .ci/lock.py 3.9=FREEZE39 3.10=FREEZE310 3.11=FREEZE311

Each FREEZE is the output of `uv pip compile --extra dev setup.py` (or of `pip
freeze` in an environment whose tests pass) with that Python. Versions that
differ between Pythons get an environment marker.
"""

import pathlib
import re
import sys

HEADER = """\
# The exact versions `make` installs, as constraints: pip install -c FILE.
# Written by .ci/lock.py; the ranges are in setup.py.
"""
# Part of every environment, or the project itself.
NOT_LOCKED = {"pip", "wheel", "kdwsd"}
# Not in a freeze; later versions warn at every import of pkg_resources.
ALWAYS = {"setuptools": "65.5.1"}


def read(path):
  """Reads `name==version` lines; returns {normalised name: version}."""
  pins = {}
  for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
    line = line.split("#")[0].split(";")[0].strip()
    if "==" in line:
      name, version = line.split("==")
      pins[re.sub(r"[-_.]+", "-", name).lower()] = version
  return pins


def merge(pins_by_python):
  """Merges {python: {name: version}} to lines of one constraints file."""
  names = set().union(*pins_by_python.values()) - NOT_LOCKED
  lines = []
  for name in sorted(names):
    pythons_by_version = {}
    for python, pins in pins_by_python.items():
      if name in pins:
        pythons_by_version.setdefault(pins[name], []).append(python)
    for version, pythons in pythons_by_version.items():
      line = f"{name}=={version}"
      if len(pythons) < len(pins_by_python):
        line += "; " + " or ".join(
            f"python_version == '{python}'" for python in pythons)
      lines.append(line)
  return lines


def main():
  """Writes the file beside this script."""
  pins = {}
  for argument in sys.argv[1:]:
    python, path = argument.split("=", 1)
    pins[python] = {**read(path), **ALWAYS}
  if not pins:
    sys.exit(__doc__)
  text = HEADER + "\n".join(merge(pins)) + "\n"
  pathlib.Path(__file__).with_name("constraints.txt").write_text(
      text, encoding="utf-8")


if __name__ == "__main__":
  main()
