"""Latency and throughput of exports: C++ session, REST and gRPC.

The session is TensorFlow's C++ one (`kdwsd.serving.native_session`), as in a
server; the server is that of `kdwsd.serve`, in a separate process. Latency is
the time from a request that is ready to be sent, as bytes (REST) or as a proto
(gRPC), to the arrival of the response, before it is parsed. Models and ways
take turns, request by request, in several laps, so that other load on the
machine affects all of them equally.
"""

import concurrent.futures
import contextlib
import dataclasses
import time

import numpy as np

from benchmarks import served_models

_LAPS = 3
_LEAST, _MOST = 3, 200  # requests per case
_TOLERANCE = 1e-3  # of probabilities, between the three ways


@dataclasses.dataclass(frozen=True)
class Figures:
  """One row of the table.

  Attributes:
    model: name of the model.
    way: one of `served_models.WAYS`.
    clients: number of concurrent clients, each with its own request.
    batch_size: images per request.
    p50, p99: percentiles of the latency of a request, seconds.
    images_per_second: throughput of all clients together.
    requests: number of requests measured.
  """
  model: str
  way: str
  clients: int
  batch_size: int
  p50: float
  p99: float
  images_per_second: float
  requests: int


def measure(exports, contents, batch_sizes, num_clients, seconds, longest):
  """Measures all exports in one run.

  Args:
    exports: {name: directory of versions}.
    contents: list of encoded images.
    batch_sizes: images per request, for a single client.
    num_clients: concurrent clients with one image each; 0 for none.
    seconds: approximate time for each case and way; at least 3 requests.
    longest: seconds; cases whose requests would take more are left out.

  Returns:
    (list of `Figures`, list of texts on cases left out).
  """
  cases = [(1, size) for size in batch_sizes]
  cases += [(num_clients, 1)] if num_clients else []
  with contextlib.ExitStack() as stack:
    models = [
        stack.enter_context(served_models.ServedModel(
            name, path, contents, timeout=20 * longest))
        for name, path in exports.items()]
    pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(
        max(1, num_clients)))
    plan, left_out = [], []
    for model in models:
      alone = model.seconds_alone()
      for clients, batch_size in cases:
        expected = alone * clients * batch_size
        if expected > longest and (clients, batch_size) != (1, 1):
          left_out.append(
              f"{model.name}, {_text(clients, batch_size)}: "
              f"about {expected:.0f} s a request.")
        else:
          plan.append((model, clients, batch_size, int(np.clip(
              seconds / expected, _LEAST, _MOST))))
    taken = {}
    for model, clients, batch_size, _ in plan:  # The first one is slower.
      _check_same([_burst(pool, model, way, clients, batch_size, 0)[2]
                   for way in served_models.WAYS], model.name)
    for lap in range(_LAPS):
      for model, clients, batch_size, count in plan:
        for number in range(lap, count, _LAPS):
          first = number % len(served_models.WAYS)
          for way in served_models.WAYS[first:] + served_models.WAYS[:first]:
            latencies, elapsed, _ = _burst(
                pool, model, way, clients, batch_size, number)
            kept = taken.setdefault(
                (model.name, way, clients, batch_size), ([], []))
            kept[0].extend(latencies)
            kept[1].append(elapsed)
  return [
      Figures(
          *key, p50=float(np.percentile(latencies, 50)),
          # With fewer than 100 requests, the slowest one.
          p99=float(np.percentile(latencies, 99, method="higher")),
          images_per_second=key[2] * key[3] * len(elapsed) / sum(elapsed),
          requests=len(latencies))
      for key, (latencies, elapsed) in taken.items()], left_out


def table(rows, left_out):
  """The measurements as Markdown, with overhead and ratios.

  Args:
    rows: list of `Figures`.
    left_out: list of texts from `measure`.
  """
  found = {(row.model, row.way, row.clients, row.batch_size): row
           for row in rows}
  lines = ["| model | clients x images | way | p50 ms | p99 ms | images/s | "
           "p50 over the session | requests |", "|---|---|---|---|---|---|---|"
           "---|"]
  for row in sorted(rows, key=lambda row: (
      row.clients, row.batch_size, _order(row.model),
      served_models.WAYS.index(row.way))):
    bare = found[row.model, "session", row.clients, row.batch_size]
    over = "" if row.way == "session" else (
        f"{1e3 * (row.p50 - bare.p50):+.1f} ms, "
        f"{row.p50 / bare.p50 - 1:+.0%}")
    lines.append(
        f"| {row.model} | {row.clients} x {row.batch_size} | {row.way} | "
        f"{1e3 * row.p50:.1f} | {1e3 * row.p99:.1f} | "
        f"{row.images_per_second:.3g} | {over} | {row.requests} |")
  lines += ["", "p99 of fewer than 100 requests is the slowest of them."]
  lines += [f"Left out: {text}" for text in left_out]
  return "\n".join(lines + _ratios(found))


def _ratios(found):
  """Lines that compare students with teachers, in the C++ session."""
  lines = []
  for (model, way, clients, batch_size), row in found.items():
    for (other, *rest), teacher in found.items():
      if (way == "session" and model.startswith("student")
          and other.startswith("teacher")
          and rest == [way, clients, batch_size]):
        lines.append(
            f"{model} against {other}, {_text(clients, batch_size)}: "
            f"{row.images_per_second / teacher.images_per_second:.1f} times "
            f"the images a second, {row.p50 / teacher.p50:.1%} of the latency.")
  return [""] + lines if lines else []


def _order(model):
  return model.startswith("teacher"), model


def _text(clients, batch_size):
  if clients > 1:
    return f"{clients} clients with {batch_size} image each"
  return f"{batch_size} image{'s' if batch_size > 1 else ''} a request"


def _burst(pool, model, way, clients, batch_size, number):
  """Sends one request per client, concurrently.

  Returns:
    Latencies in seconds, seconds until the last response, first response.
  """
  def ask(client):
    start = time.perf_counter()
    answer = model.ask(way, client, batch_size, number + client)
    return time.perf_counter() - start, answer

  start = time.perf_counter()
  if clients == 1:
    answers = [ask(0)]
  else:
    answers = list(pool.map(ask, range(clients)))
  elapsed = time.perf_counter() - start
  return [latency for latency, _ in answers], elapsed, answers[0][1]


def _check_same(answers, name):
  """Raises RuntimeError if the responses of the ways differ."""
  first, *others = map(served_models.probabilities, answers)
  for other in others:
    if first.shape != other.shape or np.abs(first - other).max() > _TOLERANCE:
      raise RuntimeError(
          f"{name}: expected the same probabilities from the session and the "
          "server. Received: different ones.")
