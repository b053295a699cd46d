"""Runs whose work directory is on a file system of TensorFlow's, here ram://.

A process that is killed is one whose requests all fail from some moment on.
"""

import os
import pathlib
import re
import tempfile
import types
import uuid

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import interruption
from kdwsd import places
from kdwsd.training import checkpoints
from kdwsd.training import copy_folders
from kdwsd.training import run_copies
from kdwsd.training import run_folder
from kdwsd.training import store_lock
from kdwsd.training import store_requests
from tests.training import fake_loop


@pytest.fixture(name="workdir")
def fixture_workdir():
  return f"ram://{uuid.uuid4().hex}/run"


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(tmp_path_factory):
  """A local run and the weight that it ends with."""
  path = tmp_path_factory.mktemp("undisturbed")
  return path, _train(path)


@pytest.fixture(autouse=True, name="unhurried")
def fixture_unhurried(monkeypatch):
  """No waiting between attempts; the programs' pauses are in `pauses`."""
  pauses = []
  # Not that of all modules: other threads may sleep.
  monkeypatch.setattr(
      store_requests, "time", types.SimpleNamespace(sleep=pauses.append))
  yield pauses
  run_copies._copies.clear()


class _Killed(BaseException):
  """Nothing handles it."""


def _train(workdir, **options):
  folder = run_folder.RunFolder(workdir)
  with folder.hold():
    folder.repair("figure")
    return fake_loop.run(workdir, eval_interval=6, **options)


def _changes(patch, killed_at=None):
  """List of names of what is renamed or removed in the store from now on."""
  names = []

  def counted(change):
    def act(*paths):
      if not paths[-1].endswith(store_lock.FILE):
        if killed_at is not None and len(names) >= killed_at:
          raise _Killed
        names.append(re.sub("^ram://[^/]*/[^/]*/", "", paths[-1]))
      change(*paths)
    return act

  for name in "rename", "remove":
    patch.setattr(places, name, counted(getattr(places, name)))
  return names


def _check_equal(workdir, undisturbed):
  """The run has what the undisturbed one has; nothing else is left there."""
  path, _ = undisturbed
  one, other = map(run_folder.RunFolder, (path, workdir))
  for kind in "loss", "figures":
    assert [(entry["step"], entry.get("loss"), entry.get("figures"))
            for entry in other.read_history() if kind in entry] == [
                (entry["step"], entry.get("loss"), entry.get("figures"))
                for entry in one.read_history() if kind in entry]
  assert other.progress() == one.progress()
  assert files.read_json(other.best_figure) == files.read_json(one.best_figure)
  for checkpoint in "best", "last":
    reader, expected = (tf.train.load_checkpoint(folder.find(checkpoint))
                        for folder in (other, one))
    for name in expected.get_variable_to_shape_map():
      if name.startswith(("model/", "optimizer/")):
        np.testing.assert_array_equal(
            reader.get_tensor(name), expected.get_tensor(name))
  left = {os.path.relpath(os.path.join(where, name), workdir)
          for where, _, names in places.walk(workdir) for name in names}
  assert {name for name in left if not name.startswith("summaries/")} == {
      str(file.relative_to(path)) for file in pathlib.Path(path).rglob("*")
      if file.is_file() and "summaries" not in file.parts}


def test_it_ends_with_the_files_and_weights_of_a_local_run(
    workdir, undisturbed, monkeypatch):
  changed = _changes(monkeypatch)
  np.testing.assert_array_equal(_train(workdir), undisturbed[1])
  _check_equal(workdir, undisturbed)
  assert any(name.startswith("summaries/events") for name in changed)
  # A checkpoint before what names it, and its metric after it.
  for first, second in (
      ("best/ckpt-12.data-00000-of-00001", "best/ckpt-12.index"),
      ("best/ckpt-12.index", "best/checkpoint"),
      ("best/checkpoint", "best/figure.json"),
      ("checkpoints/ckpt-12.index", "checkpoints/checkpoint"),
      ("history.jsonl", "checkpoints/ckpt-12.index")):
    last = len(changed) - 1 - changed[::-1].index(second)
    assert changed.index(first) < last
  assert changed[-1] == "best/ckpt-6.data-00000-of-00001"  # Removed.


def _check_killed_at(moment, workdir, undisturbed):
  with pytest.MonkeyPatch.context() as patch, pytest.raises(_Killed):
    assert _changes(patch, killed_at=moment) is not None
    _train(workdir)
  np.testing.assert_array_equal(_train(workdir), undisturbed[1])
  _check_equal(workdir, undisturbed)


