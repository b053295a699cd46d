"""Rows of several callers are run together, and each gets its own back."""

from concurrent import futures
import threading
import time

import numpy as np
import pytest

from kdwsd.serving.server import batching
from kdwsd.serving.server import codes
from kdwsd.serving.server import metrics as metrics_lib

# Seconds, for what takes none on an idle machine.
_LONG = 300.0


class _Signature:
  """Doubles; notes the rows of each run; can be held, and refuses -1."""

  def __init__(self):
    self.joins = True
    self.begun = 0
    self.runs = []
    self.gate = threading.Event()
    self.gate.set()

  def check(self, inputs):
    assert inputs

  def run(self, inputs):
    self.begun += 1
    self.gate.wait(_LONG)
    x = inputs["x"]
    self.runs.append(len(x) if x.ndim else None)
    if np.any(x == -1):
      raise codes.invalid(f"x[{np.argwhere(x == -1)[0, 0]}]: bad")
    return {"y": 2 * x}


def _batcher(**changes):
  return batching.Batcher(**{
      "max_batch_size": 8, "max_request_rows": 100,
      "batch_timeout_micros": 0, "num_threads": 1,
      "metrics": metrics_lib.Metrics("student", 1), **changes})


def _wait_until(batcher, signature, before, num_waiting):
  """Until one more run than before has begun and so many calls wait."""
  end = time.monotonic() + _LONG
  while time.monotonic() < end:
    groups = batcher._groups  # pylint: disable=protected-access
    if (signature.begun > before
        and sum(map(len, list(groups.values()))) == num_waiting):
      return
    time.sleep(0.001)
  raise AssertionError("calls do not arrive")


def _run(batcher, signature, inputs, seconds=_LONG):
  return batcher.submit(signature, inputs).result(seconds)


def _call_all(batcher, signature, arrays, meanwhile=lambda: None):
  """Calls with each array from a thread of its own, in order.

  An array is the input x; a dictionary has all inputs.
  """
  answers = [None] * len(arrays)

  def call(index):
    inputs = arrays[index]
    try:
      answers[index] = _run(
          batcher, signature,
          inputs if isinstance(inputs, dict) else {"x": inputs})["y"]
    except codes.ServingError as error:
      answers[index] = error

  signature.gate.clear()
  before, threads = signature.begun, []
  for index in range(len(arrays)):
    threads.append(threading.Thread(target=call, args=(index,)))
    threads[-1].start()
    # The first is taken and held at the gate; the others wait in this order.
    _wait_until(batcher, signature, before, index)
  meanwhile()
  signature.gate.set()
  for thread in threads:
    thread.join()
  return answers


def test_calls_that_wait_are_joined_and_each_gets_its_rows():
  batcher, signature = _batcher(), _Signature()
  arrays = [np.arange(3 * n, 3 * n + 3)[:, None] for n in range(5)]
  answers = _call_all(batcher, signature, arrays)
  batcher.stop()
  # The first was run when it came; then two of three rows fit into eight.
  assert signature.runs == [3, 6, 6]
  for array, answer in zip(arrays, answers):
    np.testing.assert_array_equal(answer, 2 * array)


def test_one_callers_bad_row_is_named_as_its_own_and_fails_nobody_else():
  batcher, signature = _batcher(), _Signature()
  arrays = [np.array(rows) for rows in ([1], [2, 3], [4, -1], [5], [-1])]
  answers = _call_all(batcher, signature, arrays)
  batcher.stop()
  assert signature.runs == [1, 6, 2, 2, 1, 1]
  for index in (0, 1, 3):
    np.testing.assert_array_equal(answers[index], 2 * arrays[index])
  assert answers[2].message == "x[1]: bad"
  assert answers[4].message == "x[0]: bad"


def test_other_shapes_and_types_are_not_joined():
  batcher, signature = _batcher(), _Signature()
  arrays = [np.zeros([1, 2]), np.zeros([1, 2]), np.zeros([1, 3]),
            np.zeros([1, 2], np.float32), np.zeros([1, 2]), np.float64(1),
            np.zeros([0, 2])]
  answers = _call_all(batcher, signature, arrays)
  batcher.stop()
  assert sorted(signature.runs, key=str) == [0, 1, 1, 1, 2, None]
  for array, answer in zip(arrays, answers):
    assert answer.shape == array.shape
    assert answer.dtype == array.dtype


def test_more_rows_than_a_batch_run_alone_and_whole():
  batcher, signature = _batcher(), _Signature()
  _call_all(batcher, signature, [np.ones(1), np.ones(20), np.ones(2)])
  batcher.stop()
  assert sorted(signature.runs) == [1, 2, 20]


def test_outputs_without_rows_end_the_joining():
  batcher, signature = _batcher(), _Signature()
  doubled = signature.run
  signature.run = lambda inputs: {"y": doubled(inputs)["y"].sum()}
  answers = _call_all(
      batcher, signature, [np.ones(1), np.ones(2), np.ones(3)])
  batcher.stop()
  assert answers == [2, 4, 6]
  assert not signature.joins


def test_a_timeout_lets_the_first_call_wait_for_company():
  batcher = _batcher(batch_timeout_micros=1e6 * _LONG)
  signature = _Signature()
  threads = [
      threading.Thread(target=lambda: _run(
          batcher, signature, {"x": np.ones(4)}))
      for _ in range(2)]
  threads[0].start()
  time.sleep(0.05)
  assert not signature.runs
  threads[1].start()
  for thread in threads:
    thread.join()
  assert signature.runs == [8]  # Full: nobody waits for the time to end.
  batcher.stop()


def test_a_timeout_ends():
  batcher, signature = _batcher(batch_timeout_micros=20_000), _Signature()
  _run(batcher, signature, {"x": np.ones(1)})
  assert signature.runs == [1]
  batcher.stop()


def test_who_waits_too_long_is_never_run():
  batcher, signature = _batcher(), _Signature()
  signature.gate.clear()
  first = batcher.submit(signature, {"x": np.ones(1)})
  while not signature.begun:
    time.sleep(0.001)
  second = batcher.submit(signature, {"x": np.ones(2)})
  with pytest.raises(futures.TimeoutError):
    second.result(0.05)
  assert second.cancel()
  signature.gate.set()
  assert first.result(_LONG)["y"] == [2]
  batcher.stop()
  assert signature.runs == [1]


def test_a_stop_answers_who_waits_and_refuses_who_comes():
  batcher, signature = _batcher(), _Signature()
  stopper = threading.Thread(target=batcher.stop)
  answers = _call_all(batcher, signature, [np.ones(1)] * 12,
                      meanwhile=stopper.start)
  stopper.join()
  assert [float(answer[0]) for answer in answers] == [2.0] * 12
  with pytest.raises(codes.ServingError) as caught:
    batcher.submit(signature, {"x": np.ones(1)})
  assert caught.value.code.name == "UNAVAILABLE"


def test_an_exception_of_any_kind_ends_no_thread():
  batcher, signature = _batcher(), _Signature()
  good = signature.run

  def fail(inputs):
    raise KeyError("oops")

  signature.run = fail
  with pytest.raises(codes.ServingError, match="KeyError"):
    _run(batcher, signature, {"x": np.ones(1)})
  signature.run = good
  assert _run(batcher, signature, {"x": np.ones(1)})["y"] == [2]
  batcher.stop()
