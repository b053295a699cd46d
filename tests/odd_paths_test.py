"""Whole runs in folders with odd names: patterns, separators, format codes."""

import json
import os
import pathlib
import threading

from PIL import Image
import pytest

from kdwsd.serving.server import servables
from kdwsd.training import checkpoints
from kdwsd.training import run_folder
from tests import programs
from tests import whole_runs
from tests.data import fake_records

_ROOT = pathlib.Path(__file__).parent.parent
_ODD = "b [v1] *?%# é"

_MODEL = ("--backbone=small", "--backbone_weights=none", "--data=rec[ords]/",
          "--train_sizes=32", "--eval_size=32", "--num_proposals=8",
          "--global_batch_size=4", "--steps_per_loop=2",
          "--checkpoint_interval=2", "--keep_checkpoints=2")


@pytest.fixture(scope="module", name="place")
def fixture_place(tmp_path_factory):
  """A folder with an odd name, and all that the programs make of records."""
  place = tmp_path_factory.mktemp("place") / _ODD
  (place / "rec[ords]").mkdir(parents=True)
  fake_records.write(str(place / "rec[ords]"), "trainval", 10)
  fake_records.write(str(place / "rec[ords]"), "test", 4, seed=1)
  os.symlink(_ODD, place.parent / "link [v1]")
  Image.new("RGB", (40, 30), (220, 40, 40)).save(place / "im[1] %s.png")
  teacher = ("train", *_MODEL, "--fc_units=4", "--cache=disk",
             "--eval_interval=4")
  student = f"{place.parent}/link [v1]/kd"
  predict = ("predict", "--json", "--output_dir=seen [1]/", "--top_k=0",
             "--threshold=0", "im[1] %s.png")
  programs_run = [
      (*teacher, "--workdir=wsd/", "--train_steps=4"),
      (*teacher, "--workdir=wsd", "--train_steps=8"),
      ("train", *_MODEL, "--stage=kd_prediction", "--teacher=wsd/",
       f"--workdir={student}", "--train_steps=2", "--fc_units=0",
       "--student_size=32"),
      ("evaluate", f"--workdir={place}/wsd/", "--output=out [1]"),
      ("export", f"--workdir={place}/kd/", "--output=models [1]/a*"),
      (*predict, "--model=models [1]/a*"), (*predict, f"--model={student}"),
      ("show_records", "--data=rec[ords]", "--split=test",
       "--output=sheet [1]/a%s.png"),
  ]
  told = []
  for name, *flags in programs_run:
    done = programs.run(f"kdwsd.{name}", *flags, cwd=place,
                        environment={"PYTHONPATH": str(_ROOT)})
    assert done.returncode == 0, done.stderr
    told.append(done.stdout)
  (place / "told").write_text("".join(told), encoding="utf-8")
  return place


def test_run_resumes_and_keeps_as_many_checkpoints_as_asked(place):
  folder = run_folder.RunFolder(place / "wsd")
  steps = [e["step"] for e in folder.read_history() if "loss" in e]
  assert steps == [2, 4, 6, 8]
  assert sorted(os.listdir(place / "wsd" / "checkpoints")) == [
      "checkpoint", "ckpt-6.data-00000-of-00001", "ckpt-6.index",
      "ckpt-8.data-00000-of-00001", "ckpt-8.index"]
  assert len(list((place / "wsd" / "cache").glob("*.index"))) == 1
  assert checkpoints.is_readable(folder.find("best"))
  assert os.path.exists(place / "wsd" / "evaluation" / "test" / "metrics.json")


def test_teachers_answers_are_kept_beside_the_records(place):
  kept, = (place / "rec[ords]" / "teacher_cache").glob("*/shard-*.npy")
  assert kept.stat().st_size > 0
  assert run_folder.RunFolder(place / "kd").last_step() == 2


def test_evaluate_measures(place):
  measured = json.loads(
      (place / "out [1]" / "metrics.json").read_text(encoding="utf-8"))
  assert measured["num_images"] == 4
  assert measured["detection"] is not None


def test_export_predicts_as_the_run(place):
  lines = (place / "told").read_text(encoding="utf-8").splitlines()
  of_export, of_run = [json.loads(line) for line in lines if line[:1] == "{"]
  assert of_export["image"] == "im[1] %s.png"
  assert len(of_run["predictions"]) == 3
  for mine, other in zip(of_export["predictions"], of_run["predictions"]):
    assert mine["class"] == other["class"]
    assert abs(mine["probability"] - other["probability"]) < 1e-4
  assert os.listdir(place / "seen [1]")
  assert os.path.exists(place / "sheet [1]" / "a%s.png")


def test_server_loads_an_export(place):
  path = str(place / "models [1]" / "a*" / "1")
  loaded = servables.load(path, 1, threading.Event())
  assert "serving_default" in loaded.signatures


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "[ab]", "a b", "a*", "a?", "a\\b", "{a,b}", "a%20%s", "a#b", "日本",
    "a'\"b", "a;b&c", "a:b=c,d"])
def test_training_resumes_and_another_run_starts_from_it(tmp_path, name):
  place = tmp_path / name
  (place / "records").mkdir(parents=True)
  for split in ("trainval", "test"):
    fake_records.write(str(place / "records"), split, 4)
  flags = {"data": place / "records", "backbone": "small", "fc_units": 4,
           "backbone_weights": "none", "train_sizes": "32", "eval_size": 32,
           "num_proposals": 8, "global_batch_size": 4, "steps_per_loop": 1,
           "checkpoint_interval": 1}
  for changes in ({"train_steps": 1}, {"train_steps": 2},
                  {"workdir": place / "next", "init_from": place / "run",
                   "train_steps": 1}):
    process = whole_runs.start({**flags, "workdir": place / "run", **changes})
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
  assert "The model starts from another run" in err
