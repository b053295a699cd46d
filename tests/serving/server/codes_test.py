"""Errors keep their code and their words, and lose TensorFlow's."""

import grpc
import pytest
import tensorflow as tf

from kdwsd.serving.server import codes


def test_names_are_grpcs_in_the_order_of_their_numbers():
  assert [grpc.StatusCode[name].value[0] for name in codes.NAMES] == list(
      range(17))


@pytest.mark.parametrize("code, status", [
    ("NOT_FOUND", 404), ("INVALID_ARGUMENT", 400), ("UNAVAILABLE", 503),
    ("FAILED_PRECONDITION", 400), ("UNIMPLEMENTED", 501), ("INTERNAL", 500),
    ("DEADLINE_EXCEEDED", 504), ("RESOURCE_EXHAUSTED", 429),
    ("DATA_LOSS", 500)])
def test_http_statuses_are_tf_servings(code, status):
  assert codes.ServingError(code, "").http_status == status


@pytest.mark.parametrize("message", [
    "Graph execution error:\n\nDetected at node Assert/Assert defined at (most "
    "recent call last):\n<stack traces unavailable>\nassertion failed: "
    "[image_bytes[1]: bad]\n\t [[{{node Assert/Assert}}]] "
    "[Op:__inference_signature_wrapper_f_218]",
    "{{function_node __inference_f_2}} assertion failed: [image_bytes[1]: bad]"
    "\n\t [[{{node map/while/Assert}}]]\n\t [[map/Stack]] [Op:StatefulCall]",
])
def test_an_operations_message_loses_the_notes_of_tensorflow(message):
  error = codes.from_exception(
      tf.errors.InvalidArgumentError(None, None, message))
  assert error.code == "INVALID_ARGUMENT"
  assert error.message.splitlines()[0] == (
      "assertion failed: [image_bytes[1]: bad]")
  assert "{{" not in error.message
  assert "[Op:" not in error.message


def test_other_exceptions_are_internal_and_long_messages_cut():
  error = codes.from_exception(KeyError("x" * 5000))
  assert error.code == "INTERNAL"
  assert error.message.startswith("KeyError: 'xxx")
  assert len(error.message) < 1100
