"""CI runs everything in one lane, and in the other what may differ."""

import shutil
import subprocess

import pytest

from tests.installation import loading

_MAKE = """#!/bin/sh
echo "make $* ($VENV)${{KDWSD_OTHER_LANE:+ beside $KDWSD_OTHER_LANE}}" >> calls
case "$*" in
  venv) echo "lane {lane}: of a test"; [ ! -e no_venv ] ;;
  test*) [ ! -e fails ] ;;
  demo*LANE=*) echo "of the other demo"; [ ! -e demo_fails ] ;;
esac
"""
_OTHER = """#!/bin/sh
echo "make-venv $LANE ($VENV) $PYTHON" >> calls
mkdir -p "$VENV/bin"
printf '#!/bin/sh\\necho tests/one_test.py\\n' > "$VENV/bin/python"
chmod +x "$VENV/bin/python"
exit {status}
"""


def _run(folder, lane="classic", status=0, bazel=3, **environment):
  """Runs .ci/run with stand-ins.

  Returns:
    The finished process, and the calls of make and .ci/make-venv.
  """
  (folder / ".ci").mkdir(exist_ok=True)
  shutil.copy(loading.ROOT / ".ci" / "run", folder / ".ci" / "run")
  for name, text in [
      (".ci/make-venv", _OTHER.format(status=status)),
      (".ci/bazel", f"#!/bin/sh\necho of a build\nexit {bazel}\n"),
      ("tools/make", _MAKE.format(lane=lane)),
      ("tools/apt-get", "#!/bin/sh\nexit 1\n"),
      (f"{environment.get('VENV', '.venv')}/bin/python", "#!/bin/sh\n"),
  ]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
  done = subprocess.run(
      ["bash", str(folder / ".ci" / "run")], capture_output=True, text=True,
      check=False, timeout=600,
      env={"PATH": f"{folder / 'tools'}:/usr/bin:/bin", **environment})
  return done, (folder / "calls").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("lane,other", [
    ("classic", "modern"), ("modern", "classic")])
def test_the_other_lane_runs_what_may_differ_and_the_demo(
    tmp_path, lane, other):
  done, calls = _run(tmp_path, lane, PYTHON="python3.11")
  assert done.returncode == 0, done.stderr
  there = f"LANE={other} VENV=.venv-{other} PYTHON="
  assert f"lane {lane}: of a test" in done.stdout
  # At once.
  assert set(calls[:2]) == {
      "make venv (.venv)", f"make-venv {other} (.venv-{other}) "}
  assert calls[2:4] == [
      "make lint (.venv)",
      f"make test (.venv) beside .venv-{other}/bin/python",
  ]
  assert set(calls[4:6]) == {
      "make demo FLAGFILE=flags/demo/quick.flags (.venv)",
      "make demo FLAGFILE=flags/demo/quick.flags "
      f"--workdir=runs/demo_quick_{other} {there} (.venv)",
  }
  assert calls[6:] == [
      f"make test TESTS=@runs/lane_tests.txt {there} (.venv)"]
  assert (tmp_path / "runs" / "lane_tests.txt").read_text("utf-8") == (
      "tests/one_test.py\n")


def test_a_lane_without_a_python_is_skipped_and_said(tmp_path):
  done, calls = _run(tmp_path, status=3)
  assert done.returncode == 0, done.stderr
  assert "skipped: no Python of the lane modern" in done.stdout
  assert not [call for call in calls if "LANE=modern" in call]
  assert "make test (.venv)" in calls


def test_a_lane_that_cannot_be_installed_is_an_error(tmp_path):
  done, calls = _run(tmp_path, status=2)
  assert done.returncode == 2
  assert not [call for call in calls if call.startswith("make test")]


def test_an_environment_that_cannot_be_made_is_an_error(tmp_path):
  (tmp_path / "no_venv").touch()
  done, calls = _run(tmp_path)
  assert done.returncode != 0
  assert "lane classic: of a test" in done.stdout
  assert "make lint (.venv)" not in calls


def test_a_test_that_fails_is_an_error(tmp_path):
  (tmp_path / "fails").touch()
  done, _ = _run(tmp_path)
  assert done.returncode != 0
  assert "== done" not in done.stdout


def test_a_demo_of_the_other_lane_that_fails_is_an_error(tmp_path):
  (tmp_path / "demo_fails").touch()
  done, _ = _run(tmp_path)
  assert done.returncode != 0
  assert "of the other demo" in done.stdout
  assert "== done" not in done.stdout


@pytest.mark.parametrize("status,said", [(0, "1 targets load"), (7, "")])
def test_the_build_file_is_checked_beside_the_demo(tmp_path, status, said):
  done, _ = _run(tmp_path, bazel=status)
  assert done.returncode == status, done.stderr
  assert said in done.stdout
  assert ("== done" in done.stdout) == (status == 0)
