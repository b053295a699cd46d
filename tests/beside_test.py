"""Work in threads: in order, bounded, and nothing left behind."""

from concurrent import futures
import contextlib
import signal
import threading
import time

import pytest

from kdwsd import beside
from kdwsd import interruption


def _threads():
  return [one for one in threading.enumerate() if one.name.startswith("beside")]


@pytest.fixture(autouse=True, name="clean")
def fixture_clean():
  assert not _threads()
  yield
  assert not _threads()


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("most_waiting", [1, 2, 100])
def test_results_come_in_order(num_threads, most_waiting):
  def late(item):
    time.sleep(0.002 * (item % 3))
    return item ** 2

  assert list(beside.mapped(
      late, range(20), num_threads=num_threads, most_waiting=most_waiting)) == [
          item ** 2 for item in range(20)]


@pytest.mark.parametrize("num_threads", [0, 2])
def test_items_are_drawn_here_and_worked_on_there(num_threads):
  here = threading.current_thread()

  def items():
    for _ in range(5):
      assert threading.current_thread() is here
      yield None

  there = set(beside.mapped(
      lambda _: threading.current_thread(), items(), num_threads=num_threads))
  assert (here in there) == (num_threads == 0)


def test_an_item_is_drawn_while_another_is_worked_on():
  drawn = threading.Event()

  def items():
    yield 0
    drawn.set()
    yield 1

  assert list(beside.mapped(
      lambda _: drawn.wait(300), items(), num_threads=1)) == [True, True]


@pytest.mark.parametrize("most_waiting", [1, 3])
def test_no_more_than_so_many_wait(most_waiting):
  drawn, free = [], threading.Event()

  def items():
    for item in range(9):
      drawn.append(item)
      if len(drawn) == most_waiting:
        threading.Timer(0.05, free.set).start()
      yield item

  with contextlib.closing(beside.mapped(
      lambda item: free.wait(300) and item, items(), num_threads=2,
      most_waiting=most_waiting)) as results:
    assert next(results) == 0
    assert len(drawn) == most_waiting
    assert list(results) == list(range(1, 9))


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_comes_where_its_result_would(num_threads):
  def invert(item):
    return 1 / item

  results = beside.mapped(invert, [1, 2, 0, 4], num_threads=num_threads)
  assert [next(results), next(results)] == [1, 1 / 2]
  with pytest.raises(ZeroDivisionError):
    next(results)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_of_the_items_comes_through(num_threads):
  def items():
    yield 1
    raise ValueError("of the items")

  with pytest.raises(ValueError, match="of the items"):
    list(beside.mapped(abs, items(), num_threads=num_threads))


@pytest.fixture(name="dropped")
def fixture_dropped(monkeypatch):
  """An event: what has not begun has been dropped."""
  event = threading.Event()

  class Pool(futures.ThreadPoolExecutor):

    def shutdown(self, wait=True, *, cancel_futures=False):
      super().shutdown(wait=False, cancel_futures=cancel_futures)
      event.set()
      super().shutdown(wait=wait)

  monkeypatch.setattr(futures, "ThreadPoolExecutor", Pool)
  return event


def test_closed_early_it_drops_what_has_not_begun(dropped):
  begun = []

  def work(item):
    begun.append(item)
    assert item == 0 or dropped.wait(300)
    return item

  with contextlib.closing(beside.mapped(
      work, range(50), num_threads=1)) as results:
    assert next(results) == 0
  assert len(begun) <= 3


@pytest.mark.parametrize("moment", ["drawing", "waiting"])
def test_a_signal_ends_it_at_once(moment, monkeypatch, dropped):
  before = signal.signal(signal.SIGTERM, interruption._handle)
  monkeypatch.setattr(interruption, "_pending", None)
  monkeypatch.setattr(interruption, "_raised", False)
  begun = []

  def items():
    for item in range(10):
      if moment == "drawing" and item == 5:
        signal.raise_signal(signal.SIGTERM)
      yield item

  def work(item):
    begun.append(item)
    if moment == "waiting" and item == 2:
      signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
      assert dropped.wait(300)
    return item

  try:
    with pytest.raises(interruption.Interrupted):
      for _ in beside.mapped(work, items(), num_threads=1):
        pass
  finally:
    signal.signal(signal.SIGTERM, before)
  assert len(begun) <= 5
