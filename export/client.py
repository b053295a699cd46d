#!/usr/bin/env python3
"""Asks a served student what is in images; prints a line of JSON for each.

    python client.py photos/ > answers.jsonl
    python client.py --url=http://serving.example:8501 --label=canary a.jpg
    python client.py --grpc=localhost:8500 photos/

Needs Python 3.8 and nothing else; with --grpc also `pip install
tensorflow-serving-api`. Images are JPEG or PNG files, folders of them (with
their subfolders), or - for paths on standard input, one a line.

A line of output is, in the order of the images, either of

    {"image": "a.jpg", "predictions": [{"class": "dog", "probability": 0.93}]}
    {"image": "b.jpg", "error": "..."}

What may pass is tried again: no connection, a server that is starting, busy or
gone for a moment (HTTP 429, 502, 503; UNAVAILABLE, RESOURCE_EXHAUSTED).
TensorFlow Serving fails a whole request for one bad image, so the images of
such a request are sent again one by one.

Exit status: 0 all answered; 1 some were not; 2 nothing to send, or a bad flag.
"""

import argparse
import base64
import collections
import concurrent.futures
import http.client
import json
import os
import random
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png")
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_TRANSIENT_HTTP = (429, 502, 503)
_TRANSIENT_GRPC = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_LONGEST_WAIT = 10.0  # seconds between two tries


class Refused(Exception):
  """The server, or the file, will not do; another try would not either.

  Attributes:
    of_request: whether an image of the request may be to blame.
  """

  def __init__(self, message, of_request=False):
    super().__init__(message)
    self.of_request = of_request


class Transient(Exception):
  """Another try may do.

  Attributes:
    wait: seconds that the server asks for, or None.
  """

  def __init__(self, message, wait=None):
    super().__init__(message)
    self.wait = wait


class Rest:
  """TensorFlow Serving's REST API."""

  def __init__(self, url, model, version, label, timeout):
    """Takes what every request has; see the flags."""
    name = urllib.parse.quote(model, safe="")
    path = f"/v1/models/{name}"
    if version is not None:
      path += f"/versions/{version}"
    elif label:
      path += f"/labels/{urllib.parse.quote(label, safe='')}"
    self._url = url.rstrip("/") + path + ":predict"
    self._timeout = timeout

  def predict(self, contents):
    """Classifies encoded images.

    Args:
      contents: list of bytes.

    Returns:
      For each a pair of lists: class names, probabilities.

    Raises:
      Transient, Refused: as they say.
    """
    body = json.dumps({"instances": [
        {"image_bytes": {"b64": base64.b64encode(content).decode("ascii")}}
        for content in contents]}).encode("ascii")
    request = urllib.request.Request(
        self._url, body, {"Content-Type": "application/json"})
    try:
      with urllib.request.urlopen(request, timeout=self._timeout) as response:
        answer = json.load(response)
    except urllib.error.HTTPError as error:
      message = f"HTTP {error.code}: {_error_text(error)}"
      if error.code in _TRANSIENT_HTTP:
        raise Transient(message, _retry_after(error)) from error
      raise Refused(message, error.code in (400, 413)) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
      reason = getattr(error, "reason", error)
      if isinstance(reason, socket.timeout):
        raise Refused(f"no answer in {self._timeout:g} s (--timeout)") from (
            error)
      raise Transient(f"{self._url}: {reason}") from error
    except ValueError as error:
      raise Refused(f"{self._url}: answered no JSON: {error}") from error
    try:
      return [(row["classes"], row["probabilities"])
              for row in answer["predictions"]]
    except (KeyError, TypeError) as error:
      raise Refused(f"{self._url}: answered without classes and probabilities; "
                    "is it an export of kdwsd?") from error


