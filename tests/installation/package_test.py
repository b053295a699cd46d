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

import numpy as np
import PIL.Image
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
      text=True, check=True, timeout=600)
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
      cwd=_ROOT, capture_output=True, text=True, check=True, timeout=600)
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


def _install(built, kind, here):
  """Installs a package without its dependencies; returns its command."""
  folder, python = built
  package, = folder.glob(kind)
  _run(python, "-m", "pip", "install", "--quiet", "--no-deps",
       "--no-build-isolation", "--force-reinstall",
       *["--editable"] * (kind == "source"), package, cwd=here)
  used = _run(python, "-c", "import kdwsd; print(kdwsd.__file__)", cwd=here)
  assert str(folder) in used
  return python.with_name("kdwsd")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz", "source"])
def test_recipes_and_kit_are_found_however_it_is_installed(
    built, kind, tmp_path):
  command = _install(built, kind, tmp_path)
  assert "make-records" in _run(command, "--help", cwd=tmp_path)
  _run(command, "train", "--flagfile=flags/demo/quick.flags",
       "--only_check_args", cwd=tmp_path)
  for program, folder in zip(("docs", "serving-kit", "recipes"), _SHARED):
    _run(command, program, "--copy", cwd=tmp_path)
    copied = {path.relative_to(tmp_path).as_posix()
              for path in (tmp_path / folder).rglob("*") if path.is_file()}
    assert copied == _tracked(folder)


# Two steps of each stage, on pictures of one object each.
_TRAINING = (
    "--stage=all --recipe=flags/vocmini --data=records --train_split=all "
    "--eval_split=all --test_split= --workdir=run --backbone=small "
    "--backbone_weights=none --frozen_stages=0 --frozen_cache=false "
    "--fc_units=8 --train_steps=2 --steps_per_loop=1 --checkpoint_interval=2 "
    "--eval_interval=0 --warmup_steps=0 --global_batch_size=2 "
    "--num_proposals=8 --train_sizes=64 --eval_size=64 --student_size=56"
).split()


@pytest.mark.slow
def test_a_wheel_converts_trains_exports_and_serves_alone(built, tmp_path):
  command = _install(built, "*.whl", tmp_path)
  rows = ["path,labels"]
  for index in range(4):
    image = np.full([96, 128, 3], 120, np.uint8)
    image[20:70, 30 + 10 * index:80] = (200, 60, 40 * index)
    PIL.Image.fromarray(image).save(tmp_path / f"{index}.png")
    rows.append(f"{index}.png,{'cat' if index % 2 else 'dog'}")
  (tmp_path / "all.csv").write_text("\n".join(rows), encoding="utf-8")
  converted = _run(command, "make-records", "--format=csv", "--input=all.csv",
                   "--output=records", "--split=all", "--workers=1",
                   cwd=tmp_path)
  assert "kdwsd show-records --data=records --split=all" in converted
  _run(command, "train", *_TRAINING, cwd=tmp_path)
  report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
  assert "kdwsd report run" in report
  assert "python -m kdwsd" not in report
  _run(command, "export", "--workdir=run/kd_prediction",
       "--output=models/student", cwd=tmp_path)
  predicted = _run(command, "predict", "--model=models/student", "0.png",
                   cwd=tmp_path)
  assert "cat" in predicted and "dog" in predicted
  _run(command, "serving-kit", "--copy", cwd=tmp_path)
  server = subprocess.Popen(
      [command, "serve", "--model_base_path=models/student", "--port=0",
       "--rest_api_port=0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
  try:
    url = re.search("REST (http://[^/]+)/", server.stdout.readline())[1]
    answer = json.loads(_run(sys.executable, "export/client.py",
                             f"--url={url}", "0.png", cwd=tmp_path))
    assert {one["class"] for one in answer["predictions"]} == {"cat", "dog"}
    server.send_signal(signal.SIGTERM)
    assert server.wait(120) == 0
  finally:
    server.kill()
    server.stdout.close()
