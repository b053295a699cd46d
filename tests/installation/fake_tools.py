"""Stand-ins for Pythons and uv, in a copy of what .ci/make-venv reads.

Each stand-in is a shell script that notes its arguments, and makes the files
that make-venv looks at.
"""

import os
import pathlib
import shutil
import subprocess

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SYSTEM = ("bash", "cat", "cksum", "cp", "dirname", "grep", "ln", "ls",
           "mkdir", "mktemp", "readlink", "rm", "sed", "sh")

_PYTHON = """#!/bin/sh
printf '%s\\n' "python {version} $*" | sed 1q >> {log}
case "$*" in
  *version_info*) echo {version} ;;
  "-m pip --version") [ ! -e {folder}/no-pip ] ;;
  *"-m pip install"*) [ ! -e {folder}/no-network ] || exit 1
    while [ $# -gt 1 ]; do
      if [ "$1" = --target ]; then mkdir -p "$2/bin"; cp {uv} "$2/bin/uv"; fi
      shift
    done
    if [ "$1" = uv ]; then cp {uv} "${{0%/*}}/uv"; fi ;;
  "-m venv"*) [ ! -e {folder}/no-venv ] || exit 1
    mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; : > "$3/pyvenv.cfg" ;;
esac
"""
_UV = """#!/bin/sh
printf '%s\\n' "uv LANE=$LANE INDEX=$UV_DEFAULT_INDEX $*" >> {log}
case "$*" in
  venv*) mkdir -p "$6/bin"; : > "$6/pyvenv.cfg"
    if command -v "$5" >/dev/null; then
      cp "$(command -v "$5")" "$6/bin/python"
    elif [ -e {folder}/no-network ]; then
      printf 'error: no %s\\n  Caused by: no route\\n' "$5" >&2; exit 1
    else sed "s/VERSION/$5/g" {folder}/any > "$6/bin/python"
    fi
    chmod +x "$6/bin/python" ;;
  *"pip install"*)
    while [ -e {folder}/uv-slow ] && [ ! -e {folder}/slept ]
    do {sleep} 0.1; done
    [ ! -e {folder}/uv-fails ] || exit 1 ;;
esac
"""


# Of one that waits for another.
_SLEEP = """#!/bin/sh
: > {folder}/slept
exec {sleep} "$@"
"""


class FakeMachine:
  """A checkout, and a PATH with the tools and Pythons that it is given.

  Attributes:
    project: folder with what .ci/make-venv reads.
    tools: the only folder of PATH.
  """

  def __init__(self, folder, pythons=(), uv=False):
    """Makes the machine.

    Args:
      folder: an empty folder.
      pythons: {name: version} or names such as "python3.11".
      uv: whether uv is on PATH.
    """
    self._folder = pathlib.Path(folder)
    self.project = self._folder / "project"
    self.tools = self._folder / "tools"
    self._log = self._folder / "log"
    self._log.touch()
    for made in ("tools", "tmp", "project/.ci"):
      (self._folder / made).mkdir(parents=True)
    for name in (
        "setup.py", "pyproject.toml", ".ci/make-venv", ".ci/pip_settings.py",
        ".ci/constraints-classic.txt", ".ci/constraints-modern.txt"):
      shutil.copy(_ROOT / name, self.project / name)
    for name in (*_SYSTEM, "chmod"):
      (self.tools / name).symlink_to(shutil.which(name))
    self._write(self._folder / "uv", _UV)
    self._write(self._folder / "any", _PYTHON, "VERSION")
    self._write(self.tools / "sleep", _SLEEP)
    if uv:
      shutil.copy(self._folder / "uv", self.tools / "uv")
    if not isinstance(pythons, dict):
      pythons = {name: name[len("python"):] for name in pythons}
    for name, version in pythons.items():
      self.add_python(self.tools / name, version)

  def _write(self, path, text, version=""):
    path.write_text(text.format(
        version=version, log=self._log, folder=self._folder,
        uv=self._folder / "uv", sleep=shutil.which("sleep")), encoding="utf-8")
    path.chmod(0o755)

  def add_python(self, path, version):
    """Writes a Python; without a version, one that does not run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    self._write(path, _PYTHON if version else "#!/bin/sh\nexit 127\n", version)

  def add_gpu(self, trace):
    """Adds a trace of an NVIDIA GPU: the path of a file, or nvidia-smi."""
    if trace == "nvidia-smi":
      self._write(self.tools / trace, "#!/bin/sh\n")
      return
    path = self._folder / "root" / trace
    path.parent.mkdir(parents=True)
    path.touch()

  def has(self, fault, there=True):
    """Turns on or off: no-network, no-pip, no-venv, uv-fails, or uv-slow.

    With uv-slow it installs until another process sleeps.
    """
    path = self._folder / fault
    path.touch() if there else path.unlink()

  def make_venv(self, **environment):
    """Runs .ci/make-venv; returns the finished process."""
    return subprocess.run(
        ["bash", str(self.project / ".ci" / "make-venv")],
        capture_output=True, text=True, check=False, timeout=600,
        env={"PATH": str(self.tools), "TMPDIR": str(self._folder / "tmp"),
             "NVIDIA_ROOT": str(self._folder / "root"), **environment})

  def calls(self):
    """Takes the lines noted since the last call."""
    lines = self._log.read_text(encoding="utf-8").splitlines()
    self._log.write_text("", encoding="utf-8")
    return lines

  def left_over(self):
    """Temporary files that are still there."""
    return os.listdir(self._folder / "tmp")
