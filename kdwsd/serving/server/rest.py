"""TF Serving's REST API, version 1: from a path and a body to an answer.

Source: TF Serving 2.15, the page "RESTful API", and model_servers/
http_rest_api_handler.cc and http_rest_api_util.cc.
"""

import asyncio
import re
import threading
import urllib.parse

from absl import logging
from google.protobuf import json_format
import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import model_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import inference
from kdwsd.serving.server import json_requests
from kdwsd.serving.server import metrics as metrics_lib

JSON = "application/json"
METRICS_PATH = "/monitoring/prometheus/metrics"

# Bytes that are not parsed in the event loop: it would stand still for long.
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

  def __init__(self, calls, metrics, *, timeout_seconds):
    """Takes `inference.Inference` and `metrics.Metrics`."""
    self._inference = calls
    self._metrics = metrics
    self._timeout = timeout_seconds
    # JSON takes many times its length in memory, and parsing holds the
    # interpreter anyway: one at a time bounds the one and does not harm the
    # other.
    self._parsing = threading.Lock()

  async def answer(self, method, path, body):
    """Answers a request ("GET", path, bytes).

    Returns:
      (HTTP status, content type, bytes).
    """
    try:
      if path == METRICS_PATH and method == "GET":
        return 200, metrics_lib.CONTENT_TYPE, self._metrics.page()
      return 200, JSON, await self._answer(method, path, body)
    except Exception as error:  # pylint: disable=broad-exception-caught
      if not isinstance(error, codes.ServingError):
        logging.exception("%s %s failed.", method, path)
      error = codes.from_exception(error)
      content = json_requests.dump({"error": error.message})
      return error.http_status, JSON, content

  async def _answer(self, method, path, body):
    if not path.lower().startswith("/v1/"):
      raise codes.ServingError(
          codes.Code.NOT_FOUND, "Expected a path of /v1/models/ or "
          f"{METRICS_PATH}. Received: {path}.")
    pattern = {"GET": _GET, "POST": _POST}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if not match:
      raise codes.invalid(f"Malformed request: {method} {path}")
    spec = _spec(match)
    if method == "GET":
      if match["metadata"] == "metadata":
        return self._metadata(spec)
      return _json(self._inference.status(spec))
    with self._inference.call(spec.name, match["method"].capitalize(), "REST"):
      read = getattr(self, f"_{match['method']}")
      if len(body) > _LONG_BODY:
        future, write = await asyncio.to_thread(self._read, read, spec, body)
      else:
        future, write = self._read(read, spec, body)
      asked = asyncio.wrap_future(future)
      late = asked.get_loop().call_later(self._timeout, asked.cancel)
      try:
        return write(await asked)
      except asyncio.CancelledError as error:
        raise inference.too_late() from error
      finally:
        late.cancel()

  def _read(self, read, spec, body):
    """Returns the future of the outputs, and the function that writes them."""
    with self._parsing:
      document = json_requests.parse(body)
      spec.signature_name = json_requests.signature_name(document)
      return read(spec, document)

  def _predict(self, spec, document):
    signature = self._inference.model.find(spec).signature(spec.signature_name)
    inputs, key = json_requests.read_inputs(document, signature.inputs)
    return (self._inference.submit(signature, inputs),
            lambda outputs: json_requests.write_outputs(outputs, key))

  def _classify(self, spec, document):
    examples = json_requests.read_examples(document)
    signature = self._inference.classifier(spec)

    def write(outputs):
      result = inference.classification(signature, outputs)
      return json_requests.dump({"results": [
          [[one.label, *json_requests.plain("", np.float32([one.score]))]
           for one in row.classes] for row in result.classifications]})

    return self._inference.submit(signature, {"inputs": examples}), write

  def _regress(self, spec, document):
    del document  # Unused.
    self._inference.regress(spec)

  def _metadata(self, spec):
    response = self._inference.metadata(spec)
    # As TF Serving writes it: the map itself, not an `Any` of it.
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return (b'{\n"model_spec": %b,\n"metadata": {"signature_def": %b}\n}\n'
            % (_json(response.model_spec), _json(signatures)))


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
  return json_format.MessageToJson(
      message, including_default_value_fields=True,
      preserving_proto_field_name=True, ensure_ascii=False).encode("utf-8")
