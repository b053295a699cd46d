"""What workers do together is timed."""

import pytest

from benchmarks import worker_rates


@pytest.mark.slow
def test_all_that_two_workers_do_together_is_timed():
  seconds = worker_rates.run(2, parameters=1000, repeats=1)
  assert set(seconds) == set(worker_rates.COLUMNS)
  assert all(0 < value < 60 for value in seconds.values())
