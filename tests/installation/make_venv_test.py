"""make-venv picks the lane, says why, and makes a complete environment."""

import concurrent.futures
import os
import re
import subprocess

import pytest

from tests.installation import fake_tools
from tests.installation import loading


def _machine(folder, *pythons, uv=True):
  return fake_tools.FakeMachine(folder, pythons, uv=uv)



@pytest.mark.parametrize("pythons,asked,first_line", [
    ("3.11 3.12", {}, "lane classic: TensorFlow 2.15 on Python 3.11 in .venv "
     "(python3.11 is the first that suits)"),
    ("3.9 3.13", {}, "lane classic: TensorFlow 2.15 on Python 3.9 in .venv "
     "(python3.9 is the first that suits)"),
    ("3.12", {}, "lane modern: TensorFlow 2.20 on Python 3.12 in .venv "
     "(no Python 3.9 to 3.11 on PATH, but python3.12)"),
    ("3.13 3.14", {}, "lane modern: TensorFlow 2.20 on Python 3.13 in .venv "
     "(no Python 3.9 to 3.11 on PATH, but python3.13)"),
    ("3.11 3.12", {"LANE": "modern"}, "lane modern: TensorFlow 2.20 on Python "
     "3.12 in .venv-modern (LANE=modern)"),
    ("3.10", {"LANE": "modern"}, "lane modern: TensorFlow 2.20 on Python 3.10 "
     "in .venv-modern (LANE=modern)"),
    ("3.10 3.12", {"LANE": "classic"}, "lane classic: TensorFlow 2.15 on "
     "Python 3.10 in .venv-classic (LANE=classic)"),
    ("3.11 3.12", {"PYTHON": "python3.12"}, "lane modern: TensorFlow 2.20 on "
     "Python 3.12 in .venv (PYTHON=python3.12)"),
    ("3.11 3.12", {"PYTHON": "python3.11", "LANE": "modern"}, "lane modern: "
     "TensorFlow 2.20 on Python 3.11 in .venv-modern (LANE=modern, "
     "PYTHON=python3.11)"),
    ("3.11", {"VENV": "other", "LANE": "classic"}, "lane classic: TensorFlow "
     "2.15 on Python 3.11 in other (LANE=classic)"),
])
def test_the_first_line_says_which_lane_and_why(
    tmp_path, pythons, asked, first_line):
  machine = _machine(tmp_path, *(f"python{name}" for name in pythons.split()))
  done = machine.make_venv(**asked)
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[0] == first_line
  lane, venv = re.search(r"lane (\w+):.* in (\S+) \(", first_line).groups()
  stamp = machine.project / venv / ".kdwsd-installed"
  assert stamp.read_text(encoding="utf-8").split()[0] == lane
  installed = [line for line in machine.calls() if "pip install" in line]
  assert f"--constraint .ci/constraints-{lane}.txt" in installed[0]
  assert installed[0].startswith(f"uv LANE={lane} ")


def test_plain_names_are_pythons_too(tmp_path):
  machine = fake_tools.FakeMachine(
      tmp_path, {"python3": "3.14", "python": "3.10"}, uv=True)
  done = machine.make_venv()
  assert "on Python 3.10 in .venv (python is the first" in done.stdout


@pytest.mark.parametrize("kind", ["3.13t", "3.11-pypy"])
def test_a_python_without_wheels_of_tensorflow_is_left_alone(tmp_path, kind):
  machine = fake_tools.FakeMachine(
      tmp_path, {"python3": kind, "python3.12": "3.12"}, uv=True)
  assert "Python 3.12" in machine.make_venv().stdout
  done = machine.make_venv(PYTHON="python3")
  assert f"Received: python3, which is Python {kind}." in done.stderr


