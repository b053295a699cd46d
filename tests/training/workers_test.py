"""What a worker does that has lost another one."""

from concurrent import futures
import socket
import threading

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import interruption
from kdwsd.training import cluster
from kdwsd.training import workers
from tests.training import fake_cluster as fake


def test_a_worker_that_dies_is_noticed_outside_a_step(monkeypatch):
  monkeypatch.setattr(workers, "_PROBE_INTERVAL", 0.05)
  monkeypatch.setattr(workers, "_PATIENCE", 0.0)
  told, ended = [], threading.Event()
  monkeypatch.setattr(interruption, "request", told.append)
  monkeypatch.setattr(workers, "_end", lambda _: ended.set())
  server = socket.create_server(("127.0.0.1", 0))
  other = f"127.0.0.1:{server.getsockname()[1]}"
  workers._watch(cluster.Cluster((other, "127.0.0.1:1"), 1))
  try:
    assert not ended.wait(0.5)
    server.close()
    assert ended.wait(300)
  finally:
    workers._unwatched.set()
  assert told[0].code == cluster.EXIT_LOST
  assert f"lost worker 0 ({other})" in told[0].message


def test_an_error_for_the_lack_of_a_worker_names_it(monkeypatch):
  address = f"127.0.0.1:{fake.free_port()}"
  fake.join(monkeypatch, fake.config({"worker": ["127.0.0.1:1", address]}))
  with pytest.raises(interruption.Interrupted) as stopped:
    with workers.lost_workers_reported():
      raise tf.errors.UnavailableError(None, None, "Socket closed")
  assert f"lost worker 1 ({address})" in stopped.value.message


def test_an_error_of_ours_is_left_alone(monkeypatch):
  monkeypatch.setattr(workers, "_PROBE_INTERVAL", 0.01)
  with socket.create_server(("127.0.0.1", 0)) as server:
    fake.join(monkeypatch, fake.config({"worker": [
        "127.0.0.1:1", f"127.0.0.1:{server.getsockname()[1]}"]}))
    with pytest.raises(tf.errors.InvalidArgumentError):
      with workers.lost_workers_reported():
        raise tf.errors.InvalidArgumentError(None, None, "shapes")
  monkeypatch.delenv("TF_CONFIG")
  with pytest.raises(tf.errors.UnavailableError):
    with workers.lost_workers_reported():
      raise tf.errors.UnavailableError(None, None, "of no other worker")


def test_workers_ask_each_other_once_a_second_after_the_same_steps(monkeypatch):
  """Steps of 0.125 s by the first worker's clock, of none by the second's."""
  fake.join(monkeypatch, fake.config({"worker": ["a:1", "b:1"]}))
  monkeypatch.setattr(workers, "_cluster", lambda _: cluster.read_cluster())
  stop = interruption.Interrupted("SIGTERM", 143)
  pending, table = {0: None, 1: None}, {}
  both, asked = threading.Barrier(2), {0: [], 1: []}

  def gather(index, values):
    table[index] = values
    both.wait(600)
    rows = np.array([table[0], table[1]])
    both.wait(600)
    return rows

  here = threading.local()
  monkeypatch.setattr(
      workers, "gather", lambda _, values: gather(here.index, values))
  monkeypatch.setattr(interruption, "pending", lambda: pending[here.index])

  def work(index):
    here.index, now = index, [0.0]
    questions = workers.Questions(None, clock=lambda: now[0])
    for step in range(1, 61):
      now[0] += 0.0 if index else 0.125
      if step == 40 and index:
        pending[1] = stop
      found = questions.after_step()
      if questions._taken == 0:
        asked[index].append(step)
      if found:
        return found.code, step
    return None

  with futures.ThreadPoolExecutor(2) as pool:
    ends = list(pool.map(work, range(2)))
  assert asked[0] == asked[1] == [1, 3, 7, 15, 23, 31, 39, 47]
  assert ends == [(143, 47), (143, 47)]


def test_one_process_gathers_what_it_has():
  strategy = tf.distribute.get_strategy()
  assert workers.gather(strategy, [3, 4]).tolist() == [[3, 4]]
  assert workers.interrupted(strategy) is None
