"""Calls are bounded and measured, however they end."""

import pytest

from kdwsd.serving.server import codes
from kdwsd.serving.server import inference
from kdwsd.serving.server import metrics as metrics_lib
from kdwsd.serving.server import models


@pytest.fixture(name="metrics")
def fixture_metrics():
  return metrics_lib.Metrics("student")


@pytest.fixture(name="calls")
def fixture_calls(metrics, tmp_path):
  return inference.Inference(
      models.Model("student", tmp_path), None, metrics, max_in_flight=2,
      max_request_rows=1)


def _count(metrics, model_name, code):
  line = (f':tensorflow:serving:request_count{{model_name="{model_name}",'
          f'status="{code}"}} ')
  return [text[len(line):] for text in metrics.page().decode().splitlines()
          if text.startswith(line)]


def test_one_call_too_many_is_unavailable(calls, metrics):
  with calls.call("student", "Predict", "REST"):
    with calls.call("student", "Predict", "GRPC"):
      assert b"kdwsd_calls_in_flight 2.0\n" in metrics.page()
      with pytest.raises(codes.ServingError) as caught:
        with calls.call("student", "Predict", "REST"):
          raise AssertionError("not admitted")
      assert caught.value.code.name == "UNAVAILABLE"
    with calls.call("student", "Predict", "REST"):
      pass
  assert b"kdwsd_calls_in_flight 0.0\n" in metrics.page()
  assert _count(metrics, "student", "OK") == ["3.0"]
  assert _count(metrics, "student", "UNAVAILABLE") == ["1.0"]


def test_exceptions_become_internal_and_free_their_place(calls, metrics):
  for _ in range(3):
    with pytest.raises(codes.ServingError) as caught:
      with calls.call("student", "Predict", "REST"):
        raise KeyError("oops")
    assert caught.value.code.name == "INTERNAL"
  assert _count(metrics, "student", "INTERNAL") == ["3.0"]


def test_names_that_callers_make_up_are_counted_as_one(calls, metrics):
  for name in ("a", "b"):
    with calls.call(name, "Predict", "REST"):
      pass
  assert _count(metrics, "(other)", "OK") == ["2.0"]
