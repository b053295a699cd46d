"""Rates of what runs over a split leave out what comes before."""

import types

import pytest

from benchmarks import compute
from benchmarks import drawn_records
from benchmarks import evaluation_rates
from kdwsd import errors
from kdwsd.data import record_files


def _times(monkeypatch, seconds):
  """Has the function that is timed take so long in each call."""
  now = [0.0]
  left = iter(seconds)

  def run(_):
    now[0] += next(left)
  monkeypatch.setattr(evaluation_rates.time, "perf_counter", lambda: now[0])
  return run


_SPLITS = [types.SimpleNamespace(num_images=count) for count in (10, 40)]


def test_a_rate_is_that_of_the_further_images(monkeypatch):
  # 5 s to load kernels; 2 s to trace each time; 0.1 s an image.
  run = _times(monkeypatch, [5 + 2 + 1, 2 + 1, 2 + 4])
  assert evaluation_rates._on_splits(run, _SPLITS) == pytest.approx(10)


def test_too_few_images_are_refused(monkeypatch):
  run = _times(monkeypatch, [3.0, 2.0, 1.9])
  with pytest.raises(errors.InputError, match="--num_images: expected enough"):
    evaluation_rates._on_splits(run, _SPLITS)


@pytest.mark.slow
def test_a_teacher_is_measured_in_every_part(tmp_path, monkeypatch):
  for split, count in (("short", 2), ("long", 3)):
    drawn_records.write(str(tmp_path), split, count, num_proposals=7)
  seen = []

  def on_splits(run, sets):
    assert [one.num_images for one in sets] == [2, 3]
    run(sets[0])
    seen.append(1)
    return 2.0

  monkeypatch.setattr(evaluation_rates, "_on_splits", on_splits)
  rates = evaluation_rates.measure(
      compute.Compute(device="auto"), str(tmp_path), ("short", "long"),
      size=64, num_proposals=5, fc_units=8, batch_size=None,
      backbone="mobilenet_v2:0.35", frozen_stages=2)
  assert len(seen) == 3
  assert rates.inference > 0 and rates.frozen > 0
  assert (rates.evaluation, rates.teacher_cache, rates.frozen_maps) == (2, 4, 4)
  assert rates.batch_size == 1
  assert rates.gpu_mib is None
  # Nothing of the caches is left, so that the next ones are computed, too.
  for name in ("teacher_cache", "frozen_maps"):
    assert not list((tmp_path / name).iterdir())


def test_drawn_records_are_valid(tmp_path):
  drawn_records.write(str(tmp_path), "train", 5, num_proposals=9, num_shards=2)
  record_set = record_files.open_split(str(tmp_path), "train")
  assert record_set.num_images == 5
  assert len(record_set.classes) == 20
  assert [record_files.count(path) for path in record_set.paths] == [3, 2]
