"""Who the workers are, and how they meet."""

import contextlib
import socket
import threading
import time

import pytest

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import cluster
from tests.training import fake_cluster as fake


@pytest.mark.parametrize("config, addresses, index", [
    (fake.config({"worker": ["a:1", "b:2"]}, index=1), ("a:1", "b:2"), 1),
    (fake.config({"worker": ["a:1", "b:2"]}, index="1"), ("a:1", "b:2"), 1),
    (fake.config({"worker": ["b:1"], "chief": ["a:1"]}), ("a:1", "b:1"), 1),
    (fake.config({"worker": ["b:1"], "chief": ["a:1"]}, "chief"),
     ("a:1", "b:1"), 0),
    (fake.config({"worker": ["[::1]:1"]}), ("[::1]:1",), 0),
])
def test_cluster_is_what_tf_config_says(config, addresses, index, monkeypatch):
  fake.join(monkeypatch, config)
  assert cluster.read_cluster() == cluster.Cluster(addresses, index)


@pytest.mark.parametrize("content", ["", "{}", {"environment": "cloud"}])
def test_no_cluster_is_none(content, monkeypatch):
  fake.join(monkeypatch, content)
  assert cluster.read_cluster() is None


@pytest.mark.parametrize("content, said", [
    ('{"cluster": ', "expected JSON. Received: '{\"cluster\": '"),
    ("[1]", "Received: [1]"),
    ('{"task": {"type": "worker", "index": 0}}', "Received: "),
    (fake.config(["a:1"]), 'Received: ["a:1"]'),
    (fake.config({"worker": "a:1"}), 'Received: {"worker": "a:1"}'),
    (fake.config({"worker": ["a"]}), 'Received: {"worker": ["a"]}'),
    (fake.config({"worker": [":1"]}), 'Received: {"worker": [":1"]}'),
    (fake.config({"worker": [7]}), 'Received: {"worker": [7]}'),
    (fake.config({"ps": ["a:1"], "worker": ["b:1"]}), '"ps"'),
    (fake.config({"worker": ["a:1", "a:1"]}), "expected an address for each"),
    (fake.config({"worker": ["a:1"]}, kind="chief"), "type is one of worker."),
    ({"cluster": {"worker": ["a:1"]}, "task": "worker"}, 'Received: "worker"'),
    (fake.config({"worker": ["a:1", "b:1"]}, index=2), "index is from 0 to 1."),
    (fake.config({"worker": ["a:1"]}, index=-1), "index is from 0 to 0."),
    (fake.config({"worker": ["a:1"]}, index=None), "index is from 0 to 0."),
])
def test_a_broken_tf_config_is_an_error_that_names_it(
    content, said, monkeypatch):
  fake.join(monkeypatch, content)
  with pytest.raises(errors.InputError, match="^TF_CONFIG: expected") as error:
    cluster.read_cluster()
  assert said in str(error.value)


def test_workers_wait_for_each_other(monkeypatch):
  monkeypatch.setattr(cluster, "_START_INTERVAL", 0.05)
  addresses = tuple(f"127.0.0.1:{fake.free_port()}" for _ in range(3))
  here, servers = [], []

  def start(index):
    cluster.wait_for_others(cluster.Cluster(addresses, index))
    here.append(index)
    # As TensorFlow does next.
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
      thread.join(timeout=300)
    assert sorted(here) == [0, 1, 2]
  finally:
    for server in servers:
      server.close()


def test_a_worker_that_never_comes_is_named(monkeypatch):
  monkeypatch.setattr(cluster, "START_TIMEOUT", 0.3)
  monkeypatch.setattr(cluster, "_START_INTERVAL", 0.05)
  address = f"127.0.0.1:{fake.free_port()}"
  with pytest.raises(interruption.Interrupted) as stopped:
    cluster.wait_for_others(cluster.Cluster(
        (f"127.0.0.1:{fake.free_port()}", address), 0))
  assert stopped.value.code == cluster.EXIT_LOST == 75
  assert f"Received: all but worker 1 ({address})" in stopped.value.message


def test_a_worker_that_was_started_again_alone_waits_and_is_missed(
    monkeypatch):
  monkeypatch.setattr(cluster, "_START_INTERVAL", 0.05)
  ports = fake.free_port(), fake.free_port()
  addresses = tuple(f"127.0.0.1:{port}" for port in ports)
  met = threading.Event()

  def start_again():
    cluster.wait_for_others(cluster.Cluster(addresses, 1))
    met.set()

  # The other one trains: TensorFlow listens, and speaks first.
  with socket.create_server(("127.0.0.1", ports[0])) as training:
    def speak():
      with contextlib.suppress(OSError):
        while True:
          with training.accept()[0] as connection:
            connection.sendall(b"\0\0\x12\4")
    threading.Thread(target=speak, daemon=True).start()
    threading.Thread(target=start_again, daemon=True).start()
    first, second = (cluster.Cluster(addresses, i) for i in range(2))
    deadline = time.monotonic() + 300
    while b"waits" not in _said(ports[1]) and time.monotonic() < deadline:
      time.sleep(0.05)
    # If it does not answer within a second, it is taken to train.
    while not (lost := cluster.lost(first)) and time.monotonic() < deadline:
      pass
    assert lost == f"worker 1 ({addresses[1]})"
    assert cluster.lost(second) == ""
    assert not met.wait(0.5)
    training.shutdown(socket.SHUT_RDWR)
  cluster.wait_for_others(first)  # It was started again as well.
  assert met.wait(300)


def test_a_worker_that_has_not_noted_another_has_not_met_it():
  with socket.create_server(("127.0.0.1", 0)) as other:
    def answer():
      for said in (b"", cluster._NOTED):
        with other.accept()[0] as connection:
          connection.sendall(cluster._WAITS)
          assert connection.recv(16) == b"3\n"
          connection.sendall(said)
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    address = f"127.0.0.1:{other.getsockname()[1]}"
    assert not cluster._greet(address, 3)  # As of one that was too late.
    assert cluster._greet(address, 3)
    thread.join()


def _said(port):
  """The first bytes from a port; none if nobody listens."""
  with contextlib.suppress(OSError):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
      return connection.recv(64)
  return b""


def test_a_port_that_is_taken_is_a_clear_error():
  with socket.create_server(("", 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(
        errors.InputError, match=f"free port for worker 1. Received: {port}"):
      cluster.wait_for_others(cluster.Cluster(
          ("127.0.0.1:1", f"127.0.0.1:{port}"), 1))
