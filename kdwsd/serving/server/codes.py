"""Errors of calls: gRPC codes, which TF Serving uses too, and messages."""

from concurrent import futures
import re

import grpc
import tensorflow as tf

Code = grpc.StatusCode

_OF_NUMBER = {code.value[0]: code for code in Code}

# Source: TF Serving 2.15, model_servers/http_server.cc, ToHTTPStatusCode.
_HTTP_STATUSES = {
    Code.OK: 200, Code.CANCELLED: 499, Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503, Code.UNAUTHENTICATED: 401}

# Characters. gRPC sends the message in a header, of 8 KiB at most.
_MAX_MESSAGE = 1000

# What TensorFlow adds around the message of an operation.
_NOISE = re.compile(
    r"^Graph execution error:\s*|Detected at node .*\n|<stack traces [^>]*>\n|"
    r"\s*\[\[\{\{[^}]*\}\}\]\]|\{\{[^}]*\}\}\s*")


class ServingError(Exception):
  """A call that failed.

  Attributes:
    code: `grpc.StatusCode`.
    http_status: of that code.
    message: for the caller, cut to a length that fits every protocol.
  """

  def __init__(self, code, message):
    self.code = code
    self.http_status = _HTTP_STATUSES.get(code, 500)
    self.message = message if len(message) <= _MAX_MESSAGE else (
        message[:_MAX_MESSAGE] + "...")
    super().__init__(f"{code.name}: {self.message}")


def invalid(message):
  """The error of an invalid request."""
  return ServingError(Code.INVALID_ARGUMENT, message)


def from_exception(error):
  """The `ServingError` of any exception.

  An operation's error keeps its code, and its message without TensorFlow's
  notes on nodes and functions; anything else is INTERNAL.
  """
  if isinstance(error, ServingError):
    return error
  if isinstance(error, UnicodeDecodeError):
    # TensorFlow's message holds bytes of a request, which Python cannot decode;
    # the code is lost.
    return invalid(_plain(error.object.decode("utf-8", "replace")))
  if isinstance(error, tf.errors.OpError):
    return ServingError(_OF_NUMBER.get(error.error_code, Code.UNKNOWN),
                        _plain(error.message))
  return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def result(future, seconds):
  """Result of a future; or it is cancelled, and DEADLINE_EXCEEDED raised."""
  try:
    return future.result(seconds)
  except futures.TimeoutError as error:
    future.cancel()
    raise ServingError(Code.DEADLINE_EXCEEDED,
                       "The time for this request is over.") from error


def _plain(message):
  """An operation's message without TensorFlow's notes around it."""
  lines = map(str.strip, _NOISE.sub("", message).splitlines())
  return "\n".join(filter(None, lines)) or message.strip()
