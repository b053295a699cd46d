"""Errors of calls: gRPC codes, which TF Serving uses too, and messages."""

import asyncio
from concurrent import futures

from absl import logging
import grpc

from kdwsd import system_errors
from kdwsd.serving import native_session

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


class ServingError(Exception):
  """A call that failed.

  Attributes:
    code: `grpc.StatusCode`.
    http_status: of that code, or another one that says more.
    message: for the caller, cut to a length that fits every protocol.
  """

  def __init__(self, code, message, http_status=None):
    self.code = code
    self.http_status = http_status or _HTTP_STATUSES.get(code, 500)
    self.message = message if len(message) <= _MAX_MESSAGE else (
        message[:_MAX_MESSAGE] + "...")
    super().__init__(f"{code.name}: {self.message}")


def invalid(message):
  """The error of an invalid request."""
  return ServingError(Code.INVALID_ARGUMENT, message)


def from_exception(error):
  """The `ServingError` of any exception.

  An error of the session keeps its code, and of its message the reason. A call
  that is cancelled, or whose wait timed out, has used up its time. Anything
  else is INTERNAL, a fault of the server, and logged.
  """
  if isinstance(error, ServingError):
    return error
  if isinstance(error, (futures.TimeoutError, asyncio.CancelledError)):
    return ServingError(
        Code.DEADLINE_EXCEEDED, "The time for this request is over.")
  reason = system_errors.first_line(error)
  if isinstance(error, native_session.NativeError):
    return ServingError(_OF_NUMBER.get(error.code, Code.UNKNOWN), reason)
  logging.error("A call failed.", exc_info=error)
  return ServingError(Code.INTERNAL, f"{type(error).__name__}: {reason}")
