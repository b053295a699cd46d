"""Whole chains of kdwsd.train --stage=all, as users start them."""

import json
import os
import signal

import pytest

from kdwsd.training import run_folder
from tests import whole_runs

_STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")

_FLAGS = {
    "backbone": "small", "backbone_weights": "none", "fc_units": 16,
    "train_sizes": "32,48", "eval_size": 48, "student_size": 56,
    "num_proposals": 8, "global_batch_size": 4, "train_steps": 8,
    "steps_per_loop": 2, "checkpoint_interval": 2, "eval_interval": 4,
    "learning_rate": 1e-3, "optimizer": "adam",
}


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
  return whole_runs.write_records(tmp_path_factory)


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(data, tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp("undisturbed"))
  out, err = _finish(_start(data, workdir))
  return workdir, out + err


def _start(data, workdir, **flags):
  return whole_runs.start({"data": data, "workdir": workdir, "stage": "all",
                           **_FLAGS, **flags})


def _finish(process, code=0):
  out, err = process.communicate(timeout=500)
  assert process.returncode == code, err
  return out, err


@pytest.mark.one_lane  # The shortened demo of CI is one, too, in each lane.
def test_chain_leaves_models_table_and_report(undisturbed):
  workdir, said = undisturbed
  for name in ("S-Cls without KD", "T-WDet", "S-Cls with KD",
               "Distillation gain"):
    assert name in said, said
  assert os.path.exists(os.path.join(workdir, "report.html"))
  for stage in _STAGES:
    folder = run_folder.RunFolder(os.path.join(workdir, stage))
    assert folder.read_history()[-1]["step"] == 8
  for stage in ("wsd", "cls", "kd_prediction"):
    directory = os.path.join(workdir, stage, "evaluation/test")
    with open(os.path.join(directory, "metrics.json"),
              encoding="utf-8") as file:
      metrics = json.load(file)
    assert metrics["num_images"] == 4
    assert (metrics["detection"] is None) == (stage != "wsd")
    with open(os.path.join(directory, "cost.json"), encoding="utf-8") as file:
      assert json.load(file)["images_per_second"] > 0
  with open(os.path.join(workdir, "comparison.json"), encoding="utf-8") as file:
    assert len(json.load(file)["models"]) == 3


@pytest.mark.slow
def test_killed_chain_goes_on_and_ends_with_the_same_weights(
    data, undisturbed, tmp_path):
  workdir = str(tmp_path)
  process = _start(data, workdir)
  last = os.path.join(workdir, "kd_prediction")
  whole_runs.wait_for_step([process], last, 2, seconds=400)
  assert process.poll() is None, "ended before it could be killed"
  process.send_signal(signal.SIGKILL)
  process.communicate()
  _, err = _finish(_start(data, workdir))
  for stage in _STAGES[:3]:
    assert f"Stage {stage} is done" in err
  assert "Resuming from" in err
  for stage in _STAGES:
    whole_runs.assert_equal_weights(
        os.path.join(undisturbed[0], stage), os.path.join(workdir, stage))


@pytest.mark.slow
def test_students_of_two_replicas_are_those_of_one(
    data, undisturbed, tmp_path):
  # Stage 2 starts from the other chain's stage 1: differences in the last bits
  # of its start would grow, for Adam's first steps go by the gradient's sign.
  os.symlink(os.path.join(undisturbed[0], "kd_feature"),
             tmp_path / "kd_feature")
  teacher = os.path.join(undisturbed[0], "wsd")
  _finish(_start(data, str(tmp_path), num_replicas=2, teacher=teacher))
  alone = str(tmp_path / "alone" / "kd_feature")
  _finish(_start(data, alone, num_replicas=2, teacher=teacher,
                 stage="kd_feature"))
  # In stage 1 the largest of nearly equal features gets the gradient of a
  # region, and rounding decides which.
  for stage, workdir, relative in (
      ("cls", tmp_path, 1e-3), ("kd_prediction", tmp_path, 1e-3),
      ("kd_feature", tmp_path / "alone", 0.03)):
    whole_runs.assert_close_weights(
        os.path.join(undisturbed[0], stage), os.path.join(workdir, stage),
        relative=relative)


