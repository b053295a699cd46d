"""Tests of kdwsd.training.workdir_lock, with processes that hold and die."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from unittest import mock

import pytest

from kdwsd import errors
from kdwsd.training import workdir_lock

_HOLDER = """
import sys, time
from kdwsd.training import workdir_lock
with workdir_lock.hold(sys.argv[1]):
  print("held", flush=True)
  time.sleep(3600)
"""


def _holder(workdir):
  process = subprocess.Popen(
      [sys.executable, "-c", _HOLDER, workdir], stdout=subprocess.PIPE,
      text=True)
  assert process.stdout.readline() == "held\n"
  return process


def _end(process, number):
  process.send_signal(number)
  process.wait()


def test_second_process_is_refused_and_told_of_the_first(tmp_path):
  workdir = str(tmp_path)
  process = _holder(workdir)
  try:
    with pytest.raises(errors.InputError) as caught:
      with workdir_lock.hold(workdir):
        pass
  finally:
    _end(process, signal.SIGTERM)
  assert re.match(
      re.escape(workdir) + ": expected .* Received: one held by process "
      f"{process.pid} on {re.escape(socket.gethostname())} since 20",
      str(caught.value)), caught.value


def test_killed_holder_does_not_stand_in_the_way(tmp_path):
  process = _holder(str(tmp_path))
  _end(process, signal.SIGKILL)
  assert os.listdir(tmp_path) == [workdir_lock.FILE]
  with workdir_lock.hold(str(tmp_path)):
    pass
  assert os.listdir(tmp_path) == []


def test_one_process_holds_a_chain_and_its_stages(tmp_path):
  with workdir_lock.hold(str(tmp_path)):
    for stage in ("wsd", "cls", "wsd"):
      with workdir_lock.hold(str(tmp_path / stage)):
        (tmp_path / stage / "config.json").touch()
        assert os.path.exists(tmp_path / stage / workdir_lock.FILE)
  assert sorted(os.listdir(tmp_path)) == ["cls", "wsd"]


def test_run_that_leaves_nothing_leaves_no_directory(tmp_path):
  with pytest.raises(RuntimeError):
    with workdir_lock.hold(str(tmp_path / "a" / "b")):
      raise RuntimeError
  assert not os.path.exists(tmp_path / "a" / "b")


def test_directory_that_was_there_stays(tmp_path):
  with workdir_lock.hold(str(tmp_path)):
    pass
  assert os.path.isdir(tmp_path)


def test_lock_of_a_file_that_has_just_gone_is_taken_anew(tmp_path):
  real, taken = fcntl.flock, []

  def late(lock, operation):
    real(lock, operation)
    if not taken:  # Between open and lock, the holder ended.
      taken.append(lock)
      os.remove(tmp_path / workdir_lock.FILE)

  with mock.patch.object(fcntl, "flock", late):
    with workdir_lock.hold(str(tmp_path)):
      assert taken
      with pytest.raises(errors.InputError, match="held by process"):
        with workdir_lock.hold(str(tmp_path)):
          pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_it_warns_and_goes_on(tmp_path, number, caplog):
  refusal = OSError(number, os.strerror(number))
  with mock.patch.object(fcntl, "flock", side_effect=refusal):
    with mock.patch.object(workdir_lock.logging, "warning") as warned:
      with workdir_lock.hold(str(tmp_path)):
        pass
  assert warned.call_args[0][1:] == (str(tmp_path), os.strerror(number))


def test_full_disk_does_not_keep_the_lock_from_holding(tmp_path):
  full = OSError(errno.ENOSPC, "No space left on device")
  with mock.patch.object(os, "write", side_effect=full):
    with workdir_lock.hold(str(tmp_path)):
      with pytest.raises(errors.InputError, match="held by another process"):
        with workdir_lock.hold(str(tmp_path)):
          pass


def test_place_that_cannot_be_written_is_named(tmp_path):
  if os.geteuid() == 0:
    pytest.skip("root can write everywhere; see also the next test")
  os.chmod(tmp_path, 0o555)
  with pytest.raises(errors.InputError, match="Received: Permission denied"):
    with workdir_lock.hold(str(tmp_path / "run")):
      pass


def test_read_only_disk_is_told(tmp_path):
  refusal = OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/x/.lock")
  with mock.patch.object(os, "open", side_effect=refusal):
    with pytest.raises(errors.InputError,
                       match="runs/x/.lock: .*Read-only file system"):
      with workdir_lock.hold(str(tmp_path)):
        pass
