"""The page is what Prometheus reads."""

import math
import threading

from prometheus_client import parser

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


def test_metrics_of_tf_serving_have_its_names_and_labels():
  metrics = metrics_lib.Metrics("student")
  metrics.count_call("student", "Predict", "REST", "OK", 15e-6)
  metrics.count_call("student", "Predict", "REST", "OK", 5e-6)
  metrics.count_call("student", "Predict", "GRPC", "NOT_FOUND", 9999.0)
  metrics.count_examples(3)
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
  assert found[f"{_TF}latency_sum", "Predict", "REST", "student"] == 20
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
  metrics = metrics_lib.Metrics('a"b\\c\nd')
  metrics.count_examples(1)
  assert _samples(metrics)[f"{_TF}example_count_total", 'a"b\\c\nd'] == 1


def test_threads_lose_no_count():
  metrics = metrics_lib.Metrics("student")
  threads = [threading.Thread(target=lambda: [
      metrics.count_batch(2, 1e-3) for _ in range(500)]) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert _samples(metrics)["kdwsd_batch_rows_count",] == 4000
  assert _samples(metrics)["kdwsd_batch_rows_sum",] == 8000
