#!/usr/bin/env python3
"""Classifies images with a served student; prints a line of JSON per image.

    python client.py photos/ > answers.jsonl
    python client.py --url=http://serving.example:8501 --label=canary a.jpg
    python client.py --grpc=localhost:8500 photos/

Needs only Python 3.8; with --grpc also `pip install tensorflow-serving-api`.
Images are JPEG or PNG files, folders of them (with their subfolders), or - for
paths on standard input, one per line.

The lines of output are in the order of the images. Each is one of

    {"image": "a.jpg", "predictions": [{"class": "dog", "probability": 0.93}]}
    {"image": "b.jpg", "error": "..."}

Temporary errors are retried: no connection, or a server that is starting, busy
or briefly unavailable (HTTP 429, 502, 503; UNAVAILABLE, RESOURCE_EXHAUSTED).

Exports have the signature `per_image`, which returns an error for each invalid
image. Older exports do not: one invalid image fails its whole request, and the
requests that a batching server has joined to it. The images of a failed request
are then sent again one by one, while this client has no other request pending.

Exit status: 0 if all images were classified, 1 if some were not, 2 for no
images or an invalid flag.
"""

import abc
import argparse
import base64
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_PER_IMAGE, _DEFAULT = "per_image", "serving_default"
_TRANSIENT_HTTP = (429, 502, 503)
_TRANSIENT_GRPC = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
# Messages of TensorFlow Serving's batching, of gRPC and of kdwsd.serve.
_TOO_LARGE = re.compile("larger than max|rows a request at most")
_LONGEST_WAIT = 10.0  # seconds between two tries
_LONGEST_MESSAGE = 300  # characters; some messages quote the request
# The server may join a request of one image to another client's invalid image.
_TRIES_ALONE = 4


class Refused(Exception):
  """A permanent error, of the server or of a file; it is not retried.

  Attributes:
    of_image: whether an invalid image may be the cause.
    too_large: whether a request with fewer images may succeed.
  """

  def __init__(self, message, of_image=False, too_large=False):
    super().__init__(message)
    self.of_image = of_image
    self.too_large = too_large


class Transient(Exception):
  """A temporary error, which is retried.

  Attributes:
    wait: seconds to wait, if the server requests it, or None.
  """

  def __init__(self, message, wait=None):
    super().__init__(message)
    self.wait = wait


class Server(abc.ABC):
  """The common part of REST and gRPC: the choice of the signature."""

  def __init__(self):
    """Starts with `per_image`; `predict` falls back to the default."""
    self._signature = _PER_IMAGE

  def predict(self, contents):
    """Classifies encoded images.

    Args:
      contents: list of encoded images.

    Returns:
      For each image lists of class names and probabilities, or a `Refused`.

    Raises:
      Transient: the request failed and can be retried.
      Refused: the request failed.
    """
    try:
      rows = self._ask(contents, self._signature)
    except Refused as error:
      if f'"{_PER_IMAGE}" not found' not in str(error):
        raise
      self._signature = _DEFAULT
      rows = self._ask(contents, self._signature)
    if len(rows) != len(contents):
      raise Refused(f"{len(rows)} answers for {len(contents)} images")
    return [Refused(_short(status)) if status else (names, probabilities)
            for names, probabilities, status in rows]

  @abc.abstractmethod
  def _ask(self, contents, signature):
    """As `predict`; returns class names, probabilities, status per image."""


