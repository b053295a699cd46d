"""Measuring exports: what is asked is the same, and the figures add up."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import served_models
from benchmarks import serving_rates
from kdwsd.modeling import wsddn
from kdwsd.serving import saved_model
from kdwsd.serving import signatures

pytestmark = pytest.mark.one_lane

_CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module", name="exports")
def fixture_exports(tmp_path_factory):
  # A teacher: its requests have all that a student's have, and proposals.
  path = str(tmp_path_factory.mktemp("exports") / "teacher")
  with saved_model.new_version(path) as (directory, _):
    saved_model.write(signatures.detector(
        wsddn.build(wsddn.WSDDNConfig(
            num_classes=3, backbone="small", fc_units=4)),
        classes=_CLASSES, eval_size=48), directory)
    saved_model.write_metadata(directory, {"num_proposals": 5})
  return {"teacher tiny": path}


def _contents(count):
  random = np.random.default_rng(0)
  return [tf.io.encode_jpeg(random.integers(
      0, 256, [40, 50, 3], np.uint8)).numpy() for _ in range(count)]


def test_measures_every_model_way_and_size(exports):
  rows, left_out = serving_rates.measure(
      exports, _contents(3), [1, 2, 10 ** 9], 2, 0.1, 1000.0)
  assert {(row.model, row.way, row.clients, row.batch_size)
          for row in rows} == {
              (model, way, clients, batch_size) for model in exports
              for way in served_models.WAYS
              for clients, batch_size in ((1, 1), (1, 2), (2, 1))}
  for row in rows:
    assert 0 < row.p50 <= row.p99
    assert row.requests >= 3 * row.clients
    assert row.images_per_second > 0
  by_way = {(row.model, row.clients, row.batch_size): set() for row in rows}
  for row in rows:
    by_way[row.model, row.clients, row.batch_size].add(row.requests)
  assert all(len(counts) == 1 for counts in by_way.values())
  assert len(left_out) == 1
  assert left_out[0].startswith("teacher tiny, 1000000000 images a request")


def test_an_answer_unlike_the_sessions_is_no_figure(exports, monkeypatch):
  monkeypatch.setattr(serving_rates, "_burst", lambda pool, model, way, *_: (
      [1.0], 1.0, {"probabilities": [[0.5 if way == "gRPC" else 0.4]]}))
  monkeypatch.setattr(
      served_models, "ServedModel", lambda name, *_, **__: _Nothing(name))
  with pytest.raises(RuntimeError, match="the same probabilities"):
    serving_rates.measure(exports, [b""], [1], 0, 0.1, 5.0)


class _Nothing:
  """A model without a server."""

  def __init__(self, name):
    self.name = name

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def seconds_alone(self):
    return 1.0


def test_figures_by_hand(monkeypatch):
  # Requests of 1, 2, ..., 6 seconds in the session, twice that by REST and
  # thrice by gRPC; two clients, whose bursts take a second more.
  seen = []

  def burst(pool, model, way, clients, batch_size, number):
    del pool
    seen.append(way)
    seconds = (number + 1.0) * (1 + served_models.WAYS.index(way))
    return [seconds] * clients, seconds + clients - 1, {
        "probabilities": [[0.5]]}

  monkeypatch.setattr(serving_rates, "_burst", burst)
  monkeypatch.setattr(
      served_models, "ServedModel", lambda name, *_, **__: _Nothing(name))
  rows, _ = serving_rates.measure({"m": ""}, [b""], [4], 2, 12.5, 100.0)
  found = {(row.way, row.clients): row for row in rows}
  # 12.5 s for requests of 4 x 1 s: 3 of them; of 2 x 1 s: 6.
  assert found["session", 1].requests == 3
  assert found["session", 1].p50 == 2.0
  assert found["session", 1].p99 == 3.0
  assert found["session", 1].images_per_second == 4 * 3 / (1 + 2 + 3)
  assert found["REST", 1].p50 == 4.0
  assert found["gRPC", 2].requests == 12
  assert found["session", 2].images_per_second == 2 * 6 / (
      1 + 2 + 3 + 4 + 5 + 6 + 6)
  # After the warm-up, each way is first as often as the others.
  turns = [tuple(seen[i:i + 3]) for i in range(6, len(seen), 3)]
  assert all(set(turn) == set(served_models.WAYS) for turn in turns)
  firsts = [turn[0] for turn in turns]
  assert {firsts.count(way) for way in served_models.WAYS} == {3}


def test_table_has_overhead_and_ratio():
  def row(model, way, p50, rate):
    return serving_rates.Figures(
        model, way, clients=1, batch_size=8, p50=p50, p99=2 * p50,
        images_per_second=rate, requests=9)

  text = serving_rates.table(
      [row("student a", "session", 0.1, 80.0), row("student a", "REST", 0.125,
                                                   64.0),
       row("teacher b", "session", 2.0, 4.0)], ["x: too long."])
  lines = text.splitlines()
  assert lines[2] == (
      "| student a | 1 x 8 | session | 100.0 | 200.0 | 80 |  | 9 |")
  assert lines[3] == (
      "| student a | 1 x 8 | REST | 125.0 | 250.0 | 64 | +25.0 ms, +25% | 9 |")
  assert "Left out: x: too long." in lines
  assert lines[-1] == (
      "student a against teacher b, 8 images a request: 20.0 times the images "
      "a second, 5.0% of the latency.")


def test_a_directory_without_export_is_told(tmp_path):
  from kdwsd import errors  # pylint: disable=import-outside-toplevel
  with pytest.raises(errors.InputError, match="expected an export"):
    serving_rates.measure({"x": str(tmp_path)}, [b""], [1], 0, 1.0, 1.0)
