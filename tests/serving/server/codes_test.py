"""Errors keep their code and their words, and lose TensorFlow's."""

import asyncio
from concurrent import futures

import grpc
import pytest

from kdwsd.serving import native_session
from kdwsd.serving.server import codes


@pytest.mark.parametrize("code, status", [
    ("NOT_FOUND", 404), ("INVALID_ARGUMENT", 400), ("UNAVAILABLE", 503),
    ("FAILED_PRECONDITION", 400), ("UNIMPLEMENTED", 501), ("INTERNAL", 500),
    ("DEADLINE_EXCEEDED", 504), ("RESOURCE_EXHAUSTED", 429),
    ("DATA_LOSS", 500)])
def test_http_statuses_are_tf_servings(code, status):
  assert codes.ServingError(grpc.StatusCode[code], "").http_status == status


@pytest.mark.parametrize("message", [
    "Graph execution error:\n\nDetected at node Assert/Assert defined at (most "
    "recent call last):\n<stack traces unavailable>\nassertion failed: "
    "[image_bytes[1]: bad]\n\t [[{{node Assert/Assert}}]]",
    "{{function_node __inference_f_2}} assertion failed: [image_bytes[1]: bad]"
    "\n\t [[{{node map/while/Assert}}]]\n\t [[map/Stack]]",
])
def test_an_operations_message_loses_the_notes_of_tensorflow(message):
  error = codes.from_exception(native_session.NativeError(message, 3))
  assert error.code.name == "INVALID_ARGUMENT"
  assert error.message == "image_bytes[1]: bad"


def test_other_exceptions_are_internal_and_long_messages_cut():
  error = codes.from_exception(KeyError("x" * 5000))
  assert error.code.name == "INTERNAL"
  assert error.message.startswith("KeyError: 'xxx")
  assert len(error.message) < 1100


@pytest.mark.parametrize("error", [
    futures.TimeoutError(), asyncio.CancelledError()])
def test_a_call_without_an_answer_in_time_is_late(error):
  assert codes.from_exception(error).http_status == 504
