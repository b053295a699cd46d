"""TF Serving's gRPC API: PredictionService and ModelService."""

import contextlib

import grpc
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import servables
from kdwsd.serving.server import tensor_protos


def make_server(model, batcher, metrics, address, *, pool, max_rpcs,
                max_request_bytes, timeout_seconds):
  """Makes a server that holds its port, and answers once it is started.

  Of more than `max_rpcs` calls that wait for a thread of the pool, and to a
  request of more than `max_request_bytes`, the answer is RESOURCE_EXHAUSTED.
  Calls without an earlier deadline of their own have `timeout_seconds`.

  Returns:
    (`grpc.Server`, its port); `errors.InputError` if that is taken.
  """
  server = grpc.server(
      pool, maximum_concurrent_rpcs=max_rpcs, options=[
          ("grpc.so_reuseport", 0),  # Else a taken port goes unnoticed.
          ("grpc.max_receive_message_length", max_request_bytes),
          ("grpc.max_send_message_length", -1)])
  service = _Service(model, batcher, metrics, timeout_seconds)
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
  """Both services; methods and their arguments are those of the protos."""

  def __init__(self, model, batcher, metrics, timeout_seconds):
    self._model, self._batcher, self._metrics = model, batcher, metrics
    self._timeout = timeout_seconds

  def Predict(self, request, context):
    response = predict_pb2.PredictResponse()
    with self._call(request, context, "Predict"):
      outputs = self._run(request, context, response, {
          name: tensor_protos.read(name, proto)
          for name, proto in request.inputs.items()})
      names = request.output_filter or sorted(outputs)
      if len(set(names) & set(outputs)) < len(names):
        raise codes.invalid(
            "output_filter: expected distinct names out of "
            f"{', '.join(sorted(outputs))}. Received: {', '.join(names)}.")
      for name in names:
        tensor_protos.write(outputs[name], response.outputs[name])
    return response

  def Classify(self, request, context):
    response = classification_pb2.ClassificationResponse()
    with self._call(request, context, "Classify"):
      inputs = {"inputs": tensor_protos.read_examples(request.input)}
      outputs = self._run(
          request, context, response, inputs, servables.CLASSIFY)
      for row in zip(*servables.classification(outputs)):
        response.result.classifications.add(classes=[
            {"label": label.decode("utf-8", "replace"), "score": score}
            for label, score in zip(*row)])
    return response

  def GetModelMetadata(self, request, context):
    response = get_model_metadata_pb2.GetModelMetadataResponse(
        model_spec=request.model_spec)
    with self._call(request, context):
      if set(request.metadata_field) != {"signature_def"}:
        raise codes.invalid(
            "metadata_field: expected signature_def. Received: "
            f"{', '.join(request.metadata_field) or 'none'}.")
      loaded = self._model.find(request.model_spec)
      response.model_spec.version.value = loaded.version
      response.metadata["signature_def"].Pack(loaded.definitions)
    return response

  def GetModelStatus(self, request, context):
    with self._call(request, context):
      return self._model.status(request.model_spec)

  def _refuse(self, request, context):
    """Without it gRPC would log the call as a fault of the server."""
    context.abort(codes.Code.UNIMPLEMENTED, "The method is not served here.")

  Regress = MultiInference = HandleReloadConfigRequest = _refuse

  @contextlib.contextmanager
  def _call(self, request, context, api=None):
    """Turns errors into the call's status; measures it if it has an API."""
    try:
      with (self._metrics.call(request.model_spec.name, api, "GRPC")
            if api else contextlib.nullcontext()):
        if not request.HasField("model_spec"):
          raise codes.invalid("Missing ModelSpec")
        yield
    except codes.ServingError as error:
      context.abort(error.code, error.message)

  def _run(self, request, context, response, inputs, method_name=None):
    """Returns the outputs; fills in the response's `model_spec`."""
    spec = request.model_spec
    signature = self._model.find(spec).signature(
        spec.signature_name, method_name)
    response.model_spec.CopyFrom(spec)
    response.model_spec.version.value = signature.version
    response.model_spec.signature_name = signature.name
    left = context.time_remaining()
    future = self._batcher.submit(signature, inputs)
    try:
      return future.result(
          self._timeout if left is None else min(left, self._timeout))
    finally:
      future.cancel()  # Without effect on one that runs or is done.