class Rest(Server):
  """TensorFlow Serving's REST API."""

  def __init__(self, url, model, version, label, timeout):
    """Takes the values of the flags of these names."""
    super().__init__()
    if not url.startswith(("http://", "https://")):
      raise Refused(f"--url: expected http://HOST:PORT. Received: {url}")
    path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
    if version is not None:
      path += f"/versions/{version}"
    elif label:
      path += f"/labels/{urllib.parse.quote(label, safe='')}"
    self._url = url.rstrip("/") + path + ":predict"
    self._timeout = timeout

  def _ask(self, contents, signature):
    body = json.dumps({"signature_name": signature, "instances": [
        {"image_bytes": {"b64": base64.b64encode(content).decode("ascii")}}
        for content in contents]}).encode("ascii")
    try:
      request = urllib.request.Request(
          self._url, body, {"Content-Type": "application/json"})
      with urllib.request.urlopen(request, timeout=self._timeout) as response:
        answer = json.load(response)
    except urllib.error.HTTPError as error:
      message = f"HTTP {error.code}: {_error_text(error)}"
      if error.code in _TRANSIENT_HTTP:
        raise Transient(message, _retry_after(error)) from error
      raise Refused(
          message, error.code == 400,
          error.code == 413 or bool(_TOO_LARGE.search(message))) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
      reason = getattr(error, "reason", error)
      if isinstance(reason, socket.timeout):
        raise Refused(f"no answer in {self._timeout:g} s (--timeout)") from (
            error)
      raise Transient(f"{self._url}: {reason}") from error
    except ValueError as error:
      raise Refused(f"{self._url}: the answer is not JSON: {error}") from error
    try:
      return [(row["classes"], row["probabilities"], row.get("status"))
              for row in answer["predictions"]]
    except (AttributeError, KeyError, TypeError) as error:
      raise Refused(f"{self._url}: the answer has no classes and probabilities;"
                    " is the model an export of kdwsd?") from error


class Grpc(Server):
  """TensorFlow Serving's gRPC API."""

  def __init__(self, address, model, version, label, timeout):
    """Takes the values of the flags of these names; `address` is --grpc."""
    super().__init__()
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

  def _ask(self, contents, signature):
    request = self._predict_pb2.PredictRequest()
    request.model_spec.name = self._model
    request.model_spec.signature_name = signature
    if self._version is not None:
      request.model_spec.version.value = self._version
    elif self._label:
      request.model_spec.version_label = self._label
    request.inputs["image_bytes"].CopyFrom(
        self._tf.make_tensor_proto(contents, shape=[len(contents)]))
    try:
      outputs = self._stub.Predict(request, self._timeout).outputs
    except self._grpc.RpcError as error:
      code = error.code().name
      message = f"{code}: {_short(error.details())}"
      too_large = bool(_TOO_LARGE.search(message))
      if code in _TRANSIENT_GRPC and not too_large:
        raise Transient(f"{self._address}: {message}") from error
      raise Refused(
          message, code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"),
          too_large) from error
    try:
      names, probabilities = (
          self._tf.make_ndarray(outputs[name]).tolist()
          for name in ("classes", "probabilities"))
    except (TypeError, ValueError) as error:
      raise Refused(f"{self._address}: the answer has no classes and "
                    "probabilities; is the model an export of kdwsd?") from (
                        error)
    statuses = [b""] * len(names)
    if "status" in outputs:
      statuses = self._tf.make_ndarray(outputs["status"]).tolist()
    return [([name.decode("utf-8") for name in row], numbers, status.decode())
            for row, numbers, status in zip(names, probabilities, statuses)]


