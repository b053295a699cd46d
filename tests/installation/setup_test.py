"""setup.py chooses the lane, and the lock files are within its ranges."""

import os
import pathlib
import runpy
import subprocess
import sys

import pytest
import setuptools

import kdwsd

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PYTHONS = {"classic": ("3.9", "3.10", "3.11"),
            "modern": ("3.10", "3.11", "3.12", "3.13")}

requirements = pytest.importorskip("packaging.requirements")
utils = pytest.importorskip("packaging.utils")


def _setup(version, lane=""):
  """Runs setup.py --version as if this Python were another version."""
  code = (
      "import runpy, sys\n"
      f"sys.version_info = {version!r}\n"
      "sys.argv = ['setup.py', '--version']\n"
      "runpy.run_path('setup.py', run_name='__main__')\n")
  return subprocess.run(
      [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True,
      check=False, timeout=600, env={**os.environ, "LANE": lane})


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 8, 18), (3, 14, 0)])
def test_another_python_is_refused_with_the_way_out(version):
  done = _setup(version)
  assert done.returncode == 1
  assert f"Received: Python {version[0]}.{version[1]}" in done.stderr
  assert "PYTHON=python3.11 make demo" in done.stderr
  assert "uv venv" in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize("version,lane,expected", [
    ((3, 12, 1), "classic", "3.9, 3.10 or 3.11"),
    ((3, 9, 18), "modern", "3.10 to 3.13"),
    ((3, 11, 7), "old", "LANE: expected classic"),
])
def test_a_lane_that_cannot_be_is_refused(version, lane, expected):
  done = _setup(version, lane)
  assert done.returncode == 1
  assert expected in done.stderr.splitlines()[0]
  assert "Traceback" not in done.stderr


def _given(monkeypatch, lane):
  """What setup.py passes to setuptools in a lane."""
  given = {}
  monkeypatch.setattr(setuptools, "setup", lambda **more: given.update(more))
  monkeypatch.setenv("LANE", "modern" if lane == "modern" else "")
  runpy.run_path(str(_ROOT / "setup.py"), run_name="__main__")
  return given


def _wanted(monkeypatch, lane):
  """{name: specifiers of each Python of the lane}, as setup.py asks for."""
  given = _given(monkeypatch, lane)
  wanted = {python: {} for python in _PYTHONS[lane]}
  texts = given["install_requires"] + given["extras_require"]["dev"]
  for requirement in map(requirements.Requirement, texts):
    for python, found in wanted.items():
      if not requirement.marker or requirement.marker.evaluate(
          {"python_version": python}):
        name = utils.canonicalize_name(requirement.name)
        assert name not in found
        found[name] = requirement.specifier
  return wanted


def _lock(lane):
  """{python: {name: version}} of a lock file."""
  text = (_ROOT / ".ci" / f"constraints-{lane}.txt").read_text("utf-8")
  pins = {python: {} for python in _PYTHONS[lane]}
  for line in text.splitlines():
    if not line.startswith("#"):
      pin = requirements.Requirement(line)
      for python, found in pins.items():
        if not pin.marker or pin.marker.evaluate({"python_version": python}):
          found[utils.canonicalize_name(pin.name)] = str(pin.specifier)[2:]
  return pins


@pytest.mark.parametrize("lane,tensorflow", [
    ("classic", "2.15.1"), ("modern", "2.20.0")])
def test_the_python_chooses_the_lane_and_lane_overrules_it(
    monkeypatch, lane, tensorflow):
  for python, wanted in _wanted(monkeypatch, lane).items():
    assert wanted["tensorflow"].contains(tensorflow), python
    assert ("tensorflow-addons" in wanted) == (lane == "classic"), python


@pytest.mark.parametrize("lane", _PYTHONS)
def test_the_lock_is_within_the_ranges_of_setup(monkeypatch, lane):
  locked = _lock(lane)
  for python, wanted in _wanted(monkeypatch, lane).items():
    assert len(wanted) > 20
    for name, specifier in wanted.items():
      assert specifier.contains(locked[python][name]), (python, name)


@pytest.mark.parametrize("lane,refused,cudnn", [
    # 2.15.0 asks for a TensorRT that is not on PyPI.
    ("classic", "2.15.0", "8."), ("modern", "2.19.0", "9.")])
def test_the_extra_cuda_is_that_of_the_locked_tensorflow(
    monkeypatch, lane, refused, cudnn):
  extra = list(map(requirements.Requirement, _given(
      monkeypatch, lane)["extras_require"]["cuda"]))
  for python, pins in _lock(lane).items():
    wanted, = (one for one in extra if not one.marker or one.marker.evaluate(
        {"python_version": python}))
    assert (wanted.name, wanted.extras) == ("tensorflow", {"and-cuda"})
    assert wanted.specifier.contains(pins["tensorflow"])
    assert not wanted.specifier.contains(refused)
    assert pins["nvidia-cudnn-cu12"].startswith(cudnn), python


@pytest.mark.parametrize("lane", _PYTHONS)
def test_no_opencv_without_contrib_can_come_last(lane):
  for pins in _lock(lane).values():
    assert pins["opencv-python-headless"] == (
        pins["opencv-contrib-python-headless"])


def test_the_version_is_that_of_the_package():
  project = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
  assert '\nversion = {attr = "kdwsd.__version__"}\n' in project
  citation = (_ROOT / "CITATION.cff").read_text(encoding="utf-8")
  assert f"\nversion: {kdwsd.__version__}\n" in citation
