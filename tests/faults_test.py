"""Whole runs of kdwsd.train that meet what days bring: full disks, bad bytes.

Each run is a process of its own, as users start them. What is put right goes
on by the same command and ends with the weights of an undisturbed run.
"""

import glob
import os
import re
import shutil
import subprocess

import pytest

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.training import checkpoints
from kdwsd.training import run_folder
from tests import whole_runs
from tests.data import odd_records

_FLAGS = {
    "stage": "cls", "backbone": "small", "backbone_weights": "none",
    "fc_units": 0, "eval_size": 32, "student_size": 32, "num_proposals": 8,
    "train_sizes": 32, "global_batch_size": 4, "train_steps": 12,
    "steps_per_loop": 2, "checkpoint_interval": 2, "eval_interval": 6,
    "learning_rate": 1e-3,
}


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
  return whole_runs.write_records(tmp_path_factory)


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(data, tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp("undisturbed"))
  _finish(_start(data, workdir), 0)
  return workdir


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
  """A function that mounts, or changes, a file system in memory."""
  path = tmp_path / "disk"
  path.mkdir()
  mounted = False

  def mount(options):
    nonlocal mounted
    remount = "remount," if mounted else ""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", path],
        capture_output=True, text=True, check=False)
    if done.returncode:
      pytest.skip(f"needs to mount a small disk: {done.stderr.strip()}")
    mounted = True
    return str(path / "run")

  if os.geteuid() != 0 or not shutil.which("mount"):
    pytest.skip("needs root, to mount a small disk")
  yield mount
  if mounted:
    subprocess.run(["umount", "-l", path], check=True)


def _start(data, workdir, **flags):
  return whole_runs.start(
      {"data": data, "workdir": workdir, **_FLAGS, **flags})


def _finish(process, code):
  """Waits for a process; returns what it said, in one line if it failed."""
  out, err = process.communicate(timeout=900)
  assert process.returncode == code, err
  assert "Traceback" not in err, err
  if code:
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: "), err
    assert ": expected " in last and " Received: " in last, err
    return last
  return out + err


def _assert_same_end(workdir, undisturbed):
  whole_runs.assert_equal_weights(undisturbed, workdir)
  entries = [[(e["step"], e.get("loss"), e.get("figures"))
              for e in run_folder.RunFolder(directory).read_history()]
             for directory in (undisturbed, workdir)]
  assert entries[0] == entries[1]


def _checkpoint_file(workdir, name):
  return os.path.join(run_folder.RunFolder(workdir).checkpoints, name)


def test_damaged_files_change_nothing_in_the_end(data, undisturbed, tmp_path):
  workdir = str(tmp_path / "run")
  shutil.copytree(undisturbed, workdir)
  os.truncate(_checkpoint_file(workdir, "ckpt-12.data-00000-of-00001"), 3000)
  with open(_checkpoint_file(
      workdir, "ckpt-10.data-00000-of-00001"), "r+b") as file:
    file.seek(1000)
    byte = file.read(1)[0]
    file.seek(1000)
    file.write(bytes([byte ^ 32]))
  os.truncate(_checkpoint_file(workdir, "checkpoint"), 0)
  folder = run_folder.RunFolder(workdir)
  files.write_json(folder.best_figure, "not a figure")
  with open(folder.history_file, "a", encoding="utf-8") as file:
    file.write('{"step": 14, "lo')
  words = _finish(_start(data, workdir), 0)
  for said in ("expected TensorFlow's list of checkpoints",
               "trying the previous one. .*ckpt-12",
               "trying the previous one. .*ckpt-10",
               "Resuming from .*ckpt-8", "the history has"):
    assert re.search(said, words), f"{said} is not in: {words}"
  _assert_same_end(workdir, undisturbed)


@pytest.mark.slow
def test_full_disk_is_told_and_with_space_freed_the_run_goes_on(
    data, undisturbed, small_disk):
  checkpoint = sum(map(os.path.getsize, glob.glob(
      _checkpoint_file(undisturbed, "ckpt-12.*"))))
  workdir = small_disk(f"size={int(3.5 * checkpoint)}")
  said = _finish(_start(data, workdir), 2)
  assert "No space left on device" in said
  paths = checkpoints.listed(run_folder.RunFolder(workdir).checkpoints)
  assert paths and checkpoints.is_readable(paths[-1])
  small_disk("size=64m")
  _finish(_start(data, workdir), 0)
  _assert_same_end(workdir, undisturbed)


@pytest.mark.slow
def test_full_disk_for_decoded_images_is_told(
    data, undisturbed, small_disk, tmp_path):
  workdir = str(tmp_path / "run")
  os.makedirs(workdir)
  os.symlink(os.path.dirname(small_disk("size=40k")),
             os.path.join(workdir, "cache"))
  said = _finish(_start(data, workdir, cache="disk"), 2)
  assert "cache/" in said
  assert "No space left on device" in said
  small_disk("size=64m")
  _finish(_start(data, workdir, cache="disk"), 0)
  _assert_same_end(workdir, undisturbed)


def test_read_only_place_is_told_before_anything_is_computed(
    data, small_disk):
  workdir = small_disk("size=1m")
  small_disk("ro")
  said = _finish(_start(data, workdir), 2)
  assert f"{os.path.dirname(workdir)}" in said
  assert "Read-only file system" in said


@pytest.mark.slow
def test_second_process_is_refused(data, tmp_path):
  workdir = str(tmp_path / "run")
  first = _start(data, workdir, train_steps=100000)
  try:
    whole_runs.wait_for_step([first], workdir, 0, seconds=300)
    said = _finish(_start(data, workdir), 2)
  finally:
    first.kill()
    first.communicate()
  assert f"held by process {first.pid} on " in said


def test_damaged_record_is_named(data, tmp_path):
  directory = str(tmp_path / "data")
  shutil.copytree(data, directory)
  record_set = record_files.open_split(directory, "trainval")
  odd_records.flip(record_set, 3)
  said = _finish(_start(directory, str(tmp_path / "run")), 2)
  assert (f"{record_set.paths[0]}: record 3 (counted from 0): expected bytes "
          "that fit their checksum") in said, said
