"""A whole run on classes whose names formulas and terminals trip over."""

import json
import os
import subprocess
import sys

import pytest

from kdwsd import files
from tests.data import fake_records

_CLASSES = ("Ca$$h", "_日本 %s {}", "$5 & <b>")


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
  """Records of three classes; no image to measure on has the last one."""
  directory = str(tmp_path_factory.mktemp("records"))
  for split, count in (("trainval", 6), ("test", 2)):
    card = fake_records.write(directory, split, count).card
    counts = {name: len(range(place, count, len(_CLASSES)))
              for place, name in enumerate(_CLASSES)}
    files.write_json(os.path.join(directory, f"{split}.json"), {
        **card, "classes": list(_CLASSES), "images_per_class": counts,
        "num_objects": count})
  return directory


def _run(program, encoding, *flags):
  done = subprocess.run(
      [sys.executable, "-m", f"kdwsd.{program}", *flags], check=False,
      capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
  assert done.returncode == 0, done.stderr
  return done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.one_lane
def test_run_ends_well_in_any_encoding(data, tmp_path):
  out, err = _run(
      "train", "cp1252", f"--data={data}", f"--workdir={tmp_path}",
      "--stage=cls", "--backbone=small", "--backbone_weights=none",
      "--train_sizes=32", "--eval_size=32", "--student_size=32", "--fc_units=0",
      "--global_batch_size=2", "--train_steps=2", "--steps_per_loop=1",
      "--checkpoint_interval=1", "--num_proposals=4")
  told = ("1 of 3 classes have no positive image and are excluded from "
          "the means: $5 & <b>.")
  assert err.count(told) == 1
  for name in ("Ca$$h", "_\\u65e5\\u672c %s {}", "$5 & <b>"):
    assert name in out
  assert "mean of 2 " in out
  assert ("1 of 3 classes have no positive image and are excluded from the "
          "means.") in out
  output = tmp_path / "evaluation" / "test"
  assert set(os.listdir(output)) >= {
      "precision_recall.png", "average_precision.png", "table.txt"}
  assert "_日本 %s {}" in (output / "table.txt").read_text(encoding="utf-8")
  metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
  assert metrics["classes"] == list(_CLASSES)
  averages = metrics["classification"]["per_class"]["ap"]
  assert averages[2] is None
  assert metrics["classification"]["map"] == pytest.approx(
      sum(averages[:2]) / 2)
