"""Who the workers are, and what one does that finds itself alone."""

import json
import socket
import threading
import time

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import workers


def _free_port():
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    return one.getsockname()[1]


def _set(monkeypatch, content):
  monkeypatch.setenv(
      "TF_CONFIG", content if isinstance(content, str) else json.dumps(content))


def _config(cluster, kind="worker", index=0):
  return {"cluster": cluster, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize("config, addresses, index", [
    (_config({"worker": ["a:1", "b:2"]}, index=1), ("a:1", "b:2"), 1),
    (_config({"worker": ["a:1", "b:2"]}, index="1"), ("a:1", "b:2"), 1),
    (_config({"worker": ["b:1"], "chief": ["a:1"]}), ("a:1", "b:1"), 1),
    (_config({"worker": ["b:1"], "chief": ["a:1"]}, "chief"),
     ("a:1", "b:1"), 0),
    (_config({"worker": ["[::1]:1"]}), ("[::1]:1",), 0),
])
def test_cluster_is_what_tf_config_says(config, addresses, index, monkeypatch):
  _set(monkeypatch, config)
  assert workers.read_cluster() == workers.Cluster(addresses, index)


@pytest.mark.parametrize("content", ["", "{}", {"environment": "cloud"}])
def test_no_cluster_is_none(content, monkeypatch):
  _set(monkeypatch, content)
  assert workers.read_cluster() is None


@pytest.mark.parametrize("content, said", [
    ('{"cluster": ', "expected JSON. Received: '{\"cluster\": '"),
    ("[1]", "Received: [1]"),
    ('{"task": {"type": "worker", "index": 0}}', "Received: "),
    (_config(["a:1"]), 'Received: ["a:1"]'),
    (_config({"worker": "a:1"}), 'Received: {"worker": "a:1"}'),
    (_config({"worker": ["a"]}), 'Received: {"worker": ["a"]}'),
    (_config({"worker": [":1"]}), 'Received: {"worker": [":1"]}'),
    (_config({"worker": [7]}), 'Received: {"worker": [7]}'),
    (_config({"ps": ["a:1"], "worker": ["b:1"]}), '"ps"'),
    (_config({"worker": ["a:1", "a:1"]}), "expected an address for each"),
    (_config({"worker": ["a:1"]}, kind="chief"), "type is one of worker."),
    ({"cluster": {"worker": ["a:1"]}, "task": "worker"}, 'Received: "worker"'),
    (_config({"worker": ["a:1", "b:1"]}, index=2), "index is from 0 to 1."),
    (_config({"worker": ["a:1"]}, index=-1), "index is from 0 to 0."),
    (_config({"worker": ["a:1"]}, index=None), "index is from 0 to 0."),
])
def test_a_broken_tf_config_is_an_error_that_names_it(
    content, said, monkeypatch):
  _set(monkeypatch, content)
  with pytest.raises(errors.InputError, match="^TF_CONFIG: expected") as error:
    workers.read_cluster()
  assert said in str(error.value)


def test_workers_wait_for_each_other(monkeypatch):
  monkeypatch.setattr(workers, "_START_INTERVAL", 0.05)
  addresses = tuple(f"127.0.0.1:{_free_port()}" for _ in range(3))
  here, servers = [], []

  def start(index):
    workers.wait_for_others(workers.Cluster(addresses, index))
    here.append(index)
    # As TensorFlow does next; those that come later must find it.
    servers.append(socket.create_server(
        ("", int(addresses[index].rpartition(":")[2]))))

  threads = [threading.Thread(target=start, args=(i,), daemon=True)
             for i in range(3)]
  try:
    for thread in threads[:2]:
      thread.start()
    time.sleep(0.5)
    assert not here
    threads[2].start()
    for thread in threads:
      thread.join(timeout=60)
    assert sorted(here) == [0, 1, 2]
  finally:
    for server in servers:
      server.close()


def test_a_worker_that_never_comes_is_named(monkeypatch):
  monkeypatch.setattr(workers, "START_TIMEOUT", 0.3)
  monkeypatch.setattr(workers, "_START_INTERVAL", 0.05)
  address = f"127.0.0.1:{_free_port()}"
  with pytest.raises(interruption.Interrupted) as stopped:
    workers.wait_for_others(workers.Cluster(
        (f"127.0.0.1:{_free_port()}", address), 0))
  assert stopped.value.code == workers.EXIT_LOST == 75
  assert f"Received: all but worker 1 ({address})" in stopped.value.message


def test_a_port_that_is_taken_is_a_clear_error():
  with socket.create_server(("", 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(
        errors.InputError, match=f"free port for worker 1. Received: {port}"):
      workers.wait_for_others(workers.Cluster(
          ("127.0.0.1:1", f"127.0.0.1:{port}"), 1))


def test_a_worker_that_dies_is_noticed_outside_a_step(monkeypatch):
  monkeypatch.setattr(workers, "_PROBE_INTERVAL", 0.05)
  monkeypatch.setattr(workers, "_PATIENCE", 0.0)
  told, ended = [], threading.Event()
  monkeypatch.setattr(interruption, "request", told.append)
  monkeypatch.setattr(workers, "_end", lambda _: ended.set())
  server = socket.create_server(("127.0.0.1", 0))
  other = f"127.0.0.1:{server.getsockname()[1]}"
  workers._watch(workers.Cluster((other, "127.0.0.1:1"), 1))
  try:
    assert not ended.wait(0.5)
    server.close()
    assert ended.wait(300)
  finally:
    workers._unwatched.set()
  assert told[0].code == workers.EXIT_LOST
  assert f"lost worker 0 ({other})" in told[0].message


def test_an_error_for_the_lack_of_a_worker_names_it(monkeypatch):
  address = f"127.0.0.1:{_free_port()}"
  _set(monkeypatch, _config({"worker": ["127.0.0.1:1", address]}))
  with pytest.raises(interruption.Interrupted) as stopped:
    with workers.lost_workers_reported():
      raise tf.errors.UnavailableError(None, None, "Socket closed")
  assert f"lost worker 1 ({address})" in stopped.value.message


def test_an_error_of_ours_is_left_alone(monkeypatch):
  monkeypatch.setattr(workers, "_PROBE_INTERVAL", 0.01)
  with socket.create_server(("127.0.0.1", 0)) as server:
    _set(monkeypatch, _config({"worker": [
        "127.0.0.1:1", f"127.0.0.1:{server.getsockname()[1]}"]}))
    with pytest.raises(tf.errors.InvalidArgumentError):
      with workers.lost_workers_reported():
        raise tf.errors.InvalidArgumentError(None, None, "shapes")
  monkeypatch.delenv("TF_CONFIG")
  with pytest.raises(tf.errors.UnavailableError):
    with workers.lost_workers_reported():
      raise tf.errors.UnavailableError(None, None, "of no other worker")


def test_one_process_gathers_what_it_has():
  strategy = tf.distribute.get_strategy()
  assert workers.gather(strategy, [3, 4]).tolist() == [[3, 4]]
  assert workers.interrupted(strategy) is None