class Grpc:
  """TensorFlow Serving's gRPC API."""

  def __init__(self, address, model, version, label, timeout):
    """Takes what every request has; see the flags."""
    # pylint: disable=import-outside-toplevel
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
      import grpc
      import tensorflow as tf
      from tensorflow_serving.apis import predict_pb2
      from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
      raise Refused(f"--grpc needs `pip install tensorflow-serving-api`: "
                    f"{error}") from error
    # pylint: enable=import-outside-toplevel
    self._grpc, self._tf, self._predict_pb2 = grpc, tf, predict_pb2
    channel = grpc.insecure_channel(address, options=[
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1)])
    self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    self._address = address
    self._model, self._version, self._label = model, version, label
    self._timeout = timeout

  def predict(self, contents):
    """As `Rest.predict`."""
    request = self._predict_pb2.PredictRequest()
    request.model_spec.name = self._model
    request.model_spec.signature_name = "serving_default"
    if self._version is not None:
      request.model_spec.version.value = self._version
    elif self._label:
      request.model_spec.version_label = self._label
    request.inputs["image_bytes"].CopyFrom(
        self._tf.make_tensor_proto(contents, shape=[len(contents)]))
    try:
      answer = self._stub.Predict(request, self._timeout)
    except self._grpc.RpcError as error:
      code = error.code().name
      message = f"{code}: {error.details()}"
      if code in _TRANSIENT_GRPC:
        raise Transient(f"{self._address}: {message}") from error
      raise Refused(message, code == "INVALID_ARGUMENT") from error
    try:
      names, probabilities = (
          self._tf.make_ndarray(answer.outputs[name]).tolist()
          for name in ("classes", "probabilities"))
    except (TypeError, ValueError) as error:
      raise Refused(f"{self._address}: answered without classes and "
                    "probabilities; is it an export of kdwsd?") from error
    return [([name.decode("utf-8") for name in row], numbers)
            for row, numbers in zip(names, probabilities)]


def predict(server, contents, retries):
  """Asks until it is answered, told no, or out of tries.

  Args:
    server: `Rest` or `Grpc`.
    contents: list of bytes.
    retries: tries after the first.

  Returns:
    As `Rest.predict`.

  Raises:
    Refused: or the last try failed too.
  """
  pause = 0.2
  for left in range(retries, -1, -1):
    try:
      rows = server.predict(contents)
    except Transient as error:
      if not left:
        raise Refused(f"{error} ({retries + 1} tries)") from error
      # Clients that were refused together should not come back together.
      wait = pause * random.uniform(0.5, 1.0)
      time.sleep(min(error.wait or wait, _LONGEST_WAIT))
      pause = min(2 * pause, _LONGEST_WAIT)
      continue
    if len(rows) != len(contents):
      raise Refused(f"{len(rows)} answers to {len(contents)} images")
    return rows
  raise AssertionError("not reached")


def predict_each(server, contents, retries):
  """Asks about images together, and one by one where that fails.

  A server that batches runs images of several clients together and fails them
  together, so an image that is refused alone is sent once more.

  Args:
    server: `Rest` or `Grpc`.
    contents: list of bytes.
    retries: tries after the first.

  Returns:
    For each image a pair of lists, or the `Refused` that it met.
  """
  try:
    return predict(server, contents, retries)
  except Refused as error:
    if not error.of_request:
      return [error] * len(contents)
    first = error
  if len(contents) > 1:
    return [answer for content in contents
            for answer in predict_each(server, [content], retries)]
  try:
    return predict(server, contents, retries)
  except Refused:
    return [first]


def answer_files(server, paths, options):
  """The lines of output for some files, as dictionaries."""
  lines, contents, places = [], [], []
  for path in paths:
    lines.append({"image": path})
    try:
      contents.append(_read(path))
      places.append(lines[-1])
    except (OSError, Refused) as error:
      lines[-1]["error"] = getattr(error, "strerror", None) or str(error)
  answers = predict_each(server, contents, options.retries) if contents else []
  for line, answer in zip(places, answers):
    if isinstance(answer, Refused):
      line["error"] = str(answer)
    else:
      line["predictions"] = _chosen(*answer, options)
  return lines