class Sender:
  """Sends images of several threads, so that invalid ones fail alone."""

  def __init__(self, server, retries, batch_size):
    """Keeps the arguments; sends nothing.

    Args:
      server: a `Server`.
      retries: number of retries after a temporary error.
      batch_size: maximum number of images per request.
    """
    self._server, self._retries = server, retries
    self._batch_size = batch_size
    self._changed = threading.Condition()
    self._running = self._want_alone = 0
    self._is_alone = False

  def send(self, contents):
    """Classifies images in requests of several images, or singly if these fail.

    Args:
      contents: list of encoded images.

    Returns:
      For each image a pair of lists, or its `Refused`.
    """
    answers = []
    while len(answers) < len(contents):
      part = contents[len(answers):len(answers) + self._batch_size]
      try:
        answers += self._predict(part)
      except Refused as error:
        if error.too_large and len(part) > 1:
          self._shrink(len(part), error)
        elif error.of_image and not error.too_large:
          answers += [self._find_out(content, error) for content in part]
        else:
          answers += [error] * len(part)
    return answers

  def _find_out(self, content, error):
    """The answer for a single image of a failed request."""
    for number in range(_TRIES_ALONE):
      if number:  # Random, so that two clients do not collide again.
        time.sleep(random.uniform(0.0, 0.2))
      try:
        return self._predict([content], alone=True)[0]
      except Refused as again:
        error = again
        if not error.of_image:
          break
    return error

  def _predict(self, contents, alone=False):
    """Sends a request and retries it after temporary errors."""
    pause = 0.2
    for left in range(self._retries, -1, -1):
      try:
        with self._turn(alone):
          return self._server.predict(contents)
      except Transient as error:
        if not left:
          raise Refused(f"{error} ({self._retries + 1} tries)") from error
        # Random, so that clients that failed together do not retry together.
        wait = pause * random.uniform(0.5, 1.0)
        time.sleep(min(error.wait or wait, _LONGEST_WAIT))
        pause = min(2 * pause, _LONGEST_WAIT)
    raise AssertionError("not reached")

  @contextlib.contextmanager
  def _turn(self, alone):
    """Waits until a request may be sent; if `alone`, until none is pending."""
    with self._changed:
      self._want_alone += alone
      self._changed.wait_for(lambda: not self._is_alone and not (
          self._running if alone else self._want_alone))
      self._want_alone -= alone
      self._running += 1
      self._is_alone = alone
    try:
      yield
    finally:
      with self._changed:
        self._running -= 1
        self._is_alone = False
        self._changed.notify_all()

  def _shrink(self, size, error):
    with self._changed:
      if self._batch_size < size:
        return  # Another thread has already reduced it.
      self._batch_size = size // 2
      _note(f"the server does not accept {size} images per request ({error}). "
            f"These images are sent again with {size // 2} images per request; "
            "set --batch_size to at most this.")


def answer_files(sender, paths, options):
  """The lines of output for the files `paths`, as dictionaries."""
  lines, contents, places = [], [], []
  for path in paths:
    lines.append({"image": path})
    try:
      contents.append(_read(path))
      places.append(lines[-1])
    except (OSError, ValueError, Refused) as error:
      lines[-1]["error"] = getattr(error, "strerror", None) or str(error)
  for line, answer in zip(places, sender.send(contents)):
    if isinstance(answer, Refused):
      line["error"] = str(answer)
    else:
      line["predictions"] = _chosen(*answer, options)
  return lines


def find_files(arguments):
  """Paths of the images that the arguments name.

  Raises:
    Refused: no arguments, a folder without images, or an unreadable one.
  """
  paths = []
  for argument in arguments:
    if argument == "-":
      lines = sys.stdin.buffer.read().splitlines()
      paths += [os.fsdecode(line) for line in lines if line.strip()]
    elif os.path.isdir(argument):
      paths += _walk(argument)
    else:
      paths.append(argument)
  if not paths:
    raise Refused("expected images: files, folders, or - for paths on "
                  "standard input. Received: none.")
  return paths


def main(arguments=None):
  """Classifies the images named by the arguments; returns the exit status."""
  options = _parse(arguments)
  # Encodings other than UTF-8 lack characters, which JSON can escape as \uXXXX.
  in_ascii = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
  sys.stdout.reconfigure(errors="backslashreplace")
  which = options.model, options.version, options.label, options.timeout
  try:
    paths = find_files(options.images)
    server = Grpc(options.grpc, *which) if options.grpc else Rest(
        options.url, *which)
  except Refused as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  sender = Sender(server, options.retries, options.batch_size)
  batches = [paths[start:start + options.batch_size]
             for start in range(0, len(paths), options.batch_size)]
  failed = 0
  with concurrent.futures.ThreadPoolExecutor(options.concurrency) as pool:
    # Answers are printed in order; this limits the number of pending requests.
    waiting = collections.deque()
    while batches or waiting:
      while batches and len(waiting) < 2 * options.concurrency:
        waiting.append(
            pool.submit(answer_files, sender, batches.pop(0), options))
      for line in waiting.popleft().result():
        failed += "error" in line
        print(json.dumps(line, ensure_ascii=in_ascii), flush=True)
  if failed:
    print(f"{failed} of {len(paths)} images were not classified.",
          file=sys.stderr)
  return 1 if failed else 0


