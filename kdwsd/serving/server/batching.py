"""Runs signatures, several callers' rows at once where they fit.

Rows of callers that wait at the same time for the same signature are joined on
axis 0, run once, and split again. A failed run is repeated for each caller
alone: so an error, and the index it names, is of that caller's own rows, and
one caller's bad image never fails another's.
"""

from concurrent import futures
import itertools
import os
import queue
import threading
import time

import numpy as np

from kdwsd.serving.server import codes


class Batcher:
  """Threads that run signatures.

  Calls are joined if they are of one signature of one version, and their inputs
  have equal types and equal shapes but for axis 0.

  Args:
    max_batch_size: rows joined at most; a call of more runs alone.
    max_request_rows: a call of more is refused.
    batch_timeout_micros: how long the first call of a batch waits for others.
      With 0 only calls are joined that wait because all threads are busy.
    num_threads: runs at the same time; 0: one a CPU core.
    metrics: `metrics.Metrics`.
  """

  def __init__(self, *, max_batch_size, max_request_rows, batch_timeout_micros,
               num_threads, metrics):
    self._max_rows, self._max_request_rows = max_batch_size, max_request_rows
    self._patience = 1e-6 * batch_timeout_micros
    self._metrics = metrics
    self._changed = threading.Condition()
    self._groups = {}  # {key: calls that wait}
    # Keys, of each call one; None ends a thread. With an executor the way to
    # another thread takes longer.
    self._turns = queue.SimpleQueue()
    self._stopping = False
    self._threads = [
        threading.Thread(target=self._serve, name="batch", daemon=True)
        for _ in range(num_threads or os.cpu_count())]
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
      self._changed.notify_all()
      self._turns.put(call.key)
    return call.answer

  def stop(self):
    """Runs the calls that wait, then ends the threads."""
    with self._changed:
      self._stopping, self._patience = True, 0
      self._changed.notify_all()
      for _ in self._threads:
        self._turns.put(None)
    for thread in self._threads:
      thread.join()

  def _serve(self):
    while (key := self._turns.get()) is not None:
      self._work(key)

  def _work(self, key):
    """Runs calls of a key; there may be none, as each call has this called."""
    with self._changed:
      while (calls := self._groups.get(key, [])) and calls[0].joins and (
          sum(call.rows for call in calls) < self._max_rows):
        left = calls[0].since + self._patience - time.monotonic()
        if left <= 0:
          break
        self._changed.wait(left)
      number = max(1, sum(
          rows <= self._max_rows for rows in itertools.accumulate(
              call.rows for call in calls)))
      self._groups[key] = calls[number:]
      if not self._groups[key]:
        del self._groups[key]
    calls = [call for call in calls[:number]
             if call.answer.set_running_or_notify_cancel()]
    if len(calls) > 1 and self._run(calls):
      return
    for call in calls:
      self._run([call])

  def _run(self, calls):
    """Runs calls as one; whether it has answered them, as it does one alone."""
    signature, inputs = calls[0].signature, calls[0].inputs
    ends = list(itertools.accumulate(call.rows for call in calls))
    try:
      if len(calls) > 1:
        inputs = {name: np.concatenate([call.inputs[name] for call in calls])
                  for name in inputs}
      outputs = signature.run(inputs)
    except Exception as error:  # pylint: disable=broad-exception-caught
      if len(calls) == 1:
        calls[0].answer.set_exception(codes.from_exception(error))
      return False  # Whose fault it is shows when each runs alone.
    if len(calls) == 1:
      calls[0].answer.set_result(outputs)
    elif any(value.shape[:1] != (ends[-1],) for value in outputs.values()):
      signature.joins = False
      return False
    else:
      for call, end in zip(calls, ends):
        call.answer.set_result({name: value[end - call.rows:end]
                                for name, value in outputs.items()})
    self._metrics.examples.inc(ends[-1])
    self._metrics.batch_rows.observe(ends[-1])
    return True


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
