"""Tests of kdwsd.training.store_lock on ram://."""

import os
import threading
import time
import uuid

import pytest

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.training import store_lock


@pytest.fixture(name="workdir")
def fixture_workdir(monkeypatch):
  monkeypatch.setattr(store_lock, "_RENEWAL", 0.05)
  monkeypatch.setattr(store_lock, "_WATCH", 0.4)
  monkeypatch.setattr(store_lock, "_LOOK", 0.1)
  return f"ram://{uuid.uuid4().hex}/run"


def _content(workdir):
  with places.open_text(f"{workdir}/{store_lock.FILE}") as file:
    return file.read()


def test_a_second_process_is_refused_while_the_first_one_lives(
    workdir, monkeypatch):
  upload, holders = places.upload, set()

  def noting(path, remote):
    with open(path, encoding="utf-8") as file:
      holders.add(file.read().split("\n")[2])
    upload(path, remote)

  monkeypatch.setattr(places, "upload", noting)
  monkeypatch.setattr(store_lock, "_WATCH", 600)
  with store_lock.hold(workdir) as lock:
    with pytest.raises(errors.InputError, match=(
        f"^{workdir}: expected .* Received: one held by process {os.getpid()} "
        "on .* since 20")):
      with store_lock.hold(workdir):
        pass
    lock.check()
    assert len(holders) == 1  # The second one has not written it.
  assert places.listdir(workdir) == []
  with store_lock.hold(workdir):
    pass


def test_the_lock_of_a_killed_process_is_taken_over_after_a_while(
    workdir, monkeypatch):
  files.write_text(f"{workdir}/{store_lock.FILE}", "process 7 on x\n\nid\n3\n")
  warned = []
  monkeypatch.setattr(
      store_lock.logging, "warning", lambda *args: warned.append(args[1:]))
  started = time.monotonic()
  with store_lock.hold(workdir) as lock:
    assert time.monotonic() - started >= 0.4
    assert f"process {os.getpid()}" in _content(workdir)
    lock.check()
  assert warned == [(f"{workdir}/{store_lock.FILE}", "process 7 on x")]
  assert places.listdir(workdir) == []


def test_that_of_a_dead_process_of_this_machine_at_once(workdir, monkeypatch):
  monkeypatch.setattr(store_lock, "_WATCH", 600)
  process = os.fork()
  if not process:
    os._exit(0)
  os.waitpid(process, 0)
  files.write_text(
      f"{workdir}/{store_lock.FILE}",
      f"process {process} on x since\n{store_lock._machine()}\nid\n3\n")
  with store_lock.hold(workdir):
    assert f"process {os.getpid()}" in _content(workdir)


def test_a_holder_that_ends_meanwhile_is_not_waited_for(workdir, monkeypatch):
  monkeypatch.setattr(store_lock, "_WATCH", 600)
  monkeypatch.setattr(store_lock, "_RENEWAL", 600)
  path = f"{workdir}/{store_lock.FILE}"
  files.write_text(path, "process 7 on x\n\nid\n3\n")
  timer = threading.Timer(0.2, places.remove, [path])
  timer.start()
  with store_lock.hold(workdir):
    assert f"process {os.getpid()}" in _content(workdir)
  timer.join()


def test_a_holder_that_has_lost_it_is_told_and_leaves_it(workdir, monkeypatch):
  # Else it might be renewed between being looked at and being lost.
  monkeypatch.setattr(store_lock, "_RENEWAL", 600)
  with store_lock.hold(workdir) as lock:
    files.write_text(f"{workdir}/{store_lock.FILE}", "process 7 on x\n")
    with pytest.raises(errors.InputError, match="held by process 7 on x"):
      lock.check()
    monkeypatch.setattr(store_lock, "_RENEWAL", 0)
    with monkeypatch.context() as patch:
      patch.setattr(places, "upload", lambda *_: pytest.fail("renewed"))
      lock._renew()  # It ends.
    assert _content(workdir) == "process 7 on x\n"
  assert _content(workdir) == "process 7 on x\n"


def test_a_place_that_cannot_be_written_is_told(workdir, monkeypatch):
  def failing(*_):
    raise OSError(13, "Permission denied", workdir)

  monkeypatch.setattr(places, "upload", failing)
  with pytest.raises(errors.InputError, match=(
      f"^{workdir}: expected a place that can be written. Received: Perm")):
    with store_lock.hold(workdir):
      pass
