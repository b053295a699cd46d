"""TF Serving's gRPC API: PredictionService and ModelService.

Not here, and answered UNIMPLEMENTED: MultiInference and the reload of a
configuration.
"""

from concurrent import futures
import contextlib
import time

import grpc
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import models
from kdwsd.serving.server import servables
from kdwsd.serving.server import tensor_protos

# Calls that are neither refused nor answered wait for a thread; so many
# threads more than calls in flight refuse, and tell the status meanwhile.
_SPARE_THREADS = 8


def make_server(inference, address, *, max_in_flight, max_request_bytes,
                timeout_seconds):
  """Makes a server that holds its port and answers once it is started.

  Args:
    inference: `inference.Inference`.
    address: "host:port"; port 0 for any that is free.
    max_in_flight: as of `inference`.
    max_request_bytes: a longer request is RESOURCE_EXHAUSTED.
    timeout_seconds: for calls without a deadline of their own.

  Returns:
    (`grpc.Server`, its port).

  Raises:
    errors.InputError: the port is taken.
  """
  server = grpc.server(
      futures.ThreadPoolExecutor(
          max_in_flight + _SPARE_THREADS, thread_name_prefix="grpc"),
      maximum_concurrent_rpcs=4 * (max_in_flight + _SPARE_THREADS),
      options=[
          ("grpc.so_reuseport", 0),  # Else a taken port goes unnoticed.
          ("grpc.max_receive_message_length", max_request_bytes),
          ("grpc.max_send_message_length", -1)])
  prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
      PredictionService(inference, timeout_seconds), server)
  model_service_pb2_grpc.add_ModelServiceServicer_to_server(
      ModelService(inference), server)
  try:
    port = server.add_insecure_port(address)
  except RuntimeError:
    port = 0
  if not port:
    raise errors.InputError(
        f"--port: expected a free port on this machine. Received: {address}.")
  return server, port


class PredictionService(
    prediction_service_pb2_grpc.PredictionServiceServicer):
  """Runs signatures. The methods are those of the proto."""

  def __init__(self, inference, timeout_seconds):
    self._inference = inference
    self._timeout = timeout_seconds

  def Predict(self, request, context):
    """Answers a `PredictRequest`."""
    response = predict_pb2.PredictResponse()
    with self._using("Predict", request, context) as loaded:
      outputs = self._inference.predict(
          loaded, request.model_spec.signature_name,
          tensor_protos.read(request.inputs), self._deadline(context),
          list(request.output_filter))
      tensor_protos.write(outputs, response.outputs)
      _fill_spec(request, loaded, response)
    return response

  def Classify(self, request, context):
    """Answers a `ClassificationRequest`."""
    response = classification_pb2.ClassificationResponse()
    with self._using("Classify", request, context) as loaded:
      classes, scores = self._inference.classify(
          loaded, request.model_spec.signature_name,
          tensor_protos.read_examples(request.input), self._deadline(context))
      rows, columns = (scores if classes is None else classes).shape
      for row in range(rows):
        answer = response.result.classifications.add()
        for column in range(columns):
          one = answer.classes.add()
          if classes is not None:
            one.label = classes[row, column].decode("utf-8", "replace")
          if scores is not None:
            one.score = scores[row, column]
      _fill_spec(request, loaded, response)
    return response

  def Regress(self, request, context):
    """Refuses a `RegressionRequest`."""
    with self._using("Regress", request, context) as loaded:
      self._inference.refuse_regression(
          loaded, request.model_spec.signature_name)

  def GetModelMetadata(self, request, context):
    """Answers a `GetModelMetadataRequest`."""
    with _aborts(context):
      fields = list(request.metadata_field)
      if not fields or set(fields) != {"signature_def"}:
        raise codes.invalid(
            "metadata_field: expected signature_def. Received: "
            f"{', '.join(fields) or 'none'}.")
      return self._inference.metadata(_reference(request))

  @contextlib.contextmanager
  def _using(self, api, request, context):
    with _aborts(context), self._inference.call(
        request.model_spec.name, api, "GRPC"):
      with self._inference.model.use(_reference(request)) as loaded:
        yield loaded

  def _deadline(self, context):
    left = context.time_remaining()
    return time.monotonic() + min(
        self._timeout, self._timeout if left is None else left)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
  """Tells about versions. The method is that of the proto."""

  def __init__(self, inference):
    self._inference = inference

  def GetModelStatus(self, request, context):
    """Answers a `GetModelStatusRequest`."""
    with _aborts(context):
      return self._inference.status(_reference(request))


@contextlib.contextmanager
def _aborts(context):
  """Turns a `codes.ServingError` into the call's status."""
  try:
    yield
  except codes.ServingError as error:
    context.abort(grpc.StatusCode[error.code], error.message)


def _reference(request):
  if not request.HasField("model_spec"):
    raise codes.invalid("Missing ModelSpec")
  spec = request.model_spec
  choice = spec.WhichOneof("version_choice")
  return models.Reference(
      name=spec.name,
      version=spec.version.value if choice == "version" else None,
      label=spec.version_label if choice == "version_label" else None)


def _fill_spec(request, loaded, response):
  response.model_spec.name = request.model_spec.name
  response.model_spec.version.value = loaded.version
  response.model_spec.signature_name = (
      request.model_spec.signature_name or servables.DEFAULT_SIGNATURE)
