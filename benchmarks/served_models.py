"""Sends requests to exports in three ways: C++ session, REST and gRPC."""

import base64
import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import time

import numpy as np

from kdwsd import errors

WAYS = ("session", "REST", "gRPC")

_NAME = "student"
_NUM_CLASSES = 20  # of models with random weights
_VARIANTS = 4  # distinct requests per batch size, with different images


def write_fresh(directory, students, size, num_proposals, fc_units):
  """Exports models with random weights, as fast as those with trained ones.

  Args:
    directory: directory for the exports.
    students: {name: changes to `student.StudentConfig`}.
    size: side of the teacher's images, to which a student's are warped first.
    num_proposals: R, for export.json.
    fc_units: width of the teacher's fc6 and fc7.

  Returns:
    {name: directory of versions}, the teacher last.
  """
  # pylint: disable=import-outside-toplevel
  from kdwsd.modeling import student
  from kdwsd.modeling import wsddn
  from kdwsd.serving import saved_model
  from kdwsd.serving import signatures
  # pylint: enable=import-outside-toplevel
  classes = tuple(f"class {number}" for number in range(_NUM_CLASSES))
  exports = {}

  def write(name, servable, metadata):
    exports[name] = os.path.join(directory, name.replace(" ", "_"))
    with saved_model.new_version(exports[name]) as (path, _):
      saved_model.write(servable, path)
      saved_model.write_metadata(path, metadata)

  for name, changes in students.items():
    config = student.StudentConfig(num_classes=_NUM_CLASSES, **changes)
    write(f"student {name}", signatures.classifier(
        student.build(config), classes=classes, image_size=config.image_size,
        eval_size=size), {})
  write("teacher VGG16", signatures.detector(
      wsddn.build(wsddn.WSDDNConfig(
          num_classes=_NUM_CLASSES, fc_units=fc_units)),
      classes=classes, eval_size=size), {"num_proposals": num_proposals})
  return exports


def probabilities(answer):
  """[B, C] probabilities in a response of `ServedModel.ask`."""
  if isinstance(answer, bytes):
    return np.array([row["probabilities"]
                     for row in json.loads(answer)["predictions"]])
  if isinstance(answer, dict):
    return np.asarray(answer["probabilities"])
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  return tf.make_ndarray(answer.outputs["probabilities"])


