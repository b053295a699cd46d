"""Whole runs of kdwsd.train, each a process of its own."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import files
from kdwsd.training import run_folder
from kdwsd.training.settings import manual
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics
from tests import whole_runs

_PAGE = pathlib.Path(__file__).parent.parent / "docs" / "caffe.md"
_FLAGS = {
    "backbone": "small", "backbone_weights": "none", "fc_units": 16,
    "train_sizes": "32,48", "eval_size": 32, "num_proposals": 8,
    "global_batch_size": 4, "train_steps": 24, "steps_per_loop": 2,
    "checkpoint_interval": 4, "eval_interval": 12, "learning_rate": 1e-3,
    "spatial_weight": 1e-4,
}


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
  return whole_runs.write_records(tmp_path_factory)


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(data, tmp_path_factory):
  # As users start it: what other runs end with must be the same.
  workdir = str(tmp_path_factory.mktemp("undisturbed"))
  flags = {"data": data, "workdir": workdir, **_FLAGS}
  done = subprocess.run(
      [sys.executable, "-m", "kdwsd.train",
       *(f"--{name}={value}" for name, value in flags.items())],
      capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr
  return workdir


def _start(data, workdir, *, wait_at=None, **flags):
  return whole_runs.start(
      {"data": data, "workdir": workdir, **_FLAGS, **flags}, wait_at=wait_at)


def _finish(process):
  out, err = process.communicate(timeout=600)
  return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_run_leaves_everything_a_user_looks_for(undisturbed):
  for name in ("config.json", "loss.png", "history.jsonl",
               "checkpoints/checkpoint", "best/checkpoint",
               "evaluation/test/metrics.json"):
    assert os.path.exists(os.path.join(undisturbed, name)), name
  entries = run_folder.RunFolder(undisturbed).read_history()
  assert [e["step"] for e in entries if "loss" in e] == list(range(2, 25, 2))
  assert [e["step"] for e in entries if "figures" in e] == [12, 24]
  with open(os.path.join(undisturbed, "evaluation/test/metrics.json"),
            encoding="utf-8") as file:
    metrics = json.load(file)
  assert metrics["num_images"] == 4
  assert metrics["corloc"]["split"] == "trainval"


def test_killed_run_ends_with_the_same_weights(data, undisturbed, tmp_path):
  workdir = str(tmp_path)
  process = _start(data, workdir, wait_at=6)
  whole_runs.wait_for_step([process], workdir, 6, seconds=240)
  assert process.poll() is None, "ended before it could be killed"
  process.send_signal(signal.SIGKILL)
  process.communicate()
  done = _finish(_start(data, workdir))
  assert done.returncode == 0, done.stderr
  assert "Resuming from" in done.stderr
  whole_runs.assert_equal_weights(undisturbed, workdir)
  steps = [e["step"] for e in run_folder.RunFolder(workdir).read_history()
           if "loss" in e]
  assert steps == list(range(2, 25, 2))


@pytest.mark.slow
def test_killed_run_on_another_file_system_ends_with_the_same_weights(
    data, undisturbed, tmp_path):
  workdir = f"file://{tmp_path}"
  process = _start(data, workdir, wait_at=6)
  whole_runs.wait_for_step([process], str(tmp_path), 6, seconds=240)
  assert process.poll() is None, "ended before it could be killed"
  process.send_signal(signal.SIGKILL)
  process.communicate()
  done = _finish(_start(data, workdir))
  assert done.returncode == 0, done.stderr
  assert f"{workdir}/.lock was left by process {process.pid} " in done.stderr
  assert f"Resuming from {workdir}/" in done.stderr
  whole_runs.assert_equal_weights(undisturbed, str(tmp_path))
  assert files.read_json(tmp_path / "evaluation/test/metrics.json") == (
      files.read_json(f"{undisturbed}/evaluation/test/metrics.json"))
  assert not [path for path in tmp_path.rglob("*")
              if path.name.startswith(".")]


def test_places_that_are_no_work_directories_are_told(data, tmp_path):
  for workdir, flags, said in (
      ("nosuch://bucket/run", {}, "nosuch://bucket/run: expected a file system"
       " that this TensorFlow has"),
      (f"file://{tmp_path}/run", {"data": ""}, "--data: expected records")):
    done = _finish(whole_runs.start(
        {"data": data, "workdir": workdir, **_FLAGS, **flags}))
    assert done.returncode == 2, done.stderr
    assert f"error: {said}" in done.stderr
    assert "Working in" not in done.stderr
  assert not os.listdir(tmp_path)


@pytest.mark.one_lane
def test_run_that_is_told_to_stop_ends_with_the_same_weights(
    data, undisturbed, tmp_path):
  workdir = str(tmp_path)
  process = _start(data, workdir, wait_at=6)
  whole_runs.wait_for_step([process], workdir, 6, seconds=240)
  assert process.poll() is None, "ended before it could be told"
  process.send_signal(signal.SIGTERM)
  done = _finish(process)
  assert done.returncode == 143, done.stderr
  step = int(re.search(
      r"Stopped at step (\d+).* by SIGTERM; the same command resumes the "
      r"run\.$", done.stderr.strip())[1])
  assert step >= 6
  done = _finish(_start(data, workdir))
  assert done.returncode == 0, done.stderr
  assert f"-{step}.\n" in done.stderr
  whole_runs.assert_equal_weights(undisturbed, workdir)
  steps = [e["step"] for e in run_folder.RunFolder(workdir).read_history()
           if "loss" in e]
  assert steps == sorted({*range(2, 25, 2), step})


@pytest.mark.slow
def test_rate_scales_with_the_batch(data, tmp_path):
  done = _finish(_start(data, str(tmp_path), rate_batch=2, train_steps=2,
                        eval_split=""))
  assert done.returncode == 0, done.stderr
  assert "0.001 for batches of 2, hence 0.002 for those of 4" in done.stderr
  entry, = run_folder.RunFolder(tmp_path).read_history()
  assert entry["learning_rate"] == pytest.approx(2e-3)
  with open(tmp_path / "config.json", encoding="utf-8") as file:
    config = json.load(file)
  assert (config["learning_rate"], config["rate_batch"]) == (1e-3, 2)


@pytest.mark.slow
def test_two_replicas_are_one(data, undisturbed, tmp_path):
  workdir = str(tmp_path)
  done = _finish(_start(data, workdir, num_replicas=2))
  assert done.returncode == 0, done.stderr
  for name, value, other in whole_runs.pairs_of_weights(undisturbed, workdir):
    np.testing.assert_allclose(
        other, value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_non_finite_loss_stops_and_leaves_the_last_checkpoint(data, tmp_path):
  done = _finish(_start(data, str(tmp_path), learning_rate=1e30))
  assert done.returncode == 2
  assert "steps 1 to 2: expected a finite loss" in done.stderr, done.stderr
  assert "Traceback" not in done.stderr
  assert tf.train.latest_checkpoint(
      os.path.join(tmp_path, "checkpoints")).endswith("ckpt-0")


def test_other_model_in_the_same_workdir_is_refused(data, undisturbed):
  done = _finish(_start(data, undisturbed, fc_units=17))
  assert done.returncode == 2
  assert "--fc_units was 16, is 17" in done.stderr, done.stderr


def test_missing_data_is_a_clear_error(tmp_path):
  done = _finish(_start(str(tmp_path / "nowhere"), str(tmp_path / "work")))
  assert done.returncode == 2
  assert "nowhere: expected a directory of records" in done.stderr
  assert not os.path.exists(tmp_path / "work")


def test_one_stage_needs_no_data_either(tmp_path):
  done = _finish(_start(
      "", str(tmp_path / "work"), stage="wsd", scenes=12, seed=3,
      train_steps=4, warmup_steps=0))
  assert done.returncode == 0, done.stderr
  run = run_folder.RunFolder(str(tmp_path / "work"))
  assert run.read_config().stage == "wsd"
  assert os.path.exists(run.find("last") + ".index")


def test_missing_teacher_is_told_before_scenes_are_drawn(tmp_path):
  done = _finish(_start("", str(tmp_path / "work"), stage="kd_prediction"))
  assert done.returncode == 2
  assert "--teacher: expected the work directory" in done.stderr
  assert not os.path.exists(tmp_path / "work")


def test_flags_that_the_stage_does_not_read_are_named(tmp_path):
  shared = tmp_path / "shared.flags"
  shared.write_text("--roi_pooling=max\n", encoding="utf-8")
  done = _finish(_start(
      str(tmp_path / "nowhere"), str(tmp_path / "work"), stage="cls",
      flagfile=shared, teacher="x"))
  assert done.returncode == 2
  # Not that of the flagfile.
  assert ("Not read by stage cls: --train_sizes, --spatial_weight, --teacher.\n"
          in done.stderr), done.stderr


def test_a_chain_says_that_its_stage_2_starts_from_its_own_stage_1(tmp_path):
  done = _finish(_start(
      str(tmp_path / "nowhere"), str(tmp_path / "work"), stage="all",
      feature_student="x"))
  assert done.returncode == 2
  assert "Not read by stage wsd, cls, kd_feature, kd_prediction: " in (
      done.stderr)
  assert "--feature_student.\n" in done.stderr


@pytest.mark.parametrize("flags, words", [
    ({"stage": "cls", "seeds": "0,1"}, "expected --stage=all"),
    ({"stage": "all", "seeds": "1,0,1"}, "expected different ones"),
    ({"stage": "all", "seeds": "1,2", "seed": 2}, "Received: 2 and 1,2.")])
def test_seeds_that_contradict_the_command_are_told(
    flags, words, data, tmp_path):
  done = _finish(_start(data, str(tmp_path), **flags))
  assert done.returncode == 2
  assert words in done.stderr


def test_the_page_lists_what_caffe_parity_sets():
  text = _PAGE.read_text(encoding="utf-8")
  table = text[text.index("`--caffe_parity` sets"):]
  table = table[table.index("| what |"):]
  table = table[:table.index("\n\n")]
  # Of "--name" alone the value is empty.
  listed = dict(re.findall(r"--(\w+)=?([^ `|]*)", table))
  assert listed == {
      name: "" if one.caffe is True else manual.as_text(one.caffe)
      for name, one in topics.SETTINGS.items()
      if one.caffe is not setting.UNSET}


@pytest.mark.slow
def test_caffe_parity_sets_what_the_page_lists(data, tmp_path):
  done = _finish(_start(data, str(tmp_path), caffe_parity=True, train_steps=2,
                        eval_split="", momentum=0.8, soft_weight=3))
  assert done.returncode == 0, done.stderr
  with open(tmp_path / "config.json", encoding="utf-8") as file:
    config = json.load(file)
  assert config["roi_pooling"] == "max"
  assert config["teacher_dropout"] is True
  assert config["teacher_cache"] == "off"
  assert config["soft_weight"] == 3  # Given, so it comes before.
