"""Joins requests as TensorFlow Serving's batching does, faults included.

`kdwsd.serving.server.batching` repeats a failed run for each caller, so that no
caller meets another's fault. TensorFlow Serving does not: it fails all calls of
a batch. Inputs that differ behind axis 0 fail too, or are padded with the first
value of the tensor that is padded, never with zero, under
`pad_variable_length_inputs`. Source: TensorFlow Serving 2.15,
batching/batching_session.cc and batching_util.cc.
"""

from concurrent import futures
import threading

import numpy as np

from kdwsd.serving.server import codes

# Seconds for calls that are expected, on a machine that is busy.
_PATIENCE = 240.0


class Batcher:
  """In the place of `batching.Batcher`; one thread, which waits for company.

  Attributes:
    joined: number of calls of each run.
  """

  def __init__(self, *, pad=False, wait=0.02, max_calls=8):
    """Starts the thread.

    Args:
      pad: `pad_variable_length_inputs`.
      wait: seconds from the first call of a batch to its run.
      max_calls: of a batch; then nobody waits.
    """
    self.joined = []
    self._pad, self._wait, self._max_calls = pad, wait, max_calls
    self._changed = threading.Condition()
    self._calls, self._expected, self._stopping = [], 1, False
    self._thread = threading.Thread(target=self._work, daemon=True)
    self._thread.start()

  def expect(self, calls):
    """Forgets `joined`; the next run waits for so many calls, however late."""
    with self._changed:
      self._expected = calls
      self.joined.clear()

  def submit(self, signature, inputs):
    """As `batching.Batcher.submit`."""
    call = _Call(signature, inputs)
    with self._changed:
      self._calls.append(call)
      self._changed.notify_all()
    return call.answer

  def stop(self):
    """Ends the thread."""
    with self._changed:
      self._stopping = True
      self._changed.notify_all()
    self._thread.join()

  def _work(self):
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._calls or self._stopping)
        if not self._calls:
          return
        for calls, seconds in ((self._expected, _PATIENCE),
                               (self._max_calls, self._wait)):
          self._changed.wait_for(
              lambda calls=calls: len(self._calls) >= calls or self._stopping,
              seconds)
        self._expected = 1
        first = self._calls[0].signature
        batch = [call for call in self._calls
                 if call.signature is first][:self._max_calls]
        self._calls = [call for call in self._calls if call not in batch]
      self.joined.append(len(batch))
      try:
        self._run(first, batch)
      except Exception as error:  # pylint: disable=broad-exception-caught
        for call in batch:
          call.answer.set_exception(codes.from_exception(error))

  def _run(self, signature, batch):
    rows = [len(next(iter(call.inputs.values()))) for call in batch]
    outputs = signature.run({
        name: self._concatenate(name, [call.inputs[name] for call in batch])
        for name in batch[0].inputs})
    ends = np.cumsum(rows)
    for call, count, end in zip(batch, rows, ends):
      call.answer.set_result({
          name: values[end - count:end] for name, values in outputs.items()})

  def _concatenate(self, name, tensors):
    if self._pad:
      shape = np.max([tensor.shape[1:] for tensor in tensors], axis=0)
      tensors = [_padded(tensor, shape) for tensor in tensors]
    elif len({tensor.shape[1:] for tensor in tensors}) > 1:
      raise codes.ServingError(
          codes.Code.FAILED_PRECONDITION, f"Tensors with name '{name}' from "
          "different tasks have different shapes and padding is turned off.")
    return np.concatenate(tensors)


class _Call:
  """A request, and the future of its answer."""

  def __init__(self, signature, inputs):
    self.signature, self.inputs = signature, inputs
    self.answer = futures.Future()


def _padded(tensor, shape):
  if tensor.shape[1:] == tuple(shape):
    return tensor
  if not tensor.size:
    raise codes.invalid("Got empty tensor in batch of non-empty tensors.")
  return np.pad(
      tensor, [(0, 0), *((0, most - size) for most, size in zip(
          shape, tensor.shape[1:]))], constant_values=tensor.flat[0])
