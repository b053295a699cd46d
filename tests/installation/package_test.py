"""What a wheel and an sdist contain, and that a wheel works alone."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_SHARED = ("docs", "export", "flags")

# Files of both, by setuptools' own commands, which write nothing here.
# pyproject.toml, which they would read too, has no files.
_LIST_FILES = """
import json, os, runpy, setuptools
from setuptools.command import egg_info
given = {}
setuptools.setup = lambda **arguments: given.update(arguments)
runpy.run_path("setup.py", run_name="__main__")
project = setuptools.Distribution(
    {"name": "kdwsd", "script_name": "setup.py", **given})
wheel = project.get_command_obj("build_py")
wheel.ensure_finalized()
wheel.build_lib = "lib"
sdist = project.get_command_obj("sdist")
sdist.ensure_finalized()
sdist.filelist = egg_info.FileList()
sdist.add_defaults()
print(json.dumps([
    [os.path.relpath(path, "lib") for path in wheel.get_outputs(0)],
    sdist.filelist.files]))
"""


def _tracked(*folders):
  """Files of the project, without what Python and editors leave there."""
  done = subprocess.run(
      ["git", "ls-files", "--", *folders], cwd=_ROOT, capture_output=True,
      text=True, check=False)
  if done.returncode == 0 and done.stdout:
    return set(done.stdout.splitlines())
  return {path.relative_to(_ROOT).as_posix() for folder in folders
          for path in (_ROOT / folder).rglob("*")
          if path.is_file() and path.suffix != ".pyc"}


def _wheel_files():
  return {f"kdwsd/share/{path}" for path in _tracked(*_SHARED)} | _tracked(
      "kdwsd")


def _sdist_files():
  return _tracked("kdwsd", *_SHARED) | {
      "README.md", "pyproject.toml", "setup.py"}


def test_a_wheel_has_code_recipes_kit_and_documents_and_nothing_else():
  done = subprocess.run(
      [sys.executable, "-c", _LIST_FILES], cwd=_ROOT, capture_output=True,
      text=True, check=True, timeout=120)
  wheel, sdist = json.loads(done.stdout.splitlines()[-1])
  assert set(wheel) == _wheel_files()
  assert set(sdist) == _sdist_files()


def test_the_tests_of_files_would_see_them():
  wheel = _wheel_files()
  assert {"kdwsd/train.py", "kdwsd/reporting/templates/style.css",
          "kdwsd/share/flags/demo/quick.flags",
          "kdwsd/share/export/client.py"} <= wheel
  assert not [path for path in wheel if path.startswith(("tests", "bench"))]


def test_python_versions_are_those_that_setup_accepts():
  project = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
  setup = (_ROOT / "setup.py").read_text(encoding="utf-8")
  (low, high), = re.findall(
      r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', project, re.MULTILINE)
  assert (f"if not (3, {low}) <= sys.version_info[:2] <= (3, {int(high) - 1}):"
          in setup)
  named = re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', project)
  assert list(map(int, named)) == list(range(int(low), int(high)))


def _description():
  done = subprocess.run(
      [sys.executable, "-c", "import runpy, setuptools\n"
       "setuptools.setup = lambda **given: print(given['long_description'])\n"
       "runpy.run_path('setup.py', run_name='__main__')"],
      cwd=_ROOT, capture_output=True, text=True, check=True, timeout=120)
  return done.stdout


def test_the_description_on_pypi_has_no_dead_links():
  text = _description()
  links = re.findall(r"\]\(([^)]*)\)", text)
  assert links and all(link.startswith("https://") for link in links)
  assert "docs/data.md" in text  # Named, as `kdwsd docs` has it.
  assert "![" not in text and "!Test" not in text
  assert "*From" not in text  # The picture's caption.
  assert "\n## Two commands\n" in text


def _run(*command, cwd, status=0):
  done = subprocess.run(
      list(map(str, command)), cwd=cwd, capture_output=True, text=True,
      check=False, timeout=1200,
      env={name: value for name, value in os.environ.items()
           if name not in ("PYTHONPATH", "LANE")})
  assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
  return done.stdout


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory):
  """A folder with wheel and sdist, and a Python with an empty environment."""
  folder = tmp_path_factory.mktemp("package")
  for path in (*_tracked("kdwsd", *_SHARED), "LICENSE", "README.md",
               "pyproject.toml", "setup.py"):
    target = folder / "source" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_ROOT / path, target)
  python = folder / "environment" / "bin" / "python"
  _run(sys.executable, "-m", "venv", folder / "environment", cwd=folder)
  fetched = subprocess.run(
      [python, "-m", "pip", "install", "--quiet", "setuptools>=77,<82"],
      capture_output=True, text=True, check=False, timeout=600)
  if fetched.returncode:
    pytest.skip(f"needs setuptools from PyPI: {fetched.stderr[-200:]}")
  for kind in ("wheel", "sdist"):
    _run(python, "-W", "error::DeprecationWarning:setuptools", "-c",
         "from setuptools import build_meta\n"
         f"build_meta.build_{kind}({str(folder)!r})", cwd=folder / "source")
  # The dependencies of this environment, without its kdwsd.
  site, = (folder / "environment").glob("lib/*/site-packages")
  (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  return folder, python


@pytest.mark.slow
def test_what_is_built_contains_what_setup_lists(built):
  folder, _ = built
  wheel, = folder.glob("*.whl")
  sdist, = folder.glob("*.tar.gz")
  inside = {name for name in zipfile.ZipFile(wheel).namelist()
            if ".dist-info/" not in name}
  assert inside == _wheel_files()
  with tarfile.open(sdist) as archive:
    inside = {member.name.split("/", 1)[1] for member in archive
              if member.isfile()}
  assert {name for name in inside if ".egg-info/" not in name} == (
      _sdist_files() | {"LICENSE", "PKG-INFO", "setup.cfg"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz", "source"])
def test_what_is_installed_trains_exports_and_serves_alone(built, kind):
  folder, python = built
  package, = folder.glob(kind)
  here = folder / f"here {kind.strip('*.')}"
  here.mkdir()
  install = ["-m", "pip", "install", "--quiet", "--no-deps",
             "--no-build-isolation", "--force-reinstall"]
  _run(python, *install, *["--editable"] * (kind == "source"), package,
       cwd=here)
  command = python.with_name("kdwsd")
  used = _run(python, "-c", "import kdwsd; print(kdwsd.__file__)", cwd=here)
  assert str(folder) in used
  assert "make-records" in _run(command, "--help", cwd=here)
  _run(command, "train", "--flagfile=flags/demo/quick.flags",
       "--train_steps=2", "--warmup_steps=0", "--steps_per_loop=1",
       "--checkpoint_interval=2", cwd=here)
  report = (here / "runs/demo_quick/report.html").read_text(encoding="utf-8")
  assert "kdwsd report runs/demo_quick" in report
  assert "python -m kdwsd" not in report
  _run(command, "export", "--workdir=runs/demo_quick/kd_prediction",
       "--output=models/student", cwd=here)
  picture = next((here / "runs/demo_quick/scenes").rglob("*.jpg"))
  predicted = _run(command, "predict", "--model=models/student", picture,
                   cwd=here)
  assert str(picture) in predicted
  _run(command, "serving-kit", "--copy", cwd=here)
  server = subprocess.Popen(
      [command, "serve", "--model_base_path=models/student", "--port=0",
       "--rest_api_port=0"], cwd=here, stdout=subprocess.PIPE, text=True)
  try:
    line = server.stdout.readline()
    host = re.search(r"REST (http://[^/]+)/", line)[1]
    answer = json.loads(_run(
        python, "export/client.py", f"--url={host}", picture, cwd=here))
    assert answer["image"] == str(picture)
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0
  finally:
    server.kill()
    server.stdout.close()
