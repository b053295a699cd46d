"""Runs signatures, several callers' rows at once where they fit.

Rows of callers that wait at the same time for the same signature are joined on
axis 0, run once, and handed back. A run that fails is repeated for each caller
alone: so an error, and the index it names, is of that caller's own rows, and
one caller's bad image never fails another's.
"""

from concurrent import futures
import os
import threading
import time

import numpy as np

from kdwsd.serving.server import codes


class Batcher:
  """Threads that run signatures.

  Joined rows come from calls of one signature of one version whose inputs have
  equal types and equal shapes but for axis 0. With padding, other axes may
  differ: inputs are filled up, with TensorFlow Serving's values, and outputs
  may be longer than those of the call alone. A call of more rows than
  `max_batch_size` runs alone, whole.
  """

  def __init__(self, *, max_batch_size, batch_timeout_micros, num_threads,
               metrics, pad_variable_length_inputs=False):
    """Starts the threads.

    Args:
      max_batch_size: rows joined at most; 1 joins none.
      batch_timeout_micros: how long the first call of a batch waits for
        others. With 0 only what waits already, because all threads were busy,
        is joined: nobody waits for company.
      num_threads: runs at the same time; 0: one a CPU core.
      metrics: `metrics.Metrics`.
      pad_variable_length_inputs: whether inputs are filled up, as above.
    """
    self._pads = pad_variable_length_inputs
    self._max_rows = max_batch_size
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
    """Has a signature run on {name: [rows, ...] array}, which it has checked.

    Returns:
      `concurrent.futures.Future` of {name: array}, or of a
      `codes.ServingError` if the graph refuses. It is never run when it is
      cancelled in time.
    """
    call = _Call(signature, inputs, self._max_rows, self._pads)
    with self._changed:
      if self._stopping:
        raise codes.ServingError(
            codes.Code.UNAVAILABLE, "The server stops.")
      self._groups.setdefault(call.key, []).append(call)
      self._changed.notify()
    return call.answer

  def stop(self):
    """Runs what waits, then ends the threads."""
    with self._changed:
      self._stopping = True
      self._changed.notify_all()
    for thread in self._threads:
      thread.join()

  def _work(self):
    while calls := self._take():
      self._run([call for call in calls
                 if call.answer.set_running_or_notify_cancel()])
      del calls  # The last reference to a version that has gone, perhaps.

  def _take(self):
    """Waits for calls to run together; none when the server stops."""
    with self._changed:
      while True:
        now, wait = time.monotonic(), None
        for key, calls in self._groups.items():
          left = calls[0].since + self._patience - now
          if (left <= 0 or self._stopping or not calls[0].joins
              or sum(call.rows for call in calls) >= self._max_rows):
            return self._pop(key)
          wait = left if wait is None else min(left, wait)
        if self._stopping:
          return []
        self._changed.wait(wait)

  def _pop(self, key):
    calls = self._groups.pop(key)
    number, rows = 1, calls[0].rows
    while number < len(calls) and rows + calls[number].rows <= self._max_rows:
      rows += calls[number].rows
      number += 1
    if number < len(calls):  # The rest is the oldest no more, or nearly so.
      self._groups[key] = calls[number:]
      self._changed.notify()
    return calls[:number]

  def _run(self, calls):
    if len(calls) > 1 and self._run_joined(calls):
      return
    for call in calls:
      try:
        outputs = self._run_once(call.signature, call.inputs, call.rows)
        self._metrics.count_examples(call.rows)
        call.answer.set_result(outputs)
      except Exception as error:  # pylint: disable=broad-exception-caught
        call.answer.set_exception(codes.from_exception(error))

  def _run_joined(self, calls):
    """Whether the calls were answered by one run."""
    signature = calls[0].signature
    inputs = {
        name: np.concatenate(_padded([call.inputs[name] for call in calls]))
        for name in calls[0].inputs}
    ends = np.cumsum([call.rows for call in calls])
    try:
      outputs = self._run_once(signature, inputs, ends[-1])
    except Exception:  # pylint: disable=broad-exception-caught
      return False  # Whose fault it is, shows when each runs alone.
    if any(not value.ndim or len(value) != ends[-1]
           for value in outputs.values()):
      signature.joins = False
      return False
    self._metrics.count_examples(int(ends[-1]))
    for call, end in zip(calls, ends):
      call.answer.set_result({name: value[end - call.rows:end]
                              for name, value in outputs.items()})
    return True

  def _run_once(self, signature, inputs, rows):
    start = time.monotonic()
    outputs = signature.run(inputs)
    self._metrics.count_batch(rows, time.monotonic() - start)
    return outputs


class _Call:
  """A caller's rows, and the future of its answer."""

  def __init__(self, signature, inputs, max_rows, pads):
    self.signature, self.inputs = signature, inputs
    self.since = time.monotonic()
    self.answer = futures.Future()
    lengths = {len(value) if value.ndim else -1 for value in inputs.values()}
    self.rows = max(lengths, default=-1)
    self.joins = (signature.joins and len(lengths) == 1
                  and 0 < self.rows <= max_rows and max_rows > 1)
    self.rows = max(self.rows, 1)
    named = sorted(inputs.items())
    self.key = object() if not self.joins else (
        signature, *((name, value.dtype.str,
                      # Nothing is known to fill up an empty array with.
                      value.ndim if pads and value.size else value.shape[1:])
                     for name, value in named),
        # Filling up must not make lengths equal that a graph holds against each
        # other: so calls are joined whose inputs are in one order of length.
        *(np.unique([value.shape[1] for _, value in named if value.ndim > 1],
                    return_inverse=True)[1].tolist() if pads else ()))


def _padded(arrays):
  """Fills up arrays to one shape but for axis 0.

  With the first value of the array that is filled up, not with zeros. Source:
  TF Serving 2.15, batching/batching_util.cc, PadTensor.
  """
  shapes = [array.shape[1:] for array in arrays]
  if len(set(shapes)) == 1:
    return arrays
  largest = np.max(shapes, axis=0)
  return [np.pad(array, [(0, 0), *((0, size) for size in largest - shape)],
                 constant_values=array.flat[0])
          for array, shape in zip(arrays, shapes)]
