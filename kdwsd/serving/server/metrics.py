"""Calls in progress, limited and measured for Prometheus.

Metrics that TF Serving has too have its names and labels, so that a dashboard
works with both. Source: TF Serving 2.15, servables/tensorflow/util.cc and
util/prometheus_exporter.cc.
"""

import asyncio
import contextlib
import threading
import time

import prometheus_client

from kdwsd.serving.server import codes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Microseconds up to about 20 minutes, as TF Serving's.
_LATENCIES = [10.0 * 1.8 ** power for power in range(33)]
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# When a series began; TF Serving has no such thing.
prometheus_client.disable_created_metrics()


class Metrics:
  """Metrics of one server; safe in any thread.

  Attributes:
    examples: counter of rows of successful calls.
    batch_rows: histogram of rows of one run.
    versions_available: gauge.
  """

  def __init__(self, model_name, max_in_flight):
    self._model_name, self._max_in_flight = model_name, max_in_flight
    self._free = threading.Semaphore(max_in_flight)
    self._registry = prometheus_client.CollectorRegistry()

    def new(kind, *arguments, **named):
      return getattr(prometheus_client, kind)(
          *arguments, registry=self._registry, **named)

    # A summary makes ...request_count, TF Serving's, and ...request_sum; a
    # counter of this library would be called ...request_count_total.
    self._requests = new(
        "Summary", ":tensorflow:serving:request",
        "Microseconds of requests, by status.", ["model_name", "status"])
    self._latency = new(
        "Histogram", ":tensorflow:serving:request_latency",
        "Microseconds of requests.", ["model_name", "API", "entrypoint"],
        buckets=_LATENCIES)
    self.examples = new(
        "Counter", ":tensorflow:serving:request_example_count_total",
        "Rows of successful requests.", ["model"]).labels(model_name)
    self.batch_rows = new("Histogram", "kdwsd_batch_rows",
                          "Rows of one run of a signature.", buckets=_ROWS)
    self._in_flight = new(
        "Gauge", "kdwsd_calls_in_flight", "Requests in progress.")
    self.versions_available = new(
        "Gauge", "kdwsd_versions_available", "Versions that answer requests.")

  @contextlib.contextmanager
  def call(self, model_name, api, entrypoint):
    """Admits and measures a call of an API, "Predict", by "REST" or "GRPC".

    Every exception inside is raised again as a `codes.ServingError`.
    """
    start, code = time.monotonic(), codes.Code.OK
    admitted = self._free.acquire(blocking=False)
    try:
      if not admitted:
        raise codes.ServingError(
            codes.Code.UNAVAILABLE, f"Busy: {self._max_in_flight} calls in "
            "progress (--max_in_flight). Try again.")
      with self._in_flight.track_inprogress():
        yield
    except (Exception, asyncio.CancelledError) as error:
      # Under its name the error is deleted at the end; another name would make
      # a cycle that keeps the version in memory.
      error = codes.from_exception(error)
      code = error.code
      raise error
    finally:
      if admitted:
        self._free.release()
      if model_name != self._model_name:  # Each name takes memory.
        model_name = "(other)"
      micros = 1e6 * (time.monotonic() - start)
      self._requests.labels(model_name, code.name).observe(micros)
      self._latency.labels(model_name, api, entrypoint).observe(micros)

  def page(self):
    """All metrics in Prometheus' text format, as bytes."""
    return prometheus_client.generate_latest(self._registry)
