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
    (`grpc.Server`, its port); `errors.InputError` if that is taken.
  """
  server = grpc.server(
      pool, maximum_concurrent_rpcs=max_rpcs, options=[
          ("grpc.so_reuseport", 0),  # Else a taken port goes unnoticed.
          ("grpc.max_receive_message_length", max_request_bytes),
          ("grpc.max_send_message_length", -1)])
  service = _Service(calls, timeout_seconds)
  prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
      service, server)
  model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
  port = 0
  with contextlib.suppress(RuntimeError):
    port = server.add_insecure_port(address)
  if not port:
    raise errors.InputError(
        f"--port: expected a free port on this machine. Received: {address}.")
  return server, port


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer,
               model_service_pb2_grpc.ModelServiceServicer):
  """Both services; the methods, and what they take, are those of the protos."""

  def __init__(self, calls, timeout_seconds):
    self._inference = calls
    self._timeout = timeout_seconds

  def Predict(self, request, context):
    response = predict_pb2.PredictResponse()
    with self._call(request, context, "Predict"):
      signature = self._inference.model.find(request.model_spec).signature(
          request.model_spec.signature_name)
      wanted = request.output_filter or sorted(signature.outputs)
      if len(set(wanted) & set(signature.outputs)) < len(wanted):
        raise codes.invalid(
            "output_filter: expected some of "
            f"{', '.join(sorted(signature.outputs))}, each once. Received: "
            f"{', '.join(wanted)}.")
      outputs = self._run(request, context, response, signature, {
          name: tensor_protos.read(name, proto)
          for name, proto in request.inputs.items()})
      for name in wanted:
        tensor_protos.write(outputs[name], response.outputs[name])
    return response

  def Classify(self, request, context):
    response = classification_pb2.ClassificationResponse()
    with self._call(request, context, "Classify"):
      signature = self._inference.classifier(request.model_spec)
      outputs = self._run(request, context, response, signature, {
          "inputs": tensor_protos.read_examples(request.input)})
      response.result.CopyFrom(inference.classification(signature, outputs))
    return response

  def Regress(self, request, context):
    with self._call(request, context, "Regress"):
      self._inference.regress(request.model_spec)

  def MultiInference(self, request, context):
    self._refuse("MultiInference", context)

  def HandleReloadConfigRequest(self, request, context):
    self._refuse("HandleReloadConfigRequest", context)

  def _refuse(self, method, context):
    """As gRPC does by itself, but that logs a fault of the server."""
    context.abort(codes.Code.UNIMPLEMENTED, f"{method} is not served here.")

  def GetModelMetadata(self, request, context):
    with self._call(request, context):
      if set(request.metadata_field) != {"signature_def"}:
        raise codes.invalid(
            "metadata_field: expected signature_def. Received: "
            f"{', '.join(request.metadata_field) or 'none'}.")
      return self._inference.metadata(request.model_spec)

  def GetModelStatus(self, request, context):
    with self._call(request, context):
      return self._inference.status(request.model_spec)

  @contextlib.contextmanager
  def _call(self, request, context, api=None):
    """Makes errors the call's status; one of a named API is measured."""
    try:
      with (self._inference.call(request.model_spec.name, api, "GRPC")
            if api else contextlib.nullcontext()):
        if not request.HasField("model_spec"):
          raise codes.invalid("Missing ModelSpec")
        yield
    except codes.ServingError as error:
      context.abort(error.code, error.message)

  def _run(self, request, context, response, signature, inputs):
    """Returns outputs; the response tells what they are of."""
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = signature.version
    response.model_spec.signature_name = signature.name
    future = self._inference.submit(signature, inputs)
    left = context.time_remaining()
    try:
      return future.result(
          self._timeout if left is None else min(left, self._timeout))
    except futures.TimeoutError as error:
      future.cancel()
      raise inference.too_late() from error