@pytest.mark.parametrize("asked,expected,received", [
    ({"PYTHON": "python3.14"}, "Python 3.9 to 3.13", "is Python 3.14."),
    ({"PYTHON": "python9"}, "Python 3.9 to 3.13", "python9, which does not"),
    ({"PYTHON": "python3.12", "LANE": "classic"}, "LANE=classic",
     "python3.12, which is Python 3.12."),
    ({"PYTHON": "python3.9", "LANE": "modern"}, "3.10 to 3.13",
     "python3.9, which is Python 3.9."),
    ({"LANE": "old"}, "LANE: expected classic", "Received: old."),
])
def test_a_contradiction_is_one_line(tmp_path, asked, expected, received):
  machine = _machine(tmp_path, "python3.9", "python3.12", "python3.14")
  done = machine.make_venv(**asked)
  assert done.returncode == 2
  line, = done.stderr.splitlines()
  assert line.startswith("error: ")
  assert expected in line
  assert received in line
  assert not list(machine.project.glob(".venv*"))


def test_a_pyenv_shim_that_does_not_run_stands_for_its_version(tmp_path):
  machine = fake_tools.FakeMachine(
      tmp_path, {"python3.12": "", "python3.11": "3.11"}, uv=True)
  shims = machine.tools
  versions = shims.parent / "versions"
  machine.add_python(versions / "3.12.1" / "bin" / "python3.12", "3.12")
  done = machine.make_venv(LANE="modern")
  assert "TensorFlow 2.20 on Python 3.12" in done.stdout
  done = machine.make_venv(PYTHON="python3.12", VENV="other")
  assert "TensorFlow 2.20 on Python 3.12 in other" in done.stdout
  used = [line for line in machine.calls() if " venv " in line]
  assert all(f"{versions}/3.12.1/bin/python3.12" in line for line in used)
  assert len(used) == 2


def test_a_complete_environment_keeps_its_lane(tmp_path):
  machine = _machine(tmp_path, "python3.11", "python3.12")
  machine.make_venv(PYTHON="python3.12")
  machine.calls()
  done = machine.make_venv()
  assert done.stdout == ("lane modern: TensorFlow 2.20 on Python 3.12 in .venv "
                         "(as made before)\n")
  assert not [line for line in machine.calls() if "install" in line]


def test_another_lane_or_python_makes_the_environment_again(tmp_path):
  machine = _machine(tmp_path, "python3.10", "python3.11")
  kept = machine.project / "there" / "kept"
  for asked, again in [
      ({"LANE": "classic", "PYTHON": "python3.11"}, False),
      ({"LANE": "classic"}, False),
      ({"LANE": "modern"}, True),
      ({"PYTHON": "python3.11"}, True),  # Back to the lane of a plain 3.11.
      ({"PYTHON": "python3.10"}, True),
  ]:
    done = machine.make_venv(VENV="there", **asked)
    assert done.returncode == 0, done.stderr
    assert ("creating it again" in done.stdout) == again, asked
    assert kept.exists() == (kept.exists() and not again)
    kept.touch()


