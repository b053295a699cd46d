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

Exports have the signature `per_image`, which tells good images from bad ones.
Older ones do not: there, one bad image fails a whole request, and those that a
batching server has joined to it. The images of a failed request are then sent
again one by one, while no other request of this client is on its way.

Exit status: 0 all answered; 1 some were not; 2 nothing to send, or a bad flag.
"""

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
# Of TensorFlow Serving's batching, of gRPC, of kdwsd.serve.
_TOO_LARGE = re.compile("larger than max|rows a request at most")
_LONGEST_WAIT = 10.0  # seconds between two tries
_LONGEST_MESSAGE = 300  # characters; some quote the request
# Another client's bad image may be joined to a request of one image.
_TRIES_ALONE = 4


class Refused(Exception):
  """The server, or the file, will not do; another try would not either.

  Attributes:
    of_image: whether an image of the request may be to blame.
    too_large: whether fewer images a request may do.
  """

  def __init__(self, message, of_image=False, too_large=False):
    super().__init__(message)
    self.of_image = of_image
    self.too_large = too_large


class Transient(Exception):
  """Another try may do.

  Attributes:
    wait: seconds that the server asks for, or None.
  """

  def __init__(self, message, wait=None):
    super().__init__(message)
    self.wait = wait


class Server:
  """What REST and gRPC have in common: which signature is asked."""

  def __init__(self):
    """Begins with the better one."""
    self._signature = _PER_IMAGE

  def predict(self, contents):
    """Classifies encoded images.

    Args:
      contents: list of bytes.

    Returns:
      For each a pair of lists, class names and probabilities; or `Refused`.

    Raises:
      Transient, Refused: as they say.
    """
    try:
      rows = self._ask(contents, self._signature)
    except Refused as error:
      if f'"{_PER_IMAGE}" not found' not in str(error):
        raise
      self._signature = _DEFAULT
      rows = self._ask(contents, self._signature)
    if len(rows) != len(contents):
      raise Refused(f"{len(rows)} answers to {len(contents)} images")
    return [Refused(_short(status)) if status else (names, probabilities)
            for names, probabilities, status in rows]

  def _ask(self, contents, signature):
    """As `predict`; for each image class names, probabilities, status."""
    raise NotImplementedError


class Rest(Server):
  """TensorFlow Serving's REST API."""

  def __init__(self, url, model, version, label, timeout):
    """Takes what every request has; see the flags."""
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
      raise Refused(f"{self._url}: answered no JSON: {error}") from error
    try:
      return [(row["classes"], row["probabilities"], row.get("status"))
              for row in answer["predictions"]]
    except (AttributeError, KeyError, TypeError) as error:
      raise Refused(f"{self._url}: answered without classes and probabilities; "
                    "is it an export of kdwsd?") from error


class Grpc(Server):
  """TensorFlow Serving's gRPC API."""

  def __init__(self, address, model, version, label, timeout):
    """Takes what every request has; see the flags."""
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
      raise Refused(f"{self._address}: answered without classes and "
                    "probabilities; is it an export of kdwsd?") from error
    statuses = [b""] * len(names)
    if "status" in outputs:
      statuses = self._tf.make_ndarray(outputs["status"]).tolist()
    return [([name.decode("utf-8") for name in row], numbers, status.decode())
            for row, numbers, status in zip(names, probabilities, statuses)]


class Sender:
  """Sends images for several threads, so that a bad one costs no other."""

  def __init__(self, server, retries, batch_size):
    """Sends nothing yet.

    Args:
      server: a `Server`.
      retries: tries after the first.
      batch_size: images a request, at most.
    """
    self._server, self._retries = server, retries
    self._batch_size = batch_size
    self._changed = threading.Condition()
    self._running = self._want_alone = 0
    self._is_alone = False

  def send(self, contents):
    """Asks about images: together, and one by one where it must be.

    Args:
      contents: list of bytes.

    Returns:
      For each a pair of lists, or the `Refused` that it met.
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
    """The answer to an image of a refused request."""
    for number in range(_TRIES_ALONE):
      if number:  # So that two clients do not meet again and again.
        time.sleep(random.uniform(0.0, 0.2))
      try:
        return self._predict([content], alone=True)[0]
      except Refused as again:
        error = again
        if not error.of_image:
          break
    return error

  def _predict(self, contents, alone=False):
    """Asks until it is answered, told no, or out of tries."""
    pause = 0.2
    for left in range(self._retries, -1, -1):
      try:
        with self._turn(alone):
          return self._server.predict(contents)
      except Transient as error:
        if not left:
          raise Refused(f"{error} ({self._retries + 1} tries)") from error
        # Clients that were refused together should not come back together.
        wait = pause * random.uniform(0.5, 1.0)
        time.sleep(min(error.wait or wait, _LONGEST_WAIT))
        pause = min(2 * pause, _LONGEST_WAIT)
    raise AssertionError("not reached")

  @contextlib.contextmanager
  def _turn(self, alone):
    """Waits until a request may be sent; `alone`, until no other is sent."""
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
        return  # Another thread has noticed.
      self._batch_size = size // 2
      _note(f"the server does not take {size} images a request ({error}). "
            f"Those of this size are sent twice, later ones have {size // 2}; "
            "a smaller --batch_size saves that.")


def answer_files(sender, paths, options):
  """The lines of output for some files, as dictionaries."""
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
    Refused: an argument is a folder without images, or cannot be read.
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
  """Asks about the images that the arguments name; returns the exit status."""
  options = _parse(arguments)
  # Other encodings than UTF-8 lack letters, which JSON can write as \uXXXX.
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
    # Answers wait for those before them: so bound how many are on their way.
    waiting = collections.deque()
    while batches or waiting:
      while batches and len(waiting) < 2 * options.concurrency:
        waiting.append(
            pool.submit(answer_files, sender, batches.pop(0), options))
      for line in waiting.popleft().result():
        failed += "error" in line
        print(json.dumps(line, ensure_ascii=in_ascii), flush=True)
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
  add("--batch_size", type=int, default=8, help="images a request")
  add("--concurrency", type=int, default=4, help="requests at a time")
  add("--retries", type=int, default=5, help="tries after the first")
  add("--timeout", type=float, default=60.0, help="seconds a request may take")
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
  """Paths of images below a folder; tells what it passes over."""
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
    _note(f"{folder}: {others} files passed over, whose names do not end in "
          f"{endings}, and {links} linked folders.")
  return found


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
    text = error.read().decode("utf-8", "replace")
  except (OSError, http.client.HTTPException):
    text = ""
  with contextlib.suppress(KeyError, TypeError, ValueError):
    text = str(json.loads(text)["error"])
  return _short(text) or error.reason


def _short(text):
  """A message in one line that can be read."""
  text = " ".join((text or "").split())
  return text if len(text) <= _LONGEST_MESSAGE else (
      f"{text[:_LONGEST_MESSAGE]}...")


def _note(text):
  print(f"note: {text}", file=sys.stderr)


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
