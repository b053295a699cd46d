"""Calls are limited and measured; the page is what Prometheus reads."""

import math
import threading
import types

from prometheus_client import parser
import pytest

from kdwsd.serving.server import codes
from kdwsd.serving.server import metrics as metrics_lib

_TF = ":tensorflow:serving:request_"


def _samples(metrics):
  """{(name, *values of labels by name): number}."""
  return {
      (sample.name, *(value for _, value in sorted(sample.labels.items()))):
      sample.value
      for family in parser.text_string_to_metric_families(
          metrics.page().decode("utf-8"))
      for sample in family.samples}


def test_metrics_of_tf_serving_have_its_names_and_labels(monkeypatch):
  metrics = metrics_lib.Metrics("student", 1)
  times = iter((0, 15e-6, 1, 1 + 5e-6, 2, 10001))
  monkeypatch.setattr(metrics_lib, "time", types.SimpleNamespace(
      monotonic=lambda: next(times)))
  for _ in range(2):
    with metrics.call("student", "Predict", "REST"):
      pass
  with pytest.raises(codes.ServingError):
    with metrics.call("student", "Predict", "GRPC"):
      raise codes.ServingError(codes.Code.NOT_FOUND, "")
  metrics.examples.inc(3)
  metrics.versions_available.set_function(lambda: 7)
  found = _samples(metrics)
  assert found[f"{_TF}count", "student", "OK"] == 2
  assert found[f"{_TF}count", "student", "NOT_FOUND"] == 1
  assert found[f"{_TF}example_count_total", "student"] == 3
  assert found["kdwsd_calls_in_flight",] == 0
  assert found["kdwsd_versions_available",] == 7
  rest = f"{_TF}latency_bucket", "Predict", "REST"
  assert found[(*rest, "10.0", "student")] == 1
  assert found[(*rest, "18.0", "student")] == 2
  assert found[(*rest, "+Inf", "student")] == 2
  assert found[f"{_TF}latency_sum", "Predict", "REST", "student"] == (
      pytest.approx(20))
  assert found[f"{_TF}latency_count", "Predict", "REST", "student"] == 2
  rpc = {key[3]: value for key, value in found.items()
         if key[:3] == (f"{_TF}latency_bucket", "Predict", "GRPC")}
  assert rpc.pop("+Inf") == 1
  assert set(rpc.values()) == {0}
  limits = sorted(map(float, rpc))
  assert len(limits) == 33
  assert math.isclose(limits[-1], 10 * 1.8 ** 32)
  page = metrics.page().decode("utf-8")
  assert (f'\n{_TF}latency_bucket{{API="Predict",entrypoint="REST",le="10.0",'
          'model_name="student"} 1.0\n') in page


def test_values_of_labels_are_escaped():
  metrics = metrics_lib.Metrics('a"b\\c\nd', 1)
  metrics.examples.inc(1)
  assert _samples(metrics)[f"{_TF}example_count_total", 'a"b\\c\nd'] == 1


def test_threads_lose_no_count():
  metrics = metrics_lib.Metrics("student", 1)
  threads = [threading.Thread(target=lambda: [
      metrics.batch_rows.observe(2) for _ in range(500)]) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert _samples(metrics)["kdwsd_batch_rows_count",] == 4000
  assert _samples(metrics)["kdwsd_batch_rows_sum",] == 8000


def _count(metrics, model_name, code):
  line = (f':tensorflow:serving:request_count{{model_name="{model_name}",'
          f'status="{code}"}} ')
  return [text[len(line):] for text in metrics.page().decode().splitlines()
          if text.startswith(line)]


def test_one_call_too_many_is_unavailable():
  metrics = metrics_lib.Metrics("student", 2)
  with metrics.call("student", "Predict", "REST"):
    with metrics.call("student", "Predict", "GRPC"):
      assert b"kdwsd_calls_in_flight 2.0\n" in metrics.page()
      with pytest.raises(codes.ServingError) as caught:
        with metrics.call("student", "Predict", "REST"):
          raise AssertionError("not admitted")
      assert caught.value.code.name == "UNAVAILABLE"
    with metrics.call("student", "Predict", "REST"):
      pass
  assert b"kdwsd_calls_in_flight 0.0\n" in metrics.page()
  assert _count(metrics, "student", "OK") == ["3.0"]
  assert _count(metrics, "student", "UNAVAILABLE") == ["1.0"]


def test_exceptions_become_internal_and_free_their_place():
  metrics = metrics_lib.Metrics("student", 2)
  for _ in range(3):
    with pytest.raises(codes.ServingError) as caught:
      with metrics.call("student", "Predict", "REST"):
        raise KeyError("oops")
    assert caught.value.code.name == "INTERNAL"
  assert _count(metrics, "student", "INTERNAL") == ["3.0"]


def test_names_that_callers_make_up_are_counted_as_one():
  metrics = metrics_lib.Metrics("student", 2)
  for name in ("a", "b"):
    with metrics.call(name, "Predict", "REST"):
      pass
  assert _count(metrics, "(other)", "OK") == ["2.0"]
