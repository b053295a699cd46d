"""Errors keep their code and their words, and lose TensorFlow's."""

import grpc
import pytest
import tensorflow as tf

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
  error = codes.from_exception(
      tf.errors.InvalidArgumentError(None, None, message))
  assert error.code.name == "INVALID_ARGUMENT"
  assert error.message.splitlines()[0] == (
      "assertion failed: [image_bytes[1]: bad]")
  assert "{{" not in error.message


def test_other_exceptions_are_internal_and_long_messages_cut():
  error = codes.from_exception(KeyError("x" * 5000))
  assert error.code.name == "INTERNAL"
  assert error.message.startswith("KeyError: 'xxx")
  assert len(error.message) < 1100


def test_a_message_with_bytes_of_a_request_is_the_requests_fault():
  try:
    b"{{function_node f}} Could not parse: '\xff\xd8'".decode("utf-8")
  except UnicodeDecodeError as caught:
    error = codes.from_exception(caught)
  assert error.code.name == "INVALID_ARGUMENT"
  assert error.message == "Could not parse: '\ufffd\ufffd'"
