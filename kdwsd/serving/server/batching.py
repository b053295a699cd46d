"""Runs signatures, several callers' rows at once where they fit.

Rows of callers that wait at the same time for the same signature are joined on
axis 0, run once, and split again. A failed run is repeated for each caller
alone: so an error, and the index it names, is of that caller's own rows, and
one caller's bad image never fails another's.
"""

from concurrent import futures
import itertools
import os
import threading
import time

import numpy as np

from kdwsd.serving.server import codes


class Batcher:
  """Threads that run signatures.

  Calls are joined if they are of one signature of one version, and their inputs
  have equal types and equal shapes but for axis 0.
  """

  def __init__(self, *, max_batch_size, max_request_rows, batch_timeout_micros,
               num_threads, metrics):
    """Starts the threads.

    Args:
      max_batch_size: rows joined at most; a call of more runs alone.
      max_request_rows: a call of more is refused.
      batch_timeout_micros: how long the first call of a batch waits for others.
        With 0 only calls are joined that wait because all threads are busy.
      num_threads: runs at the same time; 0: one a CPU core.
      metrics: `metrics.Metrics`.
    """
    self._max_rows, self._max_request_rows = max_batch_size, max_request_rows
    self._patience = 1e-6 * batch_timeout_micros
    self._metrics = metrics
    self._changed = threading.Condition()
    self._groups = {}  # {key: calls}, oldest first call first.
    self._stopping = False
    self._threads = [
        threading.Thread(target=self._work, name=f"batch-{n}", daemon=True)
        for n in range(num_threads or os.cpu_count() or 1)]
    for thread in self._threads:
      thread.start()

  def submit(self, signature, inputs):
    """Queues a run of a `servables.Signature` on {name: array}.

    Returns:
      `concurrent.futures.Future` of {name: array}, or of a
      `codes.ServingError`. One that is cancelled while it waits is never run.
    """
    signature.check(inputs)
    call = _Call(signature, inputs, self._max_rows)
    if call.rows > self._max_request_rows:
      raise codes.invalid(
          f"Expected {self._max_request_rows} rows a request at most "
          f"(--max_request_rows). Received: {call.rows}.")
    with self._changed:
      if self._stopping:
        raise codes.ServingError(
            codes.Code.UNAVAILABLE, "The server is stopping.")
      self._groups.setdefault(call.key, []).append(call)
      self._changed.notify()
    return call.answer

  def stop(self):
    """Runs the calls that wait, then ends the threads."""
    with self._changed:
      self._stopping = True
      self._changed.notify_all()
    for thread in self._threads:
      thread.join()

  def _work(self):
    while calls := self._take():
      self._run([call for call in calls
                 if call.answer.set_running_or_notify_cancel()])
      del calls  # The last reference to a retired version, perhaps.

  def _take(self):
    """Waits for calls to run together; none when the server stops."""
    with self._changed:
      while True:
        now, waits = time.monotonic(), []
        for key, calls in self._groups.items():
          waits.append(calls[0].since + self._patience - now)
          if (waits[-1] <= 0 or self._stopping or not calls[0].joins
              or sum(call.rows for call in calls) >= self._max_rows):
            return self._pop(key)
        if self._stopping:
          return []
        self._changed.wait(min(waits, default=None))

  def _pop(self, key):
    calls = self._groups.pop(key)
    number = max(1, sum(rows <= self._max_rows for rows in itertools.accumulate(
        call.rows for call in calls)))
    if calls[number:]:
      self._groups[key] = calls[number:]
      self._changed.notify()
    return calls[:number]

  def _run(self, calls):
    """Answers calls by one run, or each by its own if that fails."""
    if not calls:
      return
    signature, inputs = calls[0].signature, calls[0].inputs
    if len(calls) > 1:
      inputs = {name: np.concatenate([call.inputs[name] for call in calls])
                for name in inputs}
    ends = list(itertools.accumulate(call.rows for call in calls))
    start = time.monotonic()
    try:
      outputs = signature.run(inputs)
      results = [outputs]
      if len(calls) > 1:
        if any(value.shape[:1] != (ends[-1],) for value in outputs.values()):
          signature.joins = False
          raise ValueError("outputs without a row for each row of the inputs")
        results = [dict(zip(outputs, parts)) for parts in zip(*(
            np.split(value, ends[:-1]) for value in outputs.values()))]
    except Exception as error:  # pylint: disable=broad-exception-caught
      if len(calls) == 1:
        calls[0].answer.set_exception(codes.from_exception(error))
        return
      results = None
    if results is None:
      for call in calls:
        self._run([call])
      return
    seconds = time.monotonic() - start
    for call, result in zip(calls, results):
      call.answer.set_result(result)
    self._metrics.examples.inc(ends[-1])
    self._metrics.batch_rows.observe(ends[-1])
    self._metrics.batch_run.observe(1e6 * seconds)


class _Call:
  """A caller's rows, and the future of its answer."""

  def __init__(self, signature, inputs, max_rows):
    self.signature, self.inputs = signature, inputs
    self.since, self.answer = time.monotonic(), futures.Future()
    lengths = {len(value) if value.ndim else 0 for value in inputs.values()}
    self.rows = max(lengths, default=0)
    self.joins = (signature.joins and len(lengths) == 1
                  and 0 < self.rows <= max_rows)
    self.key = self if not self.joins else (
        signature, *((name, value.dtype.str, value.shape[1:])
                     for name, value in sorted(inputs.items())))
