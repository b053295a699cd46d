"""What the server counts, for Prometheus.

Metrics that TF Serving has too bear its names and labels, so that a dashboard
made for the one shows the other. Source: TF Serving 2.15,
servables/tensorflow/util.cc and util/prometheus_exporter.cc.
"""

import prometheus_client

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Microseconds up to about 20 minutes, as TF Serving's.
_LATENCIES = [10.0 * 1.8 ** power for power in range(33)]
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# When a series began; TF Serving has no such thing.
prometheus_client.disable_created_metrics()


class Metrics:
  """What the server counts; every method may be called from any thread.

  Attributes:
    calls_in_flight, versions_available: `prometheus_client.Gauge`.
  """

  def __init__(self, model_name):
    self._model_name = model_name
    self._registry = prometheus_client.CollectorRegistry()

    def new(kind, *arguments, **named):
      return kind(*arguments, registry=self._registry, **named)

    # Makes ...request_count, TF Serving's, and ...request_sum besides: a
    # counter of this library would have to be called ...request_count_total.
    self._requests = new(
        prometheus_client.Summary, ":tensorflow:serving:request",
        "Microseconds of requests, by status.", ["model_name", "status"])
    self._latency = new(
        prometheus_client.Histogram, ":tensorflow:serving:request_latency",
        "Microseconds of requests.", ["model_name", "API", "entrypoint"],
        buckets=_LATENCIES)
    self._examples = new(
        prometheus_client.Counter,
        ":tensorflow:serving:request_example_count_total",
        "Rows of requests that were answered well.", ["model"])
    self._batch_rows = new(
        prometheus_client.Histogram, "kdwsd_batch_rows",
        "Rows of one run of a signature.", buckets=_ROWS)
    self._batch_run = new(
        prometheus_client.Histogram, "kdwsd_batch_run_microseconds",
        "Microseconds of one run of a signature.", buckets=_LATENCIES)
    self.calls_in_flight = new(
        prometheus_client.Gauge, "kdwsd_calls_in_flight",
        "Requests being answered.")
    self.versions_available = new(
        prometheus_client.Gauge, "kdwsd_versions_available",
        "Versions that answer requests.")

  def count_call(self, model_name, api, entrypoint, status, seconds):
    """Counts a call of an API, "Predict", by "REST" or "GRPC"."""
    # Each name takes memory, and anybody can make them up.
    if model_name != self._model_name:
      model_name = "(other)"
    self._requests.labels(model_name, status).observe(1e6 * seconds)
    self._latency.labels(model_name, api, entrypoint).observe(1e6 * seconds)

  def count_examples(self, number):
    """Counts the rows of a call that was answered well."""
    self._examples.labels(self._model_name).inc(number)

  def count_batch(self, num_rows, seconds):
    """Counts one run of a signature."""
    self._batch_rows.observe(num_rows)
    self._batch_run.observe(1e6 * seconds)

  def page(self):
    """All of it in Prometheus' text format, as bytes."""
    return prometheus_client.generate_latest(self._registry)
