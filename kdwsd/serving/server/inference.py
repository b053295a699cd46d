"""What REST and gRPC share: a bounded number of calls, each measured."""

import contextlib
import threading
import time

from absl import logging
import numpy as np
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import servables


class Inference:
  """Answers calls, whatever the protocol they came by.

  A `spec` is a `ModelSpec`. All that a caller does wrong raises a
  `codes.ServingError`.

  Attributes:
    model: `models.Model`.
  """

  def __init__(self, model, batcher, metrics, *, max_in_flight,
               max_request_rows):
    """Takes `models.Model`, `batching.Batcher` and `metrics.Metrics`."""
    self.model = model
    self._batcher = batcher
    self._metrics = metrics
    self._max_rows = max_request_rows
    self._max_in_flight = max_in_flight
    self._free = threading.Semaphore(max_in_flight)
    metrics.versions_available.set_function(lambda: len(model.available()))

  @contextlib.contextmanager
  def call(self, model_name, api, entrypoint):
    """Admits and measures a call of an API, "Predict", by "REST" or "GRPC".

    Whatever is raised inside leaves as a `codes.ServingError`.
    """
    start, code = time.monotonic(), codes.Code.OK
    admitted = self._free.acquire(blocking=False)
    try:
      if not admitted:
        raise codes.ServingError(
            codes.Code.UNAVAILABLE, f"Busy: {self._max_in_flight} calls are "
            "being answered (--max_in_flight). Try again.")
      with self._metrics.calls_in_flight.track_inprogress():
        yield
    except Exception as error:
      # Under its name the error goes at the end; another one would make a
      # cycle that keeps the version in memory.
      error = codes.from_exception(error)
      code = error.code
      if code == codes.Code.INTERNAL:
        logging.error("A call of %s failed.", api, exc_info=True)
      raise error
    finally:
      if admitted:
        self._free.release()
      self._metrics.count_call(
          model_name, api, entrypoint, code.name, time.monotonic() - start)

  def submit(self, signature, inputs):
    """Has a `servables.Signature` run on {name: array}, once they are checked.

    Returns:
      `concurrent.futures.Future`, see `batching.Batcher.submit`.
    """
    signature.check(inputs)
    rows = max((len(value) for value in inputs.values() if value.ndim),
               default=1)
    if rows > self._max_rows:
      raise codes.invalid(
          f"Expected {self._max_rows} rows a request at most "
          f"(--max_request_rows). Received: {rows}.")
    return self._batcher.submit(signature, inputs)

  def classifier(self, spec):
    """The signature that `Classify` calls."""
    return self.model.find(spec).signature(
        spec.signature_name, servables.CLASSIFY)

  def regress(self, spec):
    """Refuses; no export has a regression signature."""
    self.model.find(spec).signature(spec.signature_name, servables.REGRESS)
    raise codes.ServingError(
        codes.Code.UNIMPLEMENTED, "Regress is not served here.")

  def status(self, spec):
    """`GetModelStatusResponse`."""
    return get_model_status_pb2.GetModelStatusResponse(
        model_version_status=self.model.statuses(spec))

  def metadata(self, spec):
    """`GetModelMetadataResponse`."""
    loaded = self.model.find(spec)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = loaded.version
    response.metadata["signature_def"].Pack(
        get_model_metadata_pb2.SignatureDefMap(
            signature_def=loaded.definitions))
    return response


def classification(signature, outputs):
  """`ClassificationResult` of the outputs of a classify signature."""
  given = {name: outputs[name] for name in ("classes", "scores")
           if name in outputs}
  shape = next(iter(given.values()), np.zeros([])).shape
  classes = given.get("classes", np.full(shape, b"", object))
  scores = given.get("scores", np.zeros(shape, np.float32))
  if (len(shape) != 2 or classes.shape != scores.shape
      or classes.dtype != object or scores.dtype != np.float32):
    raise codes.invalid(
        f"Signature {signature.name}: expected outputs classes and scores, "
        "strings and float32 of shape [B,C]. Received: "
        f"{ {name: value.shape for name, value in outputs.items()} }.")
  result = classification_pb2.ClassificationResult()
  for labels, numbers in zip(classes, scores):
    answer = result.classifications.add()
    for label, score in zip(labels, numbers):
      answer.classes.add(label=label.decode("utf-8", "replace"), score=score)
  return result


def too_late():
  """The error of a call whose time is over."""
  return codes.ServingError(
      codes.Code.DEADLINE_EXCEEDED, "The time for this request is over.")
