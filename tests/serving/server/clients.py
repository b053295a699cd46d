"""Clients of a server on this machine: REST by http.client, and gRPC."""

import base64
import http.client
import json
import socket

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

PREDICT = "/v1/models/student:predict"


class Rest:
  """A connection that is kept."""

  def __init__(self, port, timeout=300):
    self._connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=timeout)

  def __call__(self, path=PREDICT, body=None, method=None, headers=None):
    """Returns (status, JSON or text of the answer)."""
    if body is not None and not isinstance(body, bytes):
      body = json.dumps(body).encode("utf-8")
    self._connection.request(
        method or ("GET" if body is None else "POST"), path, body,
        headers or {})
    response = self._connection.getresponse()
    content = response.read().decode("utf-8")
    if response.headers["Content-Type"] == "application/json" and content:
      return response.status, json.loads(content)
    return response.status, content

  def close(self):
    self._connection.close()


class Grpc:
  """A channel and its stubs."""

  def __init__(self, port, timeout=300):
    # A subchannel of its own: else all channels share one connection.
    self._channel = grpc.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
    self._timeout = timeout
    self.service = prediction_service_pb2_grpc.PredictionServiceStub(
        self._channel)
    self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)

  def predict(self, inputs, timeout=None, **spec):
    """Returns a `PredictResponse`; raises `grpc.RpcError`."""
    request = predict_pb2.PredictRequest()
    fill(request.model_spec, **spec)
    for name, value in inputs.items():
      request.inputs[name].CopyFrom(
          value if isinstance(value, tensor_pb2.TensorProto)
          else tf.make_tensor_proto(value))
    return self.service.Predict(request, timeout or self._timeout)

  def classify(self, images, **spec):
    """Returns a `ClassificationResponse`; raises `grpc.RpcError`."""
    request = classification_pb2.ClassificationRequest()
    fill(request.model_spec, **{"signature": "classify", **spec})
    for image in images:
      example = request.input.example_list.examples.add()
      example.features.feature["image/encoded"].bytes_list.value.append(image)
    return self.service.Classify(request, self._timeout)

  def close(self):
    self._channel.close()


def fill(model_spec, name="student", version=None, label=None, signature=None):
  """Fills a `ModelSpec`."""
  model_spec.name = name
  if version is not None:
    model_spec.version.value = version
  if label is not None:
    model_spec.version_label = label
  if signature is not None:
    model_spec.signature_name = signature


def b64(content):
  """Bytes as JSON has them."""
  return {"b64": base64.b64encode(content).decode("ascii")}


def raw(port, content, timeout=300):
  """Sends bytes and returns all that comes until the server hangs up."""
  with socket.create_connection(("127.0.0.1", port), timeout=timeout) as one:
    one.sendall(content)
    received = b""
    while part := one.recv(65536):
      received += part
    return received
