"""The benchmark of COCO's size runs, and its records are what it says."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import coco_parts
from benchmarks import coco_programs
from benchmarks import coco_records
from benchmarks import coco_rows
from benchmarks import drawn_records
from kdwsd.data import record_files
from kdwsd.data import records

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module", name="split")
def _split(tmp_path_factory):
  """Directory and name of a split of 9 images."""
  directory = tmp_path_factory.mktemp("coco")
  coco_records.draw(str(directory / "drawn"), number=2)
  originals = coco_records.photographs([str(directory / "drawn")], 2)
  size = coco_records.write(str(directory), "some", 9, originals, seed=1)
  assert size > 9 * 20_000
  return str(directory), "some"


def test_no_two_copies_are_equal():
  photograph = drawn_records.image(np.random.default_rng(0))
  numbers = [0, 1, 2, 27, 28, 377, 378, 379, 5000]
  copies = [coco_records.copy_of(photograph, number) for number in numbers]
  assert len({len(copy) for copy in copies}) == 1
  pixels = [tf.io.decode_jpeg(one).numpy().tobytes()
            for one in (photograph, *copies)]
  assert len(set(pixels)) == len(numbers) + 1


def test_records_are_valid_and_like_coco(split):
  record_set = record_files.open_split(*split)
  assert record_files.find_fault(record_set) is None
  images = records.read_labelled_images(list(record_set.paths), 80)
  assert len({image.image_id for image in images}) == 9
  for image in images:
    assert set(image.label_ids) == set(image.truth.class_ids)


def test_classes_and_objects_are_as_many_as_in_coco():
  random = np.random.default_rng(0)
  truths = [coco_records._objects(random) for _ in range(3000)]
  classes = np.mean([len(np.unique(one.class_ids)) for one in truths])
  objects = np.mean([len(one.class_ids) for one in truths])
  assert 2.6 < classes < 3.2
  assert 6.5 < objects < 8.1


def test_parts_of_training_run(split, tmp_path):
  opened = coco_parts.open_split(*split, str(tmp_path))
  assert opened.images == 9
  assert "missing shard told after" in opened.remark
  assert coco_parts.read_batches(*split, seconds=0.1).images >= 8
  assert "step 4" in coco_parts.resume(*split).remark  # 0.97 * 9 / 2.


def test_caches_are_filled_measured_and_removed(split, monkeypatch):
  scores = coco_parts.fill_scores(*split)
  assert scores.disk_bytes >= 9 * 2 * 80 * 4
  maps = coco_parts.fill_maps(*split, (2, 3, 4))
  assert maps.disk_bytes >= 9 * 2 * 24 * 2
  folder = pathlib.Path(split[0], "benchmark")
  assert not list(folder.iterdir())
  monkeypatch.setattr(coco_parts.shutil, "disk_usage", lambda _: type(
      "Usage", (), {"free": 1000}))
  refused = coco_parts.refuse_maps(*split)
  assert "refused: expected 0.033 GB of free disk" in refused.remark
  assert not list(folder.iterdir())


def test_evaluation_runs(split, tmp_path, monkeypatch):
  for name in ("precision_recall", "average_precision"):  # Slow to draw.
    monkeypatch.setattr(coco_parts.summary.plots, name, lambda *_, **__: None)
  taken = coco_parts.evaluate(*split, str(tmp_path))
  assert taken.images == 9
  number = int(taken.remark.split()[0])
  assert 500 < number < 5000  # Detections an image.
  assert (tmp_path / "evaluation" / "metrics.json").exists()


def test_time_of_a_resumed_step_is_read_from_the_log():
  log = ("23:59:01 step 3/9 | loss 2\n23:59:58 Resuming from x/ckpt-3.\n"
         "more\n00:00:03 step 4/9 | loss 1\n00:00:09 step 5/9\n")
  assert coco_programs.seconds_to_step(log, 4) == 5


def test_the_row_beyond_is_on_the_line_through_the_last_two():
  rows = [coco_rows.Row("open", images, seconds, 1.0, peak, 0)
          for images, seconds, peak in (
              (10, 9.0, 90.0), (100, 2.0, 140.0), (1100, 12.0, 150.0))]
  # 10 s for 1000 images, from 12 s at 1100.
  lines = coco_rows.table(rows, 10_100).splitlines()
  assert len(lines) == 2 + 3 + 1
  assert "| 10,100 | 102.0 | 1.0 |" in lines[-1]
  assert lines[-1].endswith("| 150 | 0.00 | computed |")
  # 10 MiB for 1000 images.
  growing = [dataclasses.replace(row, part="evaluate") for row in rows]
  assert "| 240 | 0.00 | computed |" in coco_rows.table(growing, 10_100)
  assert len(coco_rows.table(rows[:1], 10_100).splitlines()) == 3


@pytest.mark.slow
def test_all_parts_as_a_program(split, tmp_path):
  photographs = os.path.join(split[0], "drawn")
  done = subprocess.run(
      [sys.executable, "-m", "benchmarks.coco_size", "--images=20",
       "--test_images=10", "--steps=40", "--seconds=0.5",
       f"--photographs={photographs}",
       f"--work={tmp_path / 'work'}", f"--output={tmp_path / 'out.json'}"],
      cwd=_ROOT, capture_output=True, text=True, timeout=900, check=False,
      env={**os.environ, "PYTHONPATH": str(_ROOT)})
  assert done.returncode == 0, done.stderr[-3000:]
  for what in set(coco_rows._WHAT.values()):
    assert what in done.stdout
  assert not (tmp_path / "work").exists()