# Of step 0; of the state before the first validation; of the one after it: best
# checkpoint, its metric, the last state, removals; the same at the end.
@pytest.mark.one_lane
@pytest.mark.parametrize("moment", [2, 12, 23, 44])
def test_a_kill_between_two_uploads_leaves_a_state_that_resumes(
    moment, workdir, undisturbed):
  _check_killed_at(moment, workdir, undisturbed)


@pytest.mark.parametrize("moment", range(50))
@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_state_that_resumes(
    moment, workdir, undisturbed):
  _check_killed_at(moment, workdir, undisturbed)


def test_a_run_that_is_told_to_stop_has_stored_its_step(
    workdir, undisturbed, monkeypatch):
  monkeypatch.setattr(interruption, "_pending", None)
  monkeypatch.setattr(interruption, "_raised", False)
  before = fake_loop.signal.signal(
      fake_loop.signal.SIGTERM, interruption._handle)
  try:
    with pytest.raises(interruption.Interrupted, match="143"):
      _train(workdir, stop_in_step=7)
  finally:
    fake_loop.signal.signal(fake_loop.signal.SIGTERM, before)
  assert run_folder.RunFolder(workdir).last_step() == 7
  assert not places.exists(f"{workdir}/{store_lock.FILE}")
  interruption._pending, interruption._raised = None, False
  np.testing.assert_array_equal(_train(workdir), undisturbed[1])


def test_a_damaged_list_of_checkpoints_is_mended(workdir, undisturbed):
  _train(workdir, train_steps=6)
  files.write_text(f"{workdir}/checkpoints/checkpoint", "")
  np.testing.assert_array_equal(_train(workdir), undisturbed[1])


def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before(
    workdir, undisturbed):
  _train(workdir, train_steps=8)
  files.write_text(f"{workdir}/checkpoints/ckpt-8.data-00000-of-00001", "")
  np.testing.assert_array_equal(_train(workdir), undisturbed[1])


def test_only_the_newest_data_are_fetched(workdir, monkeypatch):
  _train(workdir)
  fetched, fetch = [], places.fetch
  monkeypatch.setattr(places, "fetch", lambda remote, path: (
      fetched.append(remote), fetch(remote, path)))
  folder = run_folder.RunFolder(workdir)
  assert [entry["step"] for entry in folder.read_history()][-1] == 12
  assert not [name for name in fetched if ".data-" in name]
  assert checkpoints.is_readable(folder.find("last"))
  data = [name for name in fetched if ".data-" in name]
  assert data == [f"{workdir}/checkpoints/ckpt-12.data-00000-of-00001"]
  assert not any("summaries" in name for name in fetched)


def test_other_processes_see_what_is_stored(workdir):
  reader = run_folder.RunFolder(workdir)  # As another worker's.
  assert reader.progress().is_fresh
  run_copies._copies.clear()
  _train(workdir, train_steps=6)
  assert not reader.read_history()
  assert (reader.progress().last, reader.progress().best) == (6, 6)
  assert len(reader.read_history()) == 3
  path = reader.find("best")
  run_copies._copies.clear()
  _train(workdir)
  assert reader.progress().best == 12
  assert not os.path.exists(path + ".index")
  assert checkpoints.is_readable(reader.find("best"))


def test_data_of_another_index_are_fetched_anew(workdir):
  directory = tempfile.mkdtemp()
  manager = checkpoints.make_manager(
      tf.train.Checkpoint(variable=tf.Variable([1.0] * 9)), directory, keep=1)

  def upload():
    for name in os.listdir(directory):
      store_requests.upload(
          os.path.join(directory, name), f"{workdir}/checkpoints/{name}")

  manager.save(checkpoint_number=4)
  upload()
  reader = run_folder.RunFolder(workdir)
  path = reader.find("last")
  manager.checkpoint.variable.assign([2.0] * 9)
  manager.save(checkpoint_number=4)
  upload()
  assert reader.progress().last == 4
  reader.find("last")
  name = "variable/.ATTRIBUTES/VARIABLE_VALUE"
  assert tf.train.load_checkpoint(path).get_tensor(name)[0] == 2


def test_a_store_that_fails_is_asked_again(workdir, monkeypatch, unhurried):
  upload, failures = files.upload, []

  def failing(path, remote):
    if remote.endswith("ckpt-4.index") and len(failures) < 3:
      failures.append(remote)
      raise OSError(5, "away")
    upload(path, remote)

  monkeypatch.setattr(files, "upload", failing)
  _train(workdir, train_steps=4)
  assert run_folder.RunFolder(workdir).last_step() == 4
  assert unhurried == [1, 3, 9]


