"""TF Serving's REST API, version 1: from a path and a body to an answer.

Source: TF Serving 2.15, the page "RESTful API", and model_servers/
http_rest_api_handler.cc and http_rest_api_util.cc.
"""

import contextlib
import re
import threading
import time
import urllib.parse

from absl import logging
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_examples
from kdwsd.serving.server import json_tensors
from kdwsd.serving.server import json_values
from kdwsd.serving.server import metrics as metrics_lib
from kdwsd.serving.server import models

JSON = "application/json"
METRICS_PATH = "/monitoring/prometheus/metrics"

_MODEL = (r"/v1/models/(?P<name>[^/:]+)"
          r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?")
_POST = re.compile(_MODEL + ":(?P<method>classify|regress|predict)", re.I)
_GET = re.compile(_MODEL + "(?P<metadata>/metadata)?", re.I)


class Rest:
  """Answers requests; safe to use from many threads."""

  def __init__(self, inference, metrics, *, timeout_seconds):
    """Makes it.

    Args:
      inference: `inference.Inference`.
      metrics: `metrics.Metrics`.
      timeout_seconds: within which a request is answered or fails.
    """
    self._inference = inference
    self._model = inference.model
    self._metrics = metrics
    self._timeout = timeout_seconds
    # JSON takes many times its length in memory, and parsing holds the
    # interpreter anyway: one at a time bounds the one and does not harm the
    # other.
    self._parsing = threading.Lock()

  def answer(self, method, path, body):
    """Answers one request.

    Args:
      method: "GET", "POST", ...
      path: of the request, perhaps with a query, which is ignored.
      body: bytes.

    Returns:
      (HTTP status, content type, bytes).
    """
    path = path.partition("?")[0]
    if path == METRICS_PATH and method == "GET":
      return 200, metrics_lib.CONTENT_TYPE, self._metrics.page().encode()
    if not path.lower().startswith("/v1/"):
      return error_answer(codes.ServingError(
          codes.NOT_FOUND, f"Expected a path of /v1/models/ or {METRICS_PATH}. "
          f"Received: {path}."))
    try:
      return 200, JSON, self._answer(method, path, body)
    except Exception as error:  # pylint: disable=broad-exception-caught
      if not isinstance(error, codes.ServingError):
        logging.exception("%s %s failed.", method, path)
      return error_answer(codes.from_exception(error))

  def _answer(self, method, path, body):
    pattern = {"GET": _GET, "POST": _POST}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if not match:
      if method == "GET" and path.lower().rstrip("/") == "/v1/models":
        raise codes.invalid("Missing model name in request.")
      raise codes.invalid(f"Malformed request: {method} {path}")
    reference = _reference(match)
    if method == "GET":
      if match["metadata"]:
        return self._metadata(reference)
      return _json(self._inference.status(reference))
    api = match["method"].capitalize()
    with self._inference.call(reference.name, api, "REST"):
      return getattr(self, f"_{api.lower()}")(
          reference, body, time.monotonic() + self._timeout)

  def _predict(self, reference, body, deadline):
    with contextlib.ExitStack() as stack:
      with self._parsing:
        document = json_values.parse(body)
        name = json_tensors.signature_name(document)
        loaded = stack.enter_context(self._model.use(reference))
        inputs, where = json_tensors.read_inputs(
            document, loaded.signature(name).inputs)
        del document
      outputs = self._inference.predict(loaded, name, inputs, deadline)
    return json_tensors.write_outputs(outputs, where)

  def _classify(self, reference, body, deadline):
    with self._parsing:
      document = json_values.parse(body)
      name = json_tensors.signature_name(document)
      examples = json_examples.read_examples(document)
    with self._model.use(reference) as loaded:
      classes, scores = self._inference.classify(
          loaded, name, examples, deadline)
    return json_examples.write_classes(classes, scores)

  def _regress(self, reference, body, deadline):
    del deadline  # Unused.
    with self._parsing:
      document = json_values.parse(body)
      name = json_tensors.signature_name(document)
    with self._model.use(reference) as loaded:
      self._inference.refuse_regression(loaded, name)

  def _metadata(self, reference):
    response = self._inference.metadata(reference)
    # As TF Serving writes it: the map itself, not an `Any` of it.
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return (b'{\n"model_spec": ' + _json(response.model_spec) +
            b',\n"metadata": {"signature_def": ' + _json(signatures) +
            b"}\n}\n")


def error_answer(error):
  """The answer that tells a `codes.ServingError`."""
  return error.http_status, JSON, json_values.dump({"error": error.message})


def _reference(match):
  version = match["version"]
  if version and (len(version) > 19 or int(version) >= 2 ** 63):
    raise codes.invalid(f"Failed to convert version: {version} to numeric.")
  label = match["label"]
  return models.Reference(
      name=urllib.parse.unquote(match["name"]),
      version=None if version is None else int(version),
      label=None if label is None else urllib.parse.unquote(label))


def _json(message):
  return json_format.MessageToJson(
      message, including_default_value_fields=True,
      preserving_proto_field_name=True, ensure_ascii=False).encode("utf-8")