def test_a_stale_environment_is_completed(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.make_venv()
  (machine.project / ".venv" / "kept").touch()
  with open(machine.project / ".ci" / "constraints-classic.txt", "a",
            encoding="utf-8") as lock:
    lock.write("another==1.0\n")
  machine.calls()
  done = machine.make_venv()
  assert "installing" in done.stdout
  assert (machine.project / ".venv" / "kept").exists()
  assert [line for line in machine.calls() if "--editable" in line]


def test_the_lock_of_the_other_lane_does_not_concern_it(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.make_venv()
  with open(machine.project / ".ci" / "constraints-modern.txt", "a",
            encoding="utf-8") as lock:
    lock.write("another==1.0\n")
  assert "installing" not in machine.make_venv().stdout


def test_an_interrupted_installation_is_completed(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.has("uv-fails")
  machine.has("no-network")
  done = machine.make_venv(LANE="modern")
  assert done.returncode == 2
  assert "Run make again to resume." in done.stderr
  machine.has("uv-fails", False)
  machine.has("no-network", False)
  machine.calls()
  done = machine.make_venv(LANE="modern")
  assert done.returncode == 0
  assert "creating it again" not in done.stdout
  calls = machine.calls()
  assert not [line for line in calls if " venv " in line]
  assert [line for line in calls if "--editable" in line]


def test_of_two_at_once_one_installs_and_the_other_waits(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.has("uv-slow")
  with concurrent.futures.ThreadPoolExecutor() as pool:
    runs = [pool.submit(machine.make_venv) for _ in range(2)]
    first, second = sorted((run.result() for run in runs),
                           key=lambda done: "waiting" in done.stdout)
  assert first.returncode == second.returncode == 0
  assert "installing about 3 GB" in first.stdout
  assert ".venv: process " in second.stdout
  assert second.stdout.splitlines()[-1].endswith("(as made before)")
  installed = [line for line in machine.calls() if "--editable" in line]
  assert len(installed) == 1
  assert not os.path.lexists(machine.project / ".venv.lock")
  assert not machine.left_over()


def test_the_lock_of_a_killed_installation_is_removed(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  lock = machine.project / ".venv.lock"
  lock.symlink_to("99999999")  # No process has so high a number.
  assert "waiting" not in machine.make_venv().stdout
  assert not os.path.lexists(lock)


def test_an_environment_of_before_the_lanes_is_classic(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.make_venv()
  stamp = machine.project / ".venv" / ".kdwsd-installed"
  stamp.write_text("3014562313 9077\n", encoding="utf-8")
  done = machine.make_venv()
  assert done.stdout.startswith("lane classic: ")
  assert "creating it again" not in done.stdout
  stamp.write_text("3014562313 9077\n", encoding="utf-8")
  done = machine.make_venv(LANE="modern", VENV=".venv")
  assert done.stdout.startswith("lane modern: ")
  assert "creating it again" in done.stdout


def test_an_environment_without_pip_is_made_again(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.make_venv()
  (machine.project / ".venv" / ".kdwsd-installed").unlink()
  machine.has("no-pip")
  done = machine.make_venv()
  assert done.stdout.startswith("lane classic: ")
  assert "creating it again" in done.stdout


def test_what_is_no_environment_is_left_alone(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  (machine.project / ".venv").mkdir()
  (machine.project / ".venv" / "thesis.txt").write_text("years", "utf-8")
  done = machine.make_venv()
  assert done.returncode == 2
  assert "expected a Python environment, or nothing" in done.stderr
  assert (machine.project / ".venv" / "thesis.txt").exists()
  done = machine.make_venv(VENV="setup.py")
  assert "setup.py: expected a Python environment" in done.stderr


def test_an_empty_folder_or_a_dangling_link_may_be_replaced(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  (machine.project / "empty").mkdir()
  (machine.project / "link").symlink_to(tmp_path / "none")
  for venv in ("empty", "link"):
    done = machine.make_venv(VENV=venv)
    assert done.returncode == 0, done.stderr
    assert (machine.project / venv / "pyvenv.cfg").exists()


@pytest.mark.parametrize("fault", [None, "no-pip"])
def test_uv_is_fetched_for_the_time_it_is_needed(tmp_path, fault):
  machine = _machine(tmp_path, "python3.11", uv=False)
  if fault:  # pip comes with venv then.
    machine.has(fault)
  done = machine.make_venv()
  assert done.returncode == 0, done.stderr
  assert [line for line in machine.calls()
          if line.startswith("uv ") and "--editable" in line]
  assert machine.left_over() == []


@pytest.mark.parametrize("found", ["3.14", "3.8"])
def test_uv_brings_a_python_where_none_suits(tmp_path, found):
  machine = fake_tools.FakeMachine(tmp_path, {"python3": found})
  done = machine.make_venv()
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[0] == (
      "lane classic: TensorFlow 2.15 on Python 3.11 in .venv (python3 is "
      f"Python {found}; uv brings Python 3.11)")
  done = machine.make_venv(LANE="modern")
  assert "on Python 3.12 in .venv-modern (LANE=modern, python3" in done.stdout
  assert machine.left_over() == []


@pytest.mark.parametrize("pythons,uv,received", [
    ({}, False, "no Python at all, and no uv to download one."),
    ({"python3": "3.14"}, True,
     "python3 is Python 3.14, and uv could not download Python 3.11 (Caused "
     "by: no route)."),
    ({"python3": "3.14", "python": "3.8"}, False,
     "python3 is Python 3.14, python is Python 3.8, and no uv"),
])
def test_what_to_install_is_said_where_no_python_can_be_had(
    tmp_path, pythons, uv, received):
  machine = fake_tools.FakeMachine(tmp_path, pythons, uv=uv)
  machine.has("no-network")
  done = machine.make_venv()
  assert done.returncode == 3
  assert received in done.stderr
  assert "apt-get install python3-venv" in done.stderr
  assert "PYTHON=python3.11 make demo" in done.stderr
  assert len(done.stderr.splitlines()) <= 5
  assert not (machine.project / ".venv").exists()
  assert machine.left_over() == []


def test_pip_installs_where_uv_cannot_be_had_or_fails(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.has("uv-fails")
  done = machine.make_venv()
  assert done.returncode == 0
  assert ".venv: uv failed; trying pip" in done.stdout
  assert [line for line in machine.calls() if line.startswith("python")
          and "--constraint .ci/constraints-classic.txt" in line]


def test_pip_is_announced_where_uv_cannot_be_fetched(tmp_path):
  machine = _machine(tmp_path, "python3.11", uv=False)
  machine.has("no-network")
  done = machine.make_venv()
  assert "by pip as uv cannot be fetched" in done.stdout
  assert done.returncode == 2


def test_a_python_without_venv_is_named(tmp_path):
  machine = _machine(tmp_path, "python3.11", uv=False)
  machine.has("no-venv")
  machine.has("no-pip")
  done = machine.make_venv()
  assert done.returncode == 2
  assert "apt-get install python3.11-venv" in done.stderr


def test_the_opencv_with_contrib_is_installed_last(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  machine.make_venv()
  *_, last = (line for line in machine.calls() if "pip install" in line)
  assert re.search(r"--no-deps opencv-contrib-python-headless==[\d.]+$", last)


def test_the_index_of_pip_is_the_index_of_uv(tmp_path):
  machine = _machine(tmp_path, "python3.11")
  settings = machine.project / ".ci" / "pip_settings.py"
  python = machine.tools / "python3.11"
  python.write_text(python.read_text("utf-8").replace(
      "case", f'case "$*" in {settings.relative_to(machine.project)}) '
      'echo "export UV_DEFAULT_INDEX=https://here" ;; esac\ncase', 1), "utf-8")
  machine.make_venv()
  used = [line for line in machine.calls() if line.startswith("uv ")
          and "--version" not in line]
  assert used
  assert all("INDEX=https://here" in line for line in used)


@pytest.mark.parametrize("asked,venv", [
    ([], ".venv"), (["LANE=modern"], ".venv-modern"),
    (["LANE=classic"], ".venv-classic"), (["LANE=modern", "VENV=x"], "x")])
def test_make_uses_the_environment_of_the_lane(asked, venv):
  done = subprocess.run(
      ["make", "--dry-run", "test", *asked], cwd=loading.ROOT, text=True,
      capture_output=True, check=True, timeout=600,
      env={"PATH": os.environ["PATH"]})
  assert f'VENV="{venv}" ' in done.stdout
  assert f'\n"{venv}/bin/python" -m pytest' in done.stdout


def test_make_runs_the_tests_in_both_lanes():
  done = subprocess.run(
      ["make", "--dry-run", "test-lanes"], cwd=loading.ROOT, text=True,
      capture_output=True, check=True, timeout=600,
      env={"PATH": os.environ["PATH"]})
  assert re.findall(r'^"(\S+)/bin/python" -m pytest', done.stdout, re.M) == [
      ".venv-classic", ".venv-modern"]
