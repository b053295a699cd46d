"""The page is what Prometheus reads."""

import re
import threading

from kdwsd.serving.server import metrics as metrics_lib


def test_counts_and_histograms_are_prometheus_text():
  metrics = metrics_lib.Metrics()
  metrics.count_call("student", "Predict", "REST", "OK", 15e-6)
  metrics.count_call("student", "Predict", "REST", "OK", 5e-6)
  metrics.count_call("student", "Predict", "GRPC", "NOT_FOUND", 9999.0)
  metrics.count_examples("student", 3)
  metrics.add_gauge("kdwsd_calls_in_flight", lambda: 7)
  lines = metrics.page().splitlines()
  name = ":tensorflow:serving:request_"
  assert f"# TYPE {name}count counter" in lines
  assert f'{name}count{{model_name="student",status="OK"}} 2' in lines
  assert f'{name}count{{model_name="student",status="NOT_FOUND"}} 1' in lines
  assert f'{name}example_count_total{{model="student"}} 3' in lines
  assert "kdwsd_calls_in_flight 7" in lines
  rest = '{model_name="student",API="Predict",entrypoint="REST"'
  assert f"# TYPE {name}latency histogram" in lines
  assert f'{name}latency_bucket{rest},le="10"}} 1' in lines
  assert f'{name}latency_bucket{rest},le="18"}} 2' in lines
  assert f'{name}latency_bucket{rest},le="+Inf"}} 2' in lines
  assert f"{name}latency_sum{rest}}} 20" in lines
  assert f"{name}latency_count{rest}}} 2" in lines
  grpc = rest.replace("REST", "GRPC")
  assert f'{name}latency_bucket{grpc},le="+Inf"}} 1' in lines
  buckets = [line for line in lines if f"latency_bucket{grpc}" in line]
  assert [line[-2:] for line in buckets] == [" 0"] * 33 + [" 1"]


def test_values_of_labels_are_escaped():
  metrics = metrics_lib.Metrics()
  metrics.count_examples('a"b\\c\nd', 1)
  assert r'{model="a\"b\\c\nd"} 1' in metrics.page()
  for line in metrics.page().splitlines():
    assert re.fullmatch(r'#.*|[a-zA-Z_:][\w:]*(\{.*\})? [-+.\w]+', line), line


def test_threads_lose_no_count():
  metrics = metrics_lib.Metrics()
  threads = [threading.Thread(target=lambda: [
      metrics.count_batch(2, 1e-3) for _ in range(500)]) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert "\nkdwsd_batch_rows_count 4000\n" in metrics.page()
  assert "\nkdwsd_batch_rows_sum 8000\n" in metrics.page()
