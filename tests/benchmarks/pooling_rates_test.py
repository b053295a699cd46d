"""Each way of RoI pooling is timed."""

import pytest

from benchmarks import pooling_rates
from kdwsd.modeling import roi_pooling


@pytest.mark.one_lane
@pytest.mark.parametrize("kind", roi_pooling.NAMES)
def test_each_way_is_timed(kind):
  seconds = pooling_rates.measure(
      kind, batch_size=1, cells=4, count=3, channels=2, dtype="float16",
      repeats=1)
  assert set(seconds) == set(pooling_rates.WAYS)
  assert all(0 < value < 60 for value in seconds.values())
