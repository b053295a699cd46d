"""What a call is answered when it fails: codes, HTTP statuses, messages.

Codes are gRPC's, which TF Serving uses too. Source of the HTTP statuses:
TF Serving 2.15, model_servers/http_server.cc, ToHTTPStatusCode.
"""

import re

import grpc
import tensorflow as tf

Code = grpc.StatusCode

_OF_NUMBER = {code.value[0]: code for code in Code}
_HTTP_STATUSES = {
    Code.OK: 200, Code.CANCELLED: 499, Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503, Code.UNAUTHENTICATED: 401}

# Characters. gRPC sends the message in a header, of 8 KiB at most.
_LONGEST_MESSAGE = 1000

# What TensorFlow adds around the message of an operation.
_NOISE = re.compile(
    r"^Graph execution error:\s*|Detected at node .*\n|<stack traces [^>]*>\n|"
    r"\s*\[\[\{\{[^}]*\}\}\]\]|\{\{[^}]*\}\}\s*|\s*\[Op:[^\]]*\]\s*$",
    re.MULTILINE)


class ServingError(Exception):
  """A call that failed.

  Attributes:
    code: `grpc.StatusCode`.
    message: for the caller, cut to a length that fits every protocol.
  """

  def __init__(self, code, message):
    self.code = code
    self.message = message if len(message) <= _LONGEST_MESSAGE else (
        message[:_LONGEST_MESSAGE] + "...")
    super().__init__(f"{code.name}: {self.message}")

  @property
  def http_status(self):
    """HTTP status of the code."""
    return _HTTP_STATUSES.get(self.code, 500)


def invalid(message):
  """The error of a request that is wrong in itself."""
  return ServingError(Code.INVALID_ARGUMENT, message)


def from_exception(error):
  """The `ServingError` of whatever was raised.

  An operation's error keeps its code, and its message without TensorFlow's
  notes on nodes and functions; anything else is INTERNAL.
  """
  if isinstance(error, ServingError):
    return error
  if isinstance(error, UnicodeDecodeError):
    # TensorFlow's message holds bytes of a request, and does not survive the
    # way into Python; nor does its code.
    return invalid(plain_message(error.object.decode("utf-8", "replace")))
  if isinstance(error, tf.errors.OpError):
    return ServingError(
        _OF_NUMBER.get(error.error_code, Code.UNKNOWN),
        plain_message(error.message))
  return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def plain_message(message):
  """An operation's message without TensorFlow's notes around it."""
  lines = [line for line in _NOISE.sub("", message).splitlines()
           if line.strip()]
  return "\n".join(line.strip() for line in lines) or message.strip()
