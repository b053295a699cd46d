"""A run that is begun in one lane is continued in the other."""

import json
import os
import re
import shutil
import signal

import numpy as np
import pytest

from kdwsd.data import scenes
from kdwsd.training import run_folder
from tests import whole_runs
from tests.data import fake_records
from tests.lanes import lane

_STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")
_HALF, _WHOLE = 4, 8

# With most kinds of state and of cache. In float16, rounding of the lanes'
# kernels alone changes a loss in the sixth digit at once, in the second digit
# after four steps.
_FLAGS = {
    "stage": "all", "backbone": "small", "backbone_weights": "none",
    "fc_units": 16, "train_sizes": 48, "eval_size": 48, "student_size": 56,
    "num_proposals": 8, "top_k_rois": 4, "global_batch_size": 4,
    "steps_per_loop": 2, "checkpoint_interval": 2, "eval_interval": 2,
    "learning_rate": 1e-3, "optimizer": "adamw", "clip_norm": 1.0,
    "ema_decay": 0.9, "schedule": "plateau", "plateau_patience": 1,
    "cache": "disk", "frozen_stages": 1, "frozen_cache": "true",
    "teacher_cache": "on",
}

# The others.
_MORE = {**_FLAGS, "train_sizes": "32,48", "optimizer": "sgd",
         "schedule": "cosine", "warmup_steps": 2, "ema_decay": 0.0,
         "cache": "memory", "frozen_stages": 0, "frozen_cache": "false",
         "randaugment_layers": 2, "cutout_size": 8}


def _train(name, folder, flags=None, **changes):
  """Runs the chain in a lane, to its end; returns its log."""
  return lane.run(name, *_command(folder, {**(flags or _FLAGS), **changes}))[1]


def _command(folder, flags):
  return ["kdwsd.train", f"--data={folder}/records", f"--workdir={folder}/run",
          *(f"--{key}={value}" for key, value in flags.items())]


@pytest.fixture(scope="module", name="halves")
def fixture_halves(tmp_path_factory):
  """Chains of each lane whose stages have half of their steps."""
  place = tmp_path_factory.mktemp("halves")
  for name in ("other", "this"):
    lane.python(name)
    data = place / name / "records"
    data.mkdir(parents=True)
    fake_records.write(str(data), "trainval", 10)
    fake_records.write(str(data), "test", 4, seed=1)
    _train(name, place / name, train_steps=_HALF)
  return place


def _assert_same_runs(expected, received, relative=1e-4):
  for stage in _STAGES:
    for name, value, other in whole_runs.pairs_of_weights(
        os.path.join(expected, "run", stage),
        os.path.join(received, "run", stage)):
      # Of a schedule that has seen no validation, the best is -inf.
      np.testing.assert_allclose(other, value, rtol=relative, atol=relative,
                                 err_msg=f"{received}, {stage}: {name}")
    mine, others = (
        [(entry["step"], entry.get("loss"), entry.get("learning_rate"))
         for entry in run_folder.RunFolder(
             os.path.join(folder, "run", stage)).read_history()]
        for folder in (expected, received))
    np.testing.assert_allclose(
        np.array(others, float), np.array(mine, float), rtol=relative)


@pytest.fixture(scope="module", name="whole")
def fixture_whole(halves, tmp_path_factory):
  """A chain that was begun and went on in this lane."""
  place = tmp_path_factory.mktemp("whole") / "this"
  _go_on(halves / "this", place, "this")
  # Moments and the schedule's memory are compared, too.
  names = " ".join(whole_runs.weights(place / "run" / "cls"))
  for part in ("optimizer/_variables/1/", "_learning_rate/_best/"):
    assert part in names
  return place


def _go_on(half, place, name):
  """Copies a chain and trains it to its end, in a lane."""
  shutil.copytree(half, place, symlinks=True)
  log = _train(name, place, train_steps=_WHOLE)
  assert log.count("Resuming from") == len(_STAGES)


@pytest.mark.slow
@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_a_chain_goes_on_as_in_its_own_lane(
    halves, whole, maker, user, tmp_path):
  _go_on(halves / maker, tmp_path / "chain", user)
  _assert_same_runs(whole, tmp_path / "chain")


@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_students_learn_from_teacher_and_caches_of_the_other_lane(
    halves, maker, user, tmp_path):
  folder = tmp_path / "copy"
  shutil.copytree(halves / maker, folder, symlinks=True)
  for stage in _STAGES[1:]:
    shutil.rmtree(folder / "run" / stage)
  log = _train(user, folder, train_steps=_HALF)
  assert "Stage wsd is done" in log
  for cache in ("frozen_maps", "roi_features", "image_scores"):
    found = re.findall(rf"Found complete: \S*-{cache}-", log)
    assert found, f"{cache} was computed again: {log}"
  _assert_same_runs(halves / maker, folder)


@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_checkpoints_are_evaluated_alike(halves, maker, user, tmp_path):
  workdir = halves / maker / "run" / "wsd"
  lane.run(user, "kdwsd.evaluate", f"--workdir={workdir}",
           f"--output={tmp_path}", "--corloc_split=trainval")
  expected, received = (
      json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
      for folder in (workdir / "evaluation" / "test", tmp_path))
  for key in ("classification", "detection", "corloc"):
    assert received[key] == expected[key], key


@pytest.mark.slow
@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_a_killed_chain_ends_with_the_same_weights(
    halves, maker, user, tmp_path):
  for folder in ("whole", "killed"):
    shutil.copytree(halves / maker / "records", tmp_path / folder / "records",
                    ignore=shutil.ignore_patterns("*cache*", "frozen*"))
  _train(maker, tmp_path / "whole", _MORE, train_steps=_WHOLE)
  process = lane.start(maker, *_command(
      tmp_path / "killed", {**_MORE, "train_steps": _WHOLE}))
  whole_runs.wait_for_step(
      [process], str(tmp_path / "killed" / "run" / "kd_feature"), 4,
      seconds=400)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  log = _train(user, tmp_path / "killed", _MORE, train_steps=_WHOLE)
  assert "Resuming from" in log
  _assert_same_runs(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("maker, user", lane.BOTH_WAYS)
def test_runs_are_reported_exported_and_used(halves, maker, user, tmp_path):
  work = halves / maker / "run"
  out, _ = lane.run(user, "kdwsd.report", f"--output={tmp_path}/report.html",
                    work)
  assert "S-Cls with KD" in out
  lane.run(user, "kdwsd.export", f"--workdir={work}/kd_prediction",
           f"--output={tmp_path}/models")
  root = scenes.write(str(tmp_path / "scenes"), num_train=0, num_test=3)
  answers = []
  for name, model in ((maker, work / "kd_prediction"), (user, work /
                      "kd_prediction"), (maker, tmp_path / "models")):
    out, _ = lane.run(name, "kdwsd.predict", f"--model={model}", "--json",
                      "--threshold=0", root)
    answers.append([
        {entry["class"]: entry["probability"]
         for entry in json.loads(line)["predictions"]}
        for line in out.splitlines()])
  assert len(answers[0]) == 3
  for other in answers[1:]:
    for one, two in zip(answers[0], other):
      assert one == pytest.approx(two, abs=1e-5)
