"""The throughput of many GPUs is the arithmetic of docs/scale.md."""

import pytest

from benchmarks import scaling


def test_a_ring_by_hand():
  # 536 MB; 8 GPUs send 14 eighths of it, 64 send 126 sixty-fourths.
  assert scaling.all_reduce_seconds(8) == pytest.approx(
      536e6 * 14 / 8 / 200e9)
  assert scaling.all_reduce_seconds(64, 12.5e9) == pytest.approx(
      536e6 * 126 / 64 / 12.5e9)
  assert scaling.all_reduce_seconds(1) == 0
  # Faster than the GPUs of a machine no network makes it.
  assert scaling.all_reduce_seconds(64, 400e9) == pytest.approx(
      536e6 * 126 / 64 / 200e9)


def test_a_step_and_its_sum_come_one_after_the_other():
  row = scaling.throughput(100, 4, 64, 12.5e9, core_rate=50)
  # 40 ms, and 84.42 ms of all-reduce.
  assert row.step == pytest.approx(0.04 + 0.08442)
  assert row.images == pytest.approx(256 / 0.12442)
  assert row.efficiency == pytest.approx(0.04 / 0.12442)
  assert row.cores == pytest.approx(256 / 0.12442 / 8 / 50)