@pytest.mark.parametrize("error, attempts", [
    (OSError(5, "away"), 4), (OSError(13, "refused"), 1)])
def test_a_state_that_cannot_be_stored_is_kept(
    error, attempts, workdir, undisturbed, monkeypatch):
  upload, failures = files.upload, []

  def failing(path, remote):
    if "ckpt-8" in remote:
      failures.append(remote)
      raise error
    upload(path, remote)

  with monkeypatch.context() as patch:
    patch.setattr(files, "upload", failing)
    with pytest.raises(errors.InputError) as caught:
      _train(workdir)
  assert len(failures) == attempts
  said = re.fullmatch(
      re.escape(workdir) + r": expected to store the state of the run. "
      rf"Received: {error.strerror}\. The whole state is in (\S+); .*",
      str(caught.value))
  assert run_folder.RunFolder(workdir).last_step() == 6
  copy_folders.Folder("x").remove()  # Which looks for what killed runs left.
  assert run_folder.RunFolder(said[1]).last_step() == 8
  np.testing.assert_array_equal(_train(said[1]), undisturbed[1])


def test_a_run_whose_lock_is_lost_stores_nothing_more(workdir, monkeypatch):
  def figures(step):
    if step == 6:
      files.write_text(f"{workdir}/{store_lock.FILE}", "process 1 on other\n")
    return {"figure": float(step)}

  with pytest.raises(errors.InputError, match="held by process 1 on other"):
    _train(workdir, figures=figures)
  folder = run_folder.RunFolder(workdir)
  assert (folder.last_step(), folder.progress().unvalidated) == (4, 6)
  assert places.exists(f"{workdir}/{store_lock.FILE}")


def test_copies_end_with_their_processes(workdir):
  place = tempfile.mkdtemp()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tempfile, "tempdir", place)
    _train(workdir, train_steps=4)
    assert not os.listdir(place)
    first, second = copy_folders.Folder("a"), copy_folders.Folder("b")
    assert len(os.listdir(place)) == 2
    os.close(first._lock)  # As of a killed process.
    copy_folders.Folder("c").remove()
    assert os.path.exists(second.path) and not os.path.exists(first.path)
    second.remove()


def test_errors_name_the_files_in_the_store(workdir):
  with pytest.raises(errors.InputError, match=(
      f"^{workdir}: expected the work directory of a training run")):
    run_folder.RunFolder(workdir).read_config()
  files.write_text(f"{workdir}/config.json", "{")
  with pytest.raises(errors.InputError, match=f"^{workdir}/config.json: "):
    run_folder.RunFolder(workdir).read_config()
  with pytest.raises(errors.InputError, match=(
      r"^nosuch://b/run: expected a file system .*'nosuch://b/run'\)\.$")):
    run_folder.RunFolder("nosuch://b/run")


def test_what_is_copied_of_a_chain(workdir):
  copied = ("report.html", "wsd/config.json", "wsd_fold_0/config.json",
            "seed_5/cls/evaluation/a/b", "cls/unvalidated/checkpoint",
            "cls/best/ckpt-1.index")
  for name in (*copied, "cls/best/ckpt-1.data-00000-of-00001", "records/x",
               "wsd/summaries/x", "wsd/cache/x", ".lock"):
    files.write_text(f"{workdir}/{name}", name)
  path = pathlib.Path(run_copies.local(workdir))
  assert {file.relative_to(path).as_posix() for file in path.rglob("*")
          if file.is_file()} == set(copied)
  assert (path / "seed_5/cls/evaluation/a/b").read_text().endswith("/b")


def test_a_stage_stands_for_another_run(workdir):
  for name in "teacher", "other":
    files.write_text(f"{workdir}/{name}/history.jsonl", '{"step": 1}\n')
  chain = f"{workdir}/chain"
  with run_copies.hold(chain):
    for target in "teacher", "other":
      assert run_copies.link(chain, "wsd", f"{workdir}/{target}") == (
          f"{workdir}/teacher")
    assert len(run_folder.RunFolder(f"{chain}/wsd").read_history()) == 1
  run_copies._copies.clear()
  folder = run_folder.RunFolder(f"{chain}/wsd")  # Without the chain.
  assert folder.read_history() == [{"step": 1}]
  files.write_text(os.path.join(folder.evaluation("test"), "x"), "")
  folder.store()
  assert places.exists(f"{workdir}/teacher/evaluation/test/x")
  run_copies._copies.clear()
  assert os.path.exists(os.path.join(
      run_copies.local(chain), "wsd/evaluation/test/x"))
  assert run_copies.local("here") == "here"
