"""TF Serving's gRPC API: PredictionService and ModelService.

Not here, and answered UNIMPLEMENTED: MultiInference and the reload of a
configuration.
"""

from concurrent import futures
import contextlib

import grpc
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import inference
from kdwsd.serving.server import servables
from kdwsd.serving.server import tensor_protos


def make_server(calls, address, *, pool, max_rpcs, max_request_bytes,
                timeout_seconds):
  """Makes a server that holds its port and answers once it is started.

  Args:
    calls: `inference.Inference`.
    address: "host:port"; port 0 for any that is free.
    pool: `concurrent.futures.ThreadPoolExecutor`.
    max_rpcs: that may wait for a thread; one more is RESOURCE_EXHAUSTED.
    max_request_bytes: a longer request is RESOURCE_EXHAUSTED.
    timeout_seconds: for calls without a deadline of their own.

  Returns:
    (`grpc.Server`, its port).

  Raises:
    errors.InputError: the port is taken.
  """
  server = grpc.server(
      pool, maximum_concurrent_rpcs=max_rpcs, options=[
          ("grpc.so_reuseport", 0),  # Else a taken port goes unnoticed.
          ("grpc.max_receive_message_length", max_request_bytes),
          ("grpc.max_send_message_length", -1)])
  prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
      PredictionService(calls, timeout_seconds), server)
  model_service_pb2_grpc.add_ModelServiceServicer_to_server(
      ModelService(calls), server)
  port = 0
  with contextlib.suppress(RuntimeError):
    port = server.add_insecure_port(address)
  if not port:
    raise errors.InputError(
        f"--port: expected a free port on this machine. Received: {address}.")
  return server, port


class PredictionService(
    prediction_service_pb2_grpc.PredictionServiceServicer):
  """Runs signatures. The methods are those of the proto."""

  def __init__(self, calls, timeout_seconds):
    self._inference = calls
    self._timeout = timeout_seconds

  def Predict(self, request, context):
    """Answers a `PredictRequest`."""
    response = predict_pb2.PredictResponse()
    with self._using("Predict", request, context, response) as loaded:
      signature = loaded.signature(request.model_spec.signature_name)
      wanted = request.output_filter or sorted(signature.outputs)
      if len(set(wanted) & set(signature.outputs)) < len(wanted):
        raise codes.invalid(
            "output_filter: expected some of "
            f"{', '.join(sorted(signature.outputs))}, each once. Received: "
            f"{', '.join(wanted)}.")
      outputs = self._run(context, signature, {
          name: tensor_protos.read(name, proto)
          for name, proto in request.inputs.items()})
      for name in wanted:
        tensor_protos.write(outputs[name], response.outputs[name])
    return response

  def Classify(self, request, context):
    """Answers a `ClassificationRequest`."""
    response = classification_pb2.ClassificationResponse()
    with self._using("Classify", request, context, response) as loaded:
      signature = loaded.signature_with_method(
          request.model_spec.signature_name, servables.CLASSIFY)
      outputs = self._run(context, signature, {
          "inputs": tensor_protos.read_examples(request.input)})
      response.result.CopyFrom(inference.classification(signature, outputs))
    return response

  def Regress(self, request, context):
    """Refuses a `RegressionRequest`."""
    with self._using("Regress", request, context) as loaded:
      loaded.signature_with_method(
          request.model_spec.signature_name, servables.REGRESS)
      raise servables.no_regression()

  def MultiInference(self, request, context):
    """Refuses a `MultiInferenceRequest`; gRPC's own refusal logs a fault."""
    del request  # Unused.
    _refuse(context, "MultiInference")

  def GetModelMetadata(self, request, context):
    """Answers a `GetModelMetadataRequest`."""
    with _aborts(context):
      fields = list(request.metadata_field)
      if set(fields) != {"signature_def"}:
        raise codes.invalid(
            "metadata_field: expected signature_def. Received: "
            f"{', '.join(fields) or 'none'}.")
      return self._inference.metadata(_spec(request))

  @contextlib.contextmanager
  def _using(self, api, request, context, response=None):
    """Yields the version asked for, and names it in the response."""
    name = request.model_spec.name
    with _aborts(context), self._inference.call(name, api, "GRPC"):
      loaded = self._inference.model.find(_spec(request))
      yield loaded
      response.model_spec.name = name
      response.model_spec.version.value = loaded.version
      response.model_spec.signature_name = (
          request.model_spec.signature_name or servables.DEFAULT_SIGNATURE)

  def _run(self, context, signature, inputs):
    future = self._inference.submit(signature, inputs)
    left = context.time_remaining()
    try:
      return future.result(
          self._timeout if left is None else min(left, self._timeout))
    except futures.TimeoutError as error:
      future.cancel()
      raise inference.too_late() from error


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
  """Tells about versions. The methods are those of the proto."""

  def __init__(self, calls):
    self._inference = calls

  def GetModelStatus(self, request, context):
    """Answers a `GetModelStatusRequest`."""
    with _aborts(context):
      return self._inference.status(_spec(request))

  def HandleReloadConfigRequest(self, request, context):
    """Refuses a `ReloadConfigRequest`."""
    del request  # Unused.
    _refuse(context, "HandleReloadConfigRequest")


def _refuse(context, method):
  context.abort(
      codes.Code.UNIMPLEMENTED, f"{method} is not served here.")


@contextlib.contextmanager
def _aborts(context):
  """Turns a `codes.ServingError` into the call's status."""
  try:
    yield
  except codes.ServingError as error:
    context.abort(error.code, error.message)


def _spec(request):
  if not request.HasField("model_spec"):
    raise codes.invalid("Missing ModelSpec")
  return request.model_spec