def find_files(arguments):
  """Paths of the images that the arguments name.

  Raises:
    Refused: an argument is a folder without images.
  """
  paths = []
  for argument in arguments:
    if argument == "-":
      lines = os.fsdecode(sys.stdin.buffer.read()).splitlines()
      paths += [line for line in lines if line.strip()]
    elif os.path.isdir(argument):
      found = []
      for folder, folders, names in os.walk(argument):
        folders.sort()
        found += [os.path.join(folder, name) for name in sorted(names)
                  if name.lower().endswith(_EXTENSIONS)]
      if not found:
        raise Refused(f"{argument}: expected images in the folder "
                      f"({' '.join(_EXTENSIONS)}). Received: none.")
      paths += found
    else:
      paths.append(argument)
  if not paths:
    raise Refused("expected images: files, folders, or - for paths on "
                  "standard input. Received: none.")
  return paths


def main(arguments=None):
  """Asks about the images that the arguments name; returns the exit status."""
  options = _parse(arguments)
  sys.stdout.reconfigure(errors="backslashreplace")
  which = options.model, options.version, options.label, options.timeout
  try:
    paths = find_files(options.images)
    server = Grpc(options.grpc, *which) if options.grpc else Rest(
        options.url, *which)
  except Refused as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  batches = [paths[start:start + options.batch_size]
             for start in range(0, len(paths), options.batch_size)]
  failed = 0
  with concurrent.futures.ThreadPoolExecutor(options.concurrency) as pool:
    # Answers wait for those before them: so bound how many are on their way.
    waiting = collections.deque()
    while batches or waiting:
      while batches and len(waiting) < 2 * options.concurrency:
        waiting.append(
            pool.submit(answer_files, server, batches.pop(0), options))
      for line in waiting.popleft().result():
        failed += "error" in line
        print(json.dumps(line, ensure_ascii=False), flush=True)
  if failed:
    print(f"{failed} of {len(paths)} were not answered.", file=sys.stderr)
  return 1 if failed else 0


def _parse(arguments):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  add = parser.add_argument
  add("images", nargs="+", help="files, folders, or -")
  add("--url", default="http://localhost:8501", help="of REST")
  add("--grpc", metavar="HOST:PORT", help="ask by gRPC instead")
  add("--model", default="student", help="name that it is served by")
  add("--version", type=int, help="default: the newest that is served")
  add("--label", help="as stable or canary, instead of a version")
  add("--top_k", type=int, default=5, help="classes at most; 0 for all")
  add("--threshold", type=float, default=0.1, help="least probability")
  add("--batch_size", type=_positive, default=8, help="images a request")
  add("--concurrency", type=_positive, default=4, help="requests at a time")
  add("--retries", type=int, default=5, help="tries after the first")
  add("--timeout", type=float, default=60.0, help="seconds a request may take")
  options = parser.parse_args(arguments)
  if options.version is not None and options.label:
    parser.error("expected --version or --label. Received: both.")
  return options


def _positive(text):
  if int(text) < 1:
    raise argparse.ArgumentTypeError("expected 1 or more")
  return int(text)


def _read(path):
  """The bytes of a file that may be an image: others need no server."""
  with open(path, "rb") as file:
    content = file.read()
  if not content.startswith(_BEGINNINGS):
    raise Refused(f"expected a JPEG or PNG file. Received: {len(content)} "
                  "bytes of something else.")
  return content


def _chosen(names, probabilities, options):
  best = sorted(zip(names, probabilities), key=lambda pair: -pair[1])
  best = best[:options.top_k] if options.top_k > 0 else best
  return [{"class": name, "probability": float(f"{probability:.6g}")}
          for name, probability in best if probability >= options.threshold]


def _error_text(error):
  """What the server says is wrong."""
  try:
    content = error.read().decode("utf-8", "replace")
  except (OSError, http.client.HTTPException):
    return error.reason
  try:
    return json.loads(content)["error"]
  except (KeyError, TypeError, ValueError):
    return content.strip()[:500] or error.reason


def _retry_after(error):
  """Seconds of the header Retry-After; None where it has none or a date."""
  try:
    return max(0.0, float(error.headers.get("Retry-After")))
  except (TypeError, ValueError):
    return None


if __name__ == "__main__":
  try:
    sys.exit(main())
  except BrokenPipeError:  # `| head` has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except KeyboardInterrupt:
    sys.exit(130)
