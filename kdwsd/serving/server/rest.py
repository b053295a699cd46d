"""TF Serving's REST API, version 1: from a path and a body to an answer.

Source: TF Serving 2.15, the page "RESTful API", and model_servers/
http_rest_api_handler.cc and http_rest_api_util.cc.
"""

from concurrent import futures
import re
import urllib.parse

from absl import logging
from google import protobuf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import model_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_requests
from kdwsd.serving.server import metrics as metrics_lib
from kdwsd.serving.server import servables

JSON = "application/json"
METRICS_PATH = "/monitoring/prometheus/metrics"

# Bytes that are not parsed in the event loop, which would stand still for long.
_LONG_BODY = 2 ** 19

# As in TF Serving, case counts in the method and in "metadata" alone, and a
# query is a part of what it stands behind.
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(r"(?i)/v1/models/(?P<name>[^/:]+)" + _VERSION
                   + r":(?P<method>(?-i:classify|regress|predict))", re.ASCII)
_GET = re.compile(r"(?i)/v1/models(?:/(?P<name>[^/:]+))?" + _VERSION
                  + r"(?:/(?P<metadata>metadata))?", re.ASCII)


class Rest:
  """Answers requests in one event loop."""

  def __init__(self, model, batcher, metrics):
    """Takes `models.Model`, `batching.Batcher` and `metrics.Metrics`."""
    self._model, self._batcher, self._metrics = model, batcher, metrics
    # One at a time, as JSON takes many times its length in memory.
    self._pool = futures.ThreadPoolExecutor(1, "json")

  def answer(self, method, path, body, reply):
    """Answers ("GET", path, bytes); see `http_server.HttpServer`."""
    try:
      if path == METRICS_PATH and method == "GET":
        reply(200, metrics_lib.CONTENT_TYPE, self._metrics.page())
        return
      if not path.lower().startswith("/v1/"):
        raise codes.ServingError(
            codes.Code.NOT_FOUND, "Expected a path of /v1/models/ or "
            f"{METRICS_PATH}. Received: {path}.")
      pattern = {"GET": _GET, "POST": _POST}.get(method)
      match = pattern.fullmatch(path) if pattern else None
      if not match:
        raise codes.invalid(f"Malformed request: {method} {path}")
      spec = _spec(match)
      if method == "POST":
        yield from self._infer(match["method"], spec, body, reply)
      elif match["metadata"] == "metadata":
        reply(200, JSON, self._metadata(spec))
      else:
        reply(200, JSON, _json(self._model.status(spec)))
    except Exception as error:  # pylint: disable=broad-exception-caught
      if not isinstance(error, codes.ServingError):
        logging.exception("%s %s failed.", method, path)
      error = codes.from_exception(error)
      reply(error.http_status, JSON,
            json_requests.dump({"error": error.message}))

  def _infer(self, method, spec, body, reply):
    with self._metrics.call(spec.name, method.capitalize(), "REST"):
      if len(body) > _LONG_BODY:
        read = self._pool.submit(self._read, method, spec, body)
        yield read
        future, write = codes.result(read, 0)
      else:
        future, write = self._read(method, spec, body)
      yield future
      # Before the call is counted, which the client need not wait for.
      reply(200, JSON, write(codes.result(future, 0)))

  def _read(self, method, spec, body):
    """Returns the future of the outputs, and the function that writes them."""
    document = json_requests.parse(body)
    spec.signature_name = json_requests.signature_name(document)
    if method == "predict":
      signature = self._model.find(spec).signature(spec)
      inputs, key = json_requests.read_inputs(document, signature.inputs)
      return (self._batcher.submit(signature, inputs),
              lambda outputs: json_requests.write_outputs(outputs, key))
    if method == "classify":
      examples = json_requests.read_examples(document)
      signature = self._model.find(spec).signature(spec, servables.CLASSIFY)
      return self._batcher.submit(signature, {"inputs": examples}), _classes
    raise codes.ServingError(
        codes.Code.UNIMPLEMENTED, f"{method} is not served here.")

  def _metadata(self, spec):
    response = self._model.metadata(spec)
    # As TF Serving writes it: the map itself, not an `Any` of it.
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return (b'{\n"model_spec": %b,\n"metadata": {"signature_def": %b}\n}\n'
            % (_json(response.model_spec), _json(signatures)))


def _classes(outputs):
  """JSON of the outputs of a classify signature."""
  rows = zip(*(json_requests.plain("", values)
               for values in servables.classification(outputs)))
  return json_requests.dump({"results": [list(zip(*row)) for row in rows]})


def _spec(match):
  """The `ModelSpec` of a path."""
  if not match["name"]:
    raise codes.invalid("Missing model name in request.")
  spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"]))
  if match["label"]:
    spec.version_label = urllib.parse.unquote(match["label"])
  if version := match["version"]:
    if len(version) > 19 or int(version) >= 2 ** 63:
      raise codes.invalid(f"Failed to convert version: {version} to numeric.")
    spec.version.value = int(version)
  return spec


def _json(message):
  # Zeros, too, as TensorFlow Serving; protobuf 5 renamed the argument.
  zeros = ("including_default_value_fields"
           if int(protobuf.__version__.split(".")[0]) < 5
           else "always_print_fields_with_no_presence")
  return json_format.MessageToJson(
      message, preserving_proto_field_name=True, ensure_ascii=False,
      **{zeros: True}).encode("utf-8")
