"""The documents name targets, flags and files that exist."""

import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_DOCUMENTS = ("README.md", *sorted(
    f"docs/{path.name}" for path in _ROOT.glob("docs/*.md")))


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
          "benchmarks/*.py", "tests/*/__main__.py")
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
