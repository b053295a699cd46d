"""Counters and histograms in Prometheus' text format.

Those that TF Serving has too bear its names and labels, so that a dashboard
made for the one shows the other. Source: TF Serving 2.15,
servables/tensorflow/util.cc and util/prometheus_exporter.cc.
"""

import bisect
import threading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Microseconds up to about 20 minutes, as TF Serving's.
_LATENCIES = tuple(10.0 * 1.8 ** power for power in range(33))
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
  """What the server counts; every method may be called from any thread."""

  def __init__(self):
    self._lock = threading.Lock()
    self._series = {}  # {name: {labels: number or [counts, sum]}}
    self._gauges = {}

  def count_call(self, model_name, api, entrypoint, code, seconds):
    """Counts a call that was answered.

    Args:
      model_name: str; not what a caller made up, for each takes memory.
      api: "Predict", "Classify", ...
      entrypoint: "REST" or "GRPC".
      code: one of `codes.NAMES`.
      seconds: it took.
    """
    with self._lock:
      self._add(":tensorflow:serving:request_count",
                (("model_name", model_name), ("status", code)), 1)
      self._observe(
          ":tensorflow:serving:request_latency",
          (("model_name", model_name), ("API", api),
           ("entrypoint", entrypoint)), 1e6 * seconds, _LATENCIES)

  def count_examples(self, model_name, number):
    """Counts the rows of a call that was answered well."""
    with self._lock:
      self._add(":tensorflow:serving:request_example_count_total",
                (("model", model_name),), number)

  def count_batch(self, num_rows, seconds):
    """Counts one run of a signature."""
    with self._lock:
      self._observe("kdwsd_batch_rows", (), num_rows, _ROWS)
      self._observe("kdwsd_batch_run_microseconds", (), 1e6 * seconds,
                    _LATENCIES)

  def add_gauge(self, name, read):
    """Shows `read()`, a number, under a name."""
    self._gauges[name] = read

  def page(self):
    """All of it as text."""
    lines = []
    with self._lock:
      for name, series in sorted(self._series.items()):
        histogram = isinstance(next(iter(series.values())), list)
        lines.append(f"# TYPE {name} {'histogram' if histogram else 'counter'}")
        for labels, value in sorted(series.items()):
          lines += _lines(name, labels, value)
    for name, read in sorted(self._gauges.items()):
      lines += [f"# TYPE {name} gauge", f"{name} {read()}"]
    return "\n".join(lines) + "\n"

  def _add(self, name, labels, number):
    series = self._series.setdefault(name, {})
    series[labels] = series.get(labels, 0) + number

  def _observe(self, name, labels, value, limits):
    series = self._series.setdefault(name, {})
    histogram = series.setdefault(labels, [limits, [0] * (len(limits) + 1), 0])
    histogram[1][bisect.bisect_left(limits, value)] += 1
    histogram[2] += value


def _lines(name, labels, value):
  if not isinstance(value, list):
    return [f"{name}{_braces(labels)} {value}"]
  limits, counts, total = value
  lines, count = [], 0
  for limit, number in zip((*limits, "+Inf"), counts):
    count += number
    shown = limit if limit == "+Inf" else f"{limit:.10g}"
    lines.append(f"{name}_bucket{_braces((*labels, ('le', shown)))} {count}")
  return [*lines, f"{name}_sum{_braces(labels)} {total:.10g}",
          f"{name}_count{_braces(labels)} {count}"]


def _braces(labels):
  """Labels as Prometheus writes them, their values escaped."""
  if not labels:
    return ""
  texts = []
  for key, value in labels:
    value = str(value).replace("\\", r"\\").replace('"', r"\"")
    value = value.replace("\n", r"\n")
    texts.append(f'{key}="{value}"')
  return "{" + ",".join(texts) + "}"
