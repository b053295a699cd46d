"""What REST and gRPC share: a bounded number of calls, each measured."""

import contextlib
import threading
import time

from absl import logging
import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import servables

_OTHER_MODEL = "(other)"


class Inference:
  """Answers calls, whatever the protocol they came by.

  Attributes:
    model: `models.Model`.
  """

  def __init__(self, model, batcher, metrics, *, max_in_flight,
               max_request_rows):
    """Makes it.

    Args:
      model: `models.Model`.
      batcher: `batching.Batcher`.
      metrics: `metrics.Metrics`.
      max_in_flight: calls answered at the same time; one more is refused.
      max_request_rows: a call may ask for.
    """
    self.model = model
    self._batcher = batcher
    self._metrics = metrics
    self._max_rows = max_request_rows
    self._max_in_flight = max_in_flight
    self._in_flight = 0
    self._idle = threading.Condition()
    metrics.add_gauge("kdwsd_calls_in_flight", lambda: self._in_flight)

  @contextlib.contextmanager
  def call(self, model_name, api, entrypoint):
    """Admits and measures a call.

    Args:
      model_name: that the caller gave.
      api: "Predict", ...
      entrypoint: "REST" or "GRPC".

    Raises:
      codes.ServingError: whatever was raised inside, or too many calls are
        being answered.
    """
    start, code = time.monotonic(), codes.OK
    try:
      with self._admitted():
        yield
    except Exception as error:
      cause = codes.from_exception(error)
      code = cause.code
      if code == codes.INTERNAL:
        logging.error("A call of %s failed.", api, exc_info=True)
      if cause is error:
        raise
      raise cause from error
    finally:
      if model_name != self.model.name:
        model_name = _OTHER_MODEL  # Anybody can make up any number of names.
      self._metrics.count_call(
          model_name, api, entrypoint, code, time.monotonic() - start)

  def predict(self, loaded, signature_name, inputs, deadline, wanted=()):
    """Runs a signature.

    Args:
      loaded: `servables.LoadedVersion`.
      signature_name: or empty.
      inputs: {name: array}.
      deadline: of `time.monotonic`.
      wanted: names of the outputs to give; none for all.

    Returns:
      {name: array}.

    Raises:
      codes.ServingError: see `codes`.
    """
    signature = loaded.signature(signature_name)
    unknown = sorted(set(wanted) - set(signature.outputs))
    if unknown or len(set(wanted)) < len(wanted):
      raise codes.invalid(
          f"output_filter: expected some of {', '.join(signature.outputs)}, "
          f"each once. Received: {', '.join(wanted)}.")
    outputs = self._run(signature, inputs, deadline)
    return {name: outputs[name] for name in (wanted or sorted(outputs))}

  def classify(self, loaded, signature_name, examples, deadline):
    """Runs a classify signature.

    Args:
      loaded: `servables.LoadedVersion`.
      signature_name: or empty.
      examples: [B] array of serialized `tf.Example`.
      deadline: of `time.monotonic`.

    Returns:
      ([B, C] array of bytes or None, [B, C] float32 array or None).

    Raises:
      codes.ServingError: see `codes`.
    """
    signature = loaded.signature_with_method(signature_name, servables.CLASSIFY)
    outputs = self._run(signature, {"inputs": examples}, deadline)
    classes, scores = outputs.get("classes"), outputs.get("scores")
    given = [value for value in (classes, scores) if value is not None]
    shape = given[0].shape if given else ()
    if (len(shape) != 2 or shape[0] != len(examples)
        or any(value.shape != shape for value in given)
        or (classes is not None and classes.dtype != object)
        or (scores is not None and scores.dtype != np.float32)):
      raise codes.invalid(
          f"Signature {signature.name}: expected outputs classes and scores, "
          f"strings and float32 of shape [{len(examples)},C]. Received: "
          f"{ {name: value.shape for name, value in outputs.items()} }.")
    return classes, scores

  def refuse_regression(self, loaded, signature_name):
    """Raises what a call of `Regress` is answered.

    Raises:
      codes.ServingError: always; no model here has such a signature, and the
        server does not run one.
    """
    loaded.signature_with_method(signature_name, servables.REGRESS)
    raise codes.ServingError(
        codes.UNIMPLEMENTED, "Regress is not served here; TF Serving does.")

  def status(self, reference):
    """What became of the versions that a `models.Reference` names.

    Returns:
      `GetModelStatusResponse`.

    Raises:
      codes.ServingError: there are none.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in self.model.statuses(reference):
      one = response.model_version_status.add()
      one.version = status.version
      one.state = one.State.Value(status.state)
      one.status.error_code = codes.NAMES.index(status.code)
      one.status.error_message = status.message
    return response

  def metadata(self, reference):
    """The signatures of the version that a `models.Reference` names.

    Returns:
      `GetModelMetadataResponse`.

    Raises:
      codes.ServingError: there is no such version.
    """
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with self.model.use(reference) as loaded:
      response.model_spec.name = reference.name
      response.model_spec.version.value = loaded.version
      definitions = get_model_metadata_pb2.SignatureDefMap()
      for name, definition in loaded.definitions.items():
        definitions.signature_def[name].CopyFrom(definition)
      response.metadata["signature_def"].Pack(definitions)
    return response

  def wait_until_idle(self, timeout):
    """Whether, within seconds, all calls have been answered."""
    with self._idle:
      return self._idle.wait_for(lambda: not self._in_flight, timeout)

  def _run(self, signature, inputs, deadline):
    signature.check(inputs)
    rows = max((len(value) for value in inputs.values() if value.ndim),
               default=1)
    if rows > self._max_rows:
      raise codes.invalid(
          f"Expected {self._max_rows} rows a request at most "
          f"(--max_request_rows). Received: {rows}.")
    outputs = self._batcher.run(signature, inputs, deadline)
    self._metrics.count_examples(self.model.name, rows)
    return outputs

  @contextlib.contextmanager
  def _admitted(self):
    with self._idle:
      if self._in_flight >= self._max_in_flight:
        raise codes.ServingError(
            codes.UNAVAILABLE, f"Busy: {self._max_in_flight} calls are being "
            "answered (--max_in_flight). Try again.")
      self._in_flight += 1
    try:
      yield
    finally:
      with self._idle:
        self._in_flight -= 1
        self._idle.notify_all()