def test_recipe_has_settings_for_each_stage(data, tmp_path):
  for stage in _STAGES[:3]:
    (tmp_path / f"{stage}.flags").write_text("--fc_units=8\n", "utf-8")
  _, err = _finish(_start(data, str(tmp_path / "work"), recipe=tmp_path),
                   code=2)
  assert "expected a flagfile for each stage. Received: no" in err
  assert "kd_prediction.flags" in err


@pytest.mark.one_lane
def test_unfit_teacher_is_told_before_a_stage_is_trained(
    data, undisturbed, tmp_path):
  teacher, work = tmp_path / "teacher", tmp_path / "work"
  teacher.mkdir()
  with open(os.path.join(undisturbed[0], "wsd", "config.json"),
            encoding="utf-8") as file:
    config = json.load(file)
  (teacher / "config.json").write_text(
      json.dumps({**config, "classes": ["zebra"]}), encoding="utf-8")
  _, err = _finish(_start(data, str(work), teacher=teacher), code=2)
  assert "expected the 3 classes of the student's data" in err
  assert "Received: 1 classes, zebra." in err
  # Nor is the work directory bound to that teacher.
  assert not os.path.lexists(work / "wsd")
  assert not os.path.exists(work / "cls")


@pytest.mark.parametrize("stage, flags, said", [
    ("kd_feature", "--fc_units=8\n", "expected the student of kd_feature"),
    ("kd_prediction", "--teacher_cache=on\n--teacher_dropout\n",
     "expected --noteacher_dropout"),
    ("kd_prediction", "--train_split=nowhere\n", "nowhere.json: expected"),
    ("wsd", "--fc_units=8\n", "expected the teacher's width, 8, or --feature_"),
    ("kd_prediction", "--checkpoint_interval=3\n--steps_per_loop=2\n",
     "expected a multiple of --steps_per_loop")])
def test_bad_settings_of_a_late_stage_are_told_at_once(
    stage, flags, said, data, tmp_path):
  for each in _STAGES:
    lines = "".join(f"--{name}={value}\n" for name, value in _FLAGS.items())
    (tmp_path / f"{each}.flags").write_text(
        lines + (flags if each == stage else ""), "utf-8")
  process = whole_runs.start({"data": data, "workdir": tmp_path / "work",
                              "stage": "all", "recipe": tmp_path})
  _, err = _finish(process, code=2)
  assert said in err
  assert not os.path.exists(tmp_path / "work" / "wsd")


@pytest.mark.one_lane
def test_a_recipe_without_data_draws_no_scenes(tmp_path):
  for stage in _STAGES:
    text = "--data=nowhere\n--workdir=mine\n" if stage == "cls" else ""
    (tmp_path / f"{stage}.flags").write_text(text, "utf-8")
  process = whole_runs.start({"workdir": tmp_path / "work", "stage": "all",
                              "recipe": tmp_path})
  _, err = _finish(process, code=2)
  assert err.splitlines()[-1] == (
      "error: --data: expected records, on the command line or in each file of "
      f"--recipe={tmp_path}. Received: none for wsd, kd_feature, kd_prediction."
  )
  assert not os.path.exists(tmp_path / "work")


def test_recipe_does_not_silence_the_log(data, tmp_path):
  for stage in _STAGES:
    (tmp_path / f"{stage}.flags").write_text("--fc_units=8\n", "utf-8")
  _, err = _finish(_start(data, str(tmp_path / "work"), recipe=tmp_path,
                          train_split="nowhere"), code=2)
  assert "Working in" in err
  assert "nowhere.json: expected the card" in err


def test_unknown_flag_in_a_recipe_is_named_with_its_file(data, tmp_path):
  for stage in _STAGES:
    (tmp_path / f"{stage}.flags").write_text("--fc_unit=8\n", "utf-8")
  _, err = _finish(_start(data, str(tmp_path / "work"), recipe=tmp_path),
                   code=2)
  assert "wsd.flags: expected flags of kdwsd.train. Received:" in err
  assert "Unknown command line flag 'fc_unit'" in err