class ServedModel:
  """An export with a C++ session, a server, and requests for both.

  A context manager.

  Attributes:
    name: name of the model.
  """

  def __init__(self, name, path, contents, *, timeout):
    """Keeps the arguments; `__enter__` loads the model.

    Args:
      name: name of the model.
      path: path of its directory of versions.
      contents: list of encoded images.
      timeout: timeout of a request, seconds.
    """
    self.name = name
    self._path, self._contents, self._timeout = path, contents, timeout
    self._requests, self._connections, self._stubs = {}, {}, {}

  def __enter__(self):
    # pylint: disable=import-outside-toplevel
    from kdwsd.serving import native_session
    from kdwsd.serving import saved_model
    # pylint: enable=import-outside-toplevel
    version = saved_model.find(self._path)
    self._num_proposals = saved_model.read_metadata(version).get(
        "num_proposals")
    with contextlib.ExitStack() as stack:
      self._session = stack.enter_context(native_session.Session(version))
      self._ports = stack.enter_context(_server(self._path, self._timeout))
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *exception):
    for connection in self._connections.values():
      connection.close()
    self._stack.close()

  def seconds_alone(self):
    """Latency in seconds of a request of one image, after a warm-up request."""
    seconds = []
    for number in range(2):
      start = time.perf_counter()
      self.ask("session", 0, 1, number)
      seconds.append(time.perf_counter() - start)
    return seconds[-1]

  def ask(self, way, client, batch_size, number):
    """Sends a request and waits for the response.

    Args:
      way: one of `WAYS`.
      client: number of the client; each has its own connection.
      batch_size: number of images.
      number: number of the request, which selects the images.

    Returns:
      The response: a dict of arrays, bytes of JSON, or a proto.
    """
    inputs, body, request = self._request(batch_size, number % _VARIANTS)
    if way == "session":
      return self._session.run("serving_default", inputs)
    if way == "gRPC":
      return self._stub(client).Predict(request, self._timeout)
    connection = self._connection(client)
    connection.request("POST", f"/v1/models/{_NAME}:predict", body)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
      raise RuntimeError(f"{self.name}: {response.status} {answer[:500]!r}")
    return answer

  def _request(self, batch_size, variant):
    """Inputs, bytes of JSON, and a proto; made once and cached."""
    key = batch_size, variant
    if key not in self._requests:
      chosen = list(itertools.islice(
          itertools.cycle(self._contents), variant, variant + batch_size))
      inputs = {"image_bytes": np.array(chosen, object)}
      if self._num_proposals:
        inputs.update(_proposals(batch_size, self._num_proposals))
      rows = [{"image_bytes": {"b64": base64.b64encode(content).decode()},
               **{name: values[row].tolist()
                  for name, values in inputs.items() if name != "image_bytes"}}
              for row, content in enumerate(chosen)]
      self._requests[key] = (
          inputs, json.dumps({"instances": rows}).encode(), _proto(inputs))
    return self._requests[key]

  def _connection(self, client):
    if client not in self._connections:
      self._connections[client] = http.client.HTTPConnection(
          "127.0.0.1", self._ports[0], timeout=self._timeout)
    return self._connections[client]

  def _stub(self, client):
    if client not in self._stubs:
      # pylint: disable=import-outside-toplevel
      import grpc
      from tensorflow_serving.apis import prediction_service_pb2_grpc
      # pylint: enable=import-outside-toplevel
      channel = grpc.insecure_channel(f"127.0.0.1:{self._ports[1]}", options=[
          ("grpc.use_local_subchannel_pool", 1),
          ("grpc.max_send_message_length", -1),
          ("grpc.max_receive_message_length", -1)])
      self._stack.callback(channel.close)
      self._stubs[client] = prediction_service_pb2_grpc.PredictionServiceStub(
          channel)
    return self._stubs[client]


def _proposals(batch_size, count):
  """Random boxes; the latency does not depend on their values."""
  random = np.random.default_rng(0)
  corners = np.sort(random.uniform(size=[batch_size, count, 2, 2]), axis=2)
  return {
      "proposals": corners.reshape(batch_size, count, 4).astype(np.float32),
      "objectness": random.uniform(size=[batch_size, count]).astype(
          np.float32)}


def _proto(inputs):
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf
  from tensorflow_serving.apis import predict_pb2
  # pylint: enable=import-outside-toplevel
  request = predict_pb2.PredictRequest()
  request.model_spec.name = _NAME
  request.model_spec.signature_name = "serving_default"
  for name, values in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
  return request


@contextlib.contextmanager
def _server(path, timeout):
  """Yields the REST and gRPC ports of a server in a separate process."""
  context = multiprocessing.get_context("spawn")
  ours, theirs = context.Pipe()
  process = context.Process(target=_serve, args=(theirs, path, timeout))
  process.start()
  theirs.close()
  try:
    try:
      ports = ours.recv()
    except EOFError:
      ports = "its process exited before it listened"
    if isinstance(ports, str):
      raise errors.InputError(f"{path}: expected an export that can be served."
                              f" Received: {ports}")
    yield ports
  finally:
    ours.close()  # This stops the server.
    process.join()


def _serve(pipe, path, timeout):
  """Runs the server until the pipe is closed; called in its process."""
  # pylint: disable=import-outside-toplevel
  from kdwsd.serving.server import local_server
  from kdwsd.serving.server import options
  # pylint: enable=import-outside-toplevel
  try:
    with local_server.LocalServer(options.Options(
        _NAME, path, port=0, rest_api_port=0, drain_seconds=1.0,
        file_system_poll_wait_seconds=3600.0, max_request_bytes=2 ** 30,
        rest_api_timeout_in_ms=int(1000 * timeout))) as server:
      pipe.send((server.rest_port, server.grpc_port))
      with contextlib.suppress(EOFError):
        pipe.recv()
  except errors.InputError as error:
    pipe.send(str(error))
