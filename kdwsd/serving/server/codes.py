"""What a call is answered when it fails: codes, HTTP statuses, messages.

Codes are the names of gRPC's, which TF Serving uses too. Source of the HTTP
statuses: TF Serving 2.15, model_servers/http_server.cc, ToHTTPStatusCode.
"""

import re

import tensorflow as tf

OK = "OK"
CANCELLED = "CANCELLED"
UNKNOWN = "UNKNOWN"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
NOT_FOUND = "NOT_FOUND"
RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
FAILED_PRECONDITION = "FAILED_PRECONDITION"
UNIMPLEMENTED = "UNIMPLEMENTED"
INTERNAL = "INTERNAL"
UNAVAILABLE = "UNAVAILABLE"

# In the order of their numbers, google/rpc/code.proto.
NAMES = (
    OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND,
    "ALREADY_EXISTS", "PERMISSION_DENIED", RESOURCE_EXHAUSTED,
    FAILED_PRECONDITION, "ABORTED", "OUT_OF_RANGE", UNIMPLEMENTED, INTERNAL,
    UNAVAILABLE, "DATA_LOSS", "UNAUTHENTICATED")

_HTTP_STATUSES = {
    OK: 200, CANCELLED: 499, INVALID_ARGUMENT: 400, DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404, "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403,
    RESOURCE_EXHAUSTED: 429, FAILED_PRECONDITION: 400, "ABORTED": 409,
    "OUT_OF_RANGE": 400, UNIMPLEMENTED: 501, UNAVAILABLE: 503,
    "UNAUTHENTICATED": 401}

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
    code: one of `NAMES`.
    message: for the caller, cut to a length that fits every protocol.
  """

  def __init__(self, code, message):
    self.code = code
    self.message = message if len(message) <= _LONGEST_MESSAGE else (
        message[:_LONGEST_MESSAGE] + "...")
    super().__init__(f"{code}: {self.message}")

  @property
  def http_status(self):
    """HTTP status of the code."""
    return _HTTP_STATUSES.get(self.code, 500)


def invalid(message):
  """The error of a request that is wrong in itself."""
  return ServingError(INVALID_ARGUMENT, message)


def from_exception(error):
  """The `ServingError` of whatever was raised.

  An operation's error keeps its code, and its message without TensorFlow's
  notes on nodes and functions; anything else is INTERNAL.
  """
  if isinstance(error, ServingError):
    return error
  if isinstance(error, tf.errors.OpError):
    return ServingError(NAMES[error.error_code], plain_message(error.message))
  return ServingError(INTERNAL, f"{type(error).__name__}: {error}")


def plain_message(message):
  """An operation's message without TensorFlow's notes around it."""
  lines = [line for line in _NOISE.sub("", message).splitlines()
           if line.strip()]
  return "\n".join(line.strip() for line in lines) or message.strip()