def _parse(arguments):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  add = parser.add_argument
  add("images", nargs="+", help="files, folders, or -")
  add("--url", default="http://localhost:8501", help="URL of the REST API")
  add("--grpc", metavar="HOST:PORT", help="use gRPC at this address instead")
  add("--model", default="student", help="name of the served model")
  add("--version", type=int, help="version; default: the newest one served")
  add("--label", help="label of a version, such as stable or canary")
  add("--top_k", type=int, default=5, help="maximum classes; 0 for all")
  add("--threshold", type=float, default=0.1, help="minimum probability")
  add("--batch_size", type=int, default=8, help="images per request")
  add("--concurrency", type=int, default=4, help="concurrent requests")
  add("--retries", type=int, default=5, help="retries of a failed request")
  add("--timeout", type=float, default=60.0, help="timeout of a request, s")
  options = parser.parse_args(arguments)
  for name, least in (("batch_size", 1), ("concurrency", 1), ("retries", 0),
                      ("timeout", 0.001)):
    if not getattr(options, name) >= least:
      parser.error(f"--{name}: expected {least} or more. Received: "
                   f"{getattr(options, name)}.")
  if options.version is not None and options.label:
    parser.error("expected --version or --label. Received: both.")
  return options


def _walk(folder):
  """Paths of images in a folder and its subfolders; notes skipped files."""
  found, others, links = [], 0, 0

  def fail(error):
    raise Refused(f"{error.filename}: expected a folder that can be read. "
                  f"Received: {error.strerror}.") from error

  for place, folders, names in os.walk(folder, onerror=fail):
    folders.sort()
    links += sum(os.path.islink(os.path.join(place, name)) for name in folders)
    images = [name for name in sorted(names)
              if name.lower().endswith(_EXTENSIONS)]
    found += [os.path.join(place, name) for name in images]
    others += len(names) - len(images)
  endings = " ".join(_EXTENSIONS)
  if not found:
    raise Refused(f"{folder}: expected images in the folder ({endings}). "
                  f"Received: none; {others} other files, {links} linked "
                  "folders.")
  if others or links:
    _note(f"{folder}: skipped {others} files whose names do not end in "
          f"{endings}, and {links} linked folders.")
  return found


def _read(path):
  """The bytes of a file; raises `Refused` unless it starts as a JPEG or PNG."""
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
  """The error message in the server's response."""
  try:
    text = error.read().decode("utf-8", "replace")
  except (OSError, http.client.HTTPException):
    text = ""
  with contextlib.suppress(KeyError, TypeError, ValueError):
    text = str(json.loads(text)["error"])
  return _short(text) or error.reason


def _short(text):
  """A message on one line, shortened."""
  text = " ".join((text or "").split())
  return text if len(text) <= _LONGEST_MESSAGE else (
      f"{text[:_LONGEST_MESSAGE]}...")


def _note(text):
  print(f"note: {text}", file=sys.stderr)


def _retry_after(error):
  """Seconds of the header Retry-After; None without one or with a date."""
  try:
    return max(0.0, float(error.headers.get("Retry-After")))
  except (TypeError, ValueError):
    return None


if __name__ == "__main__":
  try:
    sys.exit(main())
  except BrokenPipeError:  # The reader has exited, as in `| head`.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except KeyboardInterrupt:
    sys.exit(130)
