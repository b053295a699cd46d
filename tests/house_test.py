"""A wrong Python, and what lies in the way of .venv, are told at once."""

import os
import pathlib
import re
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_DOCUMENTS = ("README.md", *sorted(
    f"docs/{path.name}" for path in _ROOT.glob("docs/*.md")))
_WRONG = """#!/bin/sh
case "$*" in *version_info*) echo 3.12 ;; *) exit 1 ;; esac
"""


def _make_venv(tmp_path, **environment):
  """Runs .ci/make-venv where no Python but a wrong one is to be found."""
  tools = tmp_path / "tools"
  tools.mkdir()
  for name in ("bash", "cat", "cksum", "dirname", "grep", "ls", "paste", "rm",
               "sed"):
    for folder in os.environ["PATH"].split(os.pathsep):
      if os.path.exists(os.path.join(folder, name)):
        (tools / name).symlink_to(os.path.join(folder, name))
        break
  for name in ("python3", "python3.11"):
    (tools / name).write_text(_WRONG, encoding="utf-8")
    (tools / name).chmod(0o755)
  return subprocess.run(
      ["bash", str(_ROOT / ".ci" / "make-venv")], capture_output=True,
      text=True, check=False, timeout=60,
      env={"PATH": str(tools), "VENV": str(tmp_path / "venv"), **environment})


def test_make_says_which_python_it_found_and_the_way_out(tmp_path):
  done = _make_venv(tmp_path)
  assert done.returncode == 2
  assert "Received: python3 is Python 3.12." in done.stderr
  assert "PYTHON=python3.11 make demo" in done.stderr
  assert "uv" in done.stderr
  assert not (tmp_path / "venv").exists()


def test_make_refuses_a_wrong_python_it_was_given(tmp_path):
  done = _make_venv(tmp_path, PYTHON="python3")
  assert done.returncode == 2
  assert "Received: python3, which is Python 3.12." in done.stderr
  (tmp_path / "again").mkdir()
  done = _make_venv(tmp_path / "again", PYTHON="python9")
  assert "Received: python9, which does not run." in done.stderr


def test_make_leaves_alone_what_is_no_environment(tmp_path):
  (tmp_path / "venv").mkdir()
  (tmp_path / "venv" / "thesis.txt").write_text("years", encoding="utf-8")
  done = _make_venv(tmp_path)
  assert done.returncode == 2
  assert "expected a Python environment, or nothing" in done.stderr
  assert (tmp_path / "venv" / "thesis.txt").exists()


def _read(name):
  return (_ROOT / name).read_text(encoding="utf-8")


def test_the_makefile_has_what_the_documents_name():
  makefile = (_ROOT / "Makefile").read_text(encoding="utf-8")
  named = set(re.findall(
      r"(?:`|^)make ([a-z][a-z-]+)", "".join(map(_read, _DOCUMENTS)),
      re.MULTILINE))
  assert named >= {"demo", "test", "lint", "bench"}
  for target in named:
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_flag_of_the_converter_is_documented():
  flags = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', (
      _ROOT / "kdwsd" / "make_records.py").read_text(encoding="utf-8"))
  assert len(flags) > 25
  documents = "".join(map(_read, _DOCUMENTS))
  assert [flag for flag in flags if f"--{flag}" not in documents] == []


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_documents_name_only_flags_and_files_that_exist(name):
  text = _read(name)
  programs = "".join(
      path.read_text(encoding="utf-8") for pattern in (
          "kdwsd/*.py", "kdwsd/training/settings/*.py", "export/client.py",
          "tests/*/__main__.py")
      for path in _ROOT.glob(pattern))
  # Without commands of other programs.
  ours = re.sub(r"^ *(docker|curl|pip|#SBATCH) (?:.*\\\n)*.*", "", text,
                flags=re.MULTILINE)
  for flag in set(re.findall(r"(?<![\w-])--([a-z][a-z_]+)\b", ours)) - {
      "help", "helpshort", "flagfile",  # absl's own.
      "logdir",  # TensorBoard's.
      "grpc_max_threads", "enable_batching",  # TensorFlow Serving's.
      "enable_signature_method_name_check"}:
    assert re.search(rf'["-]{flag}"|^  {flag}: ', programs, re.MULTILINE), flag
  for path in set(re.findall(
      r"\b((?:kdwsd|flags|export|tests)/[\w/]+\.\w+)", text)):
    assert (_ROOT / path).exists(), path
