"""Writes .ci/constraints-LANE.txt: the exact versions that `make` installs.

    python .ci/lock.py               both lanes, versions kept where they can be
    python .ci/lock.py modern --upgrade

uv, which must be on PATH, resolves the ranges of setup.py for each Python of
the lane; none of them needs to be installed. Versions that differ between
Pythons get an environment marker.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

_HERE = pathlib.Path(__file__).resolve().parent
HEADER = """\
# The exact versions `make` installs, as constraints: pip install -c FILE.
# Written by .ci/lock.py; the ranges are in setup.py.
"""
PYTHONS = {
    "classic": ("3.9", "3.10", "3.11"),
    "modern": ("3.10", "3.11", "3.12", "3.13"),
}
# pkg_resources, which TensorFlow Hub imports, warns in later versions.
ALWAYS = {
    "classic": {"setuptools": "65.5.1"},
    "modern": {"setuptools": "80.8.0"},
}
# Part of every environment, or the project itself.
_NOT_LOCKED = {"pip", "wheel", "kdwsd"}


def read(text, python):
  """Reads `name==version` lines that hold for a Python.

  Args:
    text: a constraints file, whose markers are those that `merge` writes, or
      the output of uv.
    python: such as "3.11".

  Returns:
    {normalised name: version}.
  """
  pins = {}
  for line in text.splitlines():
    pin, _, marker = line.split("#")[0].partition(";")
    if "==" in pin and (not marker or f"'{python}'" in marker):
      name, version = pin.strip().split("==")
      pins[re.sub(r"[-_.]+", "-", name).lower()] = version
  return pins


def merge(pins_by_python):
  """Merges {python: {name: version}} to lines of one constraints file."""
  names = set().union(*pins_by_python.values()) - _NOT_LOCKED
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


def _lines(pins):
  return "".join(f"{name}=={version}\n" for name, version in pins.items())


def resolve(lane, python, preferred):
  """Lets uv resolve the ranges of setup.py.

  Args:
    lane: "classic" or "modern".
    python: such as "3.11".
    preferred: {name: version}, kept where the ranges allow it.

  Returns:
    {name: version}.

  Raises:
    subprocess.CalledProcessError: the ranges cannot be met; uv has said why.
  """
  with tempfile.TemporaryDirectory() as folder:
    always = pathlib.Path(folder) / "always.txt"
    always.write_text(_lines(ALWAYS[lane]), encoding="utf-8")
    output = pathlib.Path(folder) / "output.txt"
    output.write_text(_lines(preferred), encoding="utf-8")
    subprocess.run(
        ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
         # Some packages exclude the first patch releases of Python 3.9.
         "--python-version", {"3.9": "3.9.25"}.get(python, python),
         "--extra", "dev", "--extra", "cuda", "--constraint", str(always),
         "--output-file", str(output), "setup.py"],
        # The markers of setup.py choose the classic lane on these Pythons.
        cwd=_HERE.parent, check=True,
        env={**os.environ, "LANE": "modern" if lane == "modern" else ""})
    return {**read(output.read_text(encoding="utf-8"), python), **ALWAYS[lane]}


def main(argv):
  """Writes the files beside this script; returns the exit status."""
  lanes = [argument for argument in argv[1:] if argument != "--upgrade"]
  if not set(lanes) <= set(PYTHONS):
    print(__doc__, file=sys.stderr)
    return 2
  for lane in lanes or PYTHONS:
    path = _HERE / f"constraints-{lane}.txt"
    kept = ""
    if path.exists() and "--upgrade" not in argv:
      kept = path.read_text(encoding="utf-8")
    pins = {python: resolve(lane, python, read(kept, python))
            for python in PYTHONS[lane]}
    path.write_text(HEADER + "\n".join(merge(pins)) + "\n", encoding="utf-8")
    print(f"{path.name}: Python {', '.join(pins)}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
