"""TF Serving's REST API, version 1: from a path and a body to an answer.

Source: TF Serving 2.15, the page "RESTful API", and model_servers/
http_rest_api_handler.cc and http_rest_api_util.cc.
"""

import asyncio
from concurrent import futures
import re
import urllib.parse

from google import protobuf
from google.protobuf import json_format
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

  async def answer(self, method, path, body):
    """Answers ("GET", path, bytes); see `http_server.HttpServer`."""
    if path == METRICS_PATH and method == "GET":
      return metrics_lib.CONTENT_TYPE, self._metrics.page()
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
      return JSON, await self._infer(match["method"], spec, body)
    if match["metadata"] != "metadata":
      return JSON, _json(self._model.status(spec))
    loaded = self._model.find(spec)
    spec.version.value = loaded.version
    # As TF Serving writes it: the map itself, not an `Any` of it.
    return JSON, b'{"model_spec": %b, "metadata": {"signature_def": %b}}' % (
        _json(spec), _json(loaded.definitions))

  async def _infer(self, method, spec, body):
    with self._metrics.call(spec.name, method.capitalize(), "REST"):
      if len(body) > _LONG_BODY:
        future, write = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._read, method, spec, body)
      else:
        future, write = self._read(method, spec, body)
      return write(await asyncio.wrap_future(future))

  def _read(self, method, spec, body):
    """Returns the future of the outputs, and the function that writes them."""
    document = json_requests.parse(body)
    name = json_requests.signature_name(document)
    if method == "predict":
      signature = self._model.find(spec).signature(name)
      inputs, key = json_requests.read_inputs(document, signature.inputs)
      return (self._batcher.submit(signature, inputs),
              lambda outputs: json_requests.write_outputs(outputs, key))
    if method == "classify":
      examples = json_requests.read_examples(document)
      signature = self._model.find(spec).signature(name, servables.CLASSIFY)
      return (self._batcher.submit(signature, {"inputs": examples}),
              json_requests.write_classes)
    raise codes.ServingError(
        codes.Code.UNIMPLEMENTED, f"{method} is not served here.")


def _spec(match):
  """The `ModelSpec` of a path."""
  if not match["name"]:
    raise codes.invalid("Missing model name in request.")
  spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"]))
  if match["label"]:
    spec.version_label = urllib.parse.unquote(match["label"])
  try:
    if match["version"]:
      spec.version.value = int(match["version"])
  except ValueError as error:
    raise codes.invalid(
        f"Failed to convert version: {match['version']} to numeric.") from error
  return spec


def _json(message):
  # Zeros, too, as TensorFlow Serving; protobuf 5 renamed the argument.
  zeros = ("including_default_value_fields"
           if int(protobuf.__version__.split(".")[0]) < 5
           else "always_print_fields_with_no_presence")
  return json_format.MessageToJson(
      message, preserving_proto_field_name=True, ensure_ascii=False,
      **{zeros: True}).encode("utf-8")
