"""The whole server under load, in fuzz, and while versions are swapped."""

import contextlib
import json
import random
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.server import clients
from tests.serving.server import fakes

_MODEL = "/v1/models/student"


@pytest.fixture(scope="module", name="exports")
def fixture_exports(tmp_path_factory):
  """{version: directory of an export}."""
  base = str(tmp_path_factory.mktemp("exports"))
  return {version: fakes.write(base, version) for version in (1, 2)}


@pytest.fixture(scope="module", name="server")
def fixture_server(exports, tmp_path_factory):
  base = tmp_path_factory.mktemp("model")
  fakes.publish(exports[1], base, 1)
  with fakes.server(base, num_batch_threads=1,
                    batch_timeout_micros=2000) as server:
    yield server


def _together(functions):
  """Runs functions in threads of their own; raises what any raised."""
  problems = []

  def run(function):
    try:
      function()
    except BaseException as problem:  # pylint: disable=broad-exception-caught
      problems.append(problem)

  threads = [threading.Thread(target=run, args=(one,)) for one in functions]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  if problems:
    raise problems[0]


def test_32_clients_at_once_each_get_their_own_answers(server):
  def ask_rest(seed):
    draw, rest = random.Random(seed), clients.Rest(server.rest_port)
    for _ in range(12):
      images = [bytes(draw.randrange(900)) for _ in range(draw.randint(1, 5))]
      bad = draw.randrange(len(images)) if draw.random() < 0.2 else None
      if bad is not None:
        images[bad] = fakes.BAD
      status, answer = rest(body={"instances": list(map(clients.b64, images))})
      if bad is None:
        assert status == 200, answer
        for image, row in zip(images, answer["predictions"]):
          assert row["probabilities"] == pytest.approx(
              fakes.probabilities(image, 1))
      else:
        assert status == 400
        assert f"image_bytes[{bad}]" in answer["error"]
    rest.close()

  def ask_grpc(seed):
    draw, client = random.Random(seed), clients.Grpc(server.grpc_port)
    for _ in range(12):
      images = [bytes(draw.randrange(900)) for _ in range(draw.randint(1, 5))]
      bad = draw.randrange(len(images)) if draw.random() < 0.2 else None
      if bad is not None:
        images[bad] = fakes.BAD
      try:
        response = client.predict({"image_bytes": images})
        assert bad is None
        np.testing.assert_allclose(
            tf.make_ndarray(response.outputs["probabilities"]),
            [fakes.probabilities(image, 1) for image in images], rtol=1e-6)
      except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert f"image_bytes[{bad}]" in error.details()
    client.close()

  _together([lambda seed=seed: (ask_rest if seed % 2 else ask_grpc)(seed)
             for seed in range(32)])
  page = clients.Rest(server.rest_port)("/monitoring/prometheus/metrics")[1]
  assert "kdwsd_calls_in_flight 0.0\n" in page
  joined = [line for line in page.splitlines()
            if line.startswith("kdwsd_batch_rows_bucket")]
  largest = float(joined[-1].split()[-1])
  assert 'le="8.0"' in joined[3]
  # Some runs had over 8 rows, and no call had over 5.
  assert float(joined[3].split()[-1]) < largest


def test_long_bodies_are_parsed_outside_the_event_loop(server):
  rest = clients.Rest(server.rest_port)
  image = bytes(600_000)
  status, answer = rest(body={"instances": [clients.b64(image)]})
  assert status == 200
  assert answer["predictions"][0]["probabilities"] == pytest.approx(
      fakes.probabilities(image, 1))
  assert rest(body=b'{"instances": [' + b" " * 600_000)[0] == 400
  assert rest(body={"instances": [1] * 300_000})[0] == 400
  rest.close()


def test_malformed_bodies_are_refused_and_harm_nothing(server):
  draw = random.Random(1)
  rest = clients.Rest(server.rest_port)
  good = json.dumps({"signature_name": "many", "instances": [
      {"a": 1.5, "b": [1, 2, 3], "flag": True},
      {"a": 2.5, "b": [4, 5, 6], "flag": False}]}).encode()
  words = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"NaN", b"1e999",
           b"-", b'{"b64": "YQ"}', b"\\u0000", b"\xff", b"[[[[", b"true", b"0"]
  statuses = []
  for _ in range(400):
    body = bytearray(good)
    for _ in range(draw.randint(1, 4)):
      place = draw.randrange(len(body))
      choice = draw.random()
      if choice < 0.4:
        body[place:place + draw.randint(0, 9)] = draw.choice(words)
      elif choice < 0.7:
        del body[place:place + draw.randint(1, 20)]
      else:
        body[place] = draw.randrange(256)
    method = draw.choice(["predict", "predict", "classify", "regress"])
    status, answer = rest(f"{_MODEL}:{method}", bytes(body))
    statuses.append(status)
    assert status in (200, 400) or (
        (status, method) == (501, "regress")), (bytes(body), answer)
    assert ("error" in answer) == (status != 200)
  assert statuses.count(400) > 300
  status, answer = rest(body=good)
  assert [row["sum"] for row in answer["predictions"]] == [
      [2.5, 3.5, 4.5], [6.5, 7.5, 8.5]]


def test_malformed_messages_of_grpc_are_refused_and_harm_nothing(server):
  draw = random.Random(2)
  channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
  call = channel.unary_unary(
      "/tensorflow.serving.PredictionService/Predict",
      request_serializer=lambda content: content,
      response_deserializer=lambda content: content)
  client = clients.Grpc(server.grpc_port)
  request = clients.predict_pb2.PredictRequest()
  clients.fill(request.model_spec)
  request.inputs["image_bytes"].CopyFrom(
      tf.make_tensor_proto([b"abc", b"defg"]))
  good = request.SerializeToString()
  codes = set()
  for _ in range(150):
    body = bytearray(good)
    for _ in range(draw.randint(1, 4)):
      body[draw.randrange(len(body))] = draw.randrange(256)
    try:
      call(bytes(body), timeout=300)
    except grpc.RpcError as error:
      codes.add(error.code().name)
  # INTERNAL is gRPC's own for what is no proto.
  assert "INVALID_ARGUMENT" in codes
  assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION",
                   "INTERNAL"}, codes
  assert client.predict({"image_bytes": [b"abc"]})
  channel.close()
  client.close()


def test_versions_are_swapped_under_load_without_a_wrong_answer(
    exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  done = threading.Event()
  seen = []

  def check(image, version_of_answer, values):
    assert values == pytest.approx(
        fakes.probabilities(image, version_of_answer)), values

  def ask_rest(seed):
    draw, rest = random.Random(seed), clients.Rest(server.rest_port)
    while not done.is_set():
      image = bytes(draw.randrange(900))
      status, answer = rest(body={"instances": [clients.b64(image)]})
      assert status == 200, answer
      values = answer["predictions"][0]["probabilities"]
      check(image, values[1], values)
      seen.append(values[1])

  def ask_grpc(seed):
    draw, client = random.Random(seed), clients.Grpc(server.grpc_port)
    while not done.is_set():
      image = bytes(draw.randrange(900))
      response = client.predict({"image_bytes": [image]})
      values = list(response.outputs["probabilities"].float_val)
      # Odd versions are copies of the first export, even ones of the second.
      version = 2 - response.model_spec.version.value % 2
      check(image, version, values)
      seen.append(values[1])

  def wait_for(condition):
    end = time.monotonic() + 300
    while not condition():
      assert time.monotonic() < end
      time.sleep(0.02)

  def has_taken_over(rest, version):
    states = {one["version"]: one["state"]
              for one in rest(_MODEL)[1]["model_version_status"]}
    return (states.get(str(version)) == "AVAILABLE"
            and states[str(version - 1)] == "END")

  def swap():
    try:
      rest = clients.Rest(server.rest_port)
      wait_for(lambda: seen)
      for version in (2, 3, 4):
        fakes.publish(exports[2 - version % 2], tmp_path, version)
        wait_for(lambda version=version: has_taken_over(rest, version))
        wait_for(lambda version=version: seen[-1] == 2 - version % 2)
        (tmp_path / f"{version}x").mkdir()
    finally:
      done.set()

  with fakes.server(tmp_path) as server:
    _together([swap] + [lambda seed=seed: (ask_rest if seed % 2 else ask_grpc)(
        seed) for seed in range(6)])
  assert set(seen) == {1.0, 2.0}
  changes = sum(a != b for a, b in zip(seen, seen[1:]))
  assert changes >= 3


def _wait_for_calls(rest, number):
  """Waits until so many calls are in progress."""
  end = time.monotonic() + 300
  while f"kdwsd_calls_in_flight {number}" not in rest(
      "/monitoring/prometheus/metrics")[1]:
    assert time.monotonic() < end


def test_overload_is_unavailable_and_passes(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  release = tmp_path / "release"
  with fakes.server(tmp_path, max_in_flight=2) as server:
    asking = [threading.Thread(target=lambda: clients.Rest(server.rest_port)(
        body=fakes.held(release))) for _ in range(2)]
    try:
      for thread in asking:
        thread.start()
      rest, client = clients.Rest(server.rest_port), clients.Grpc(
          server.grpc_port)
      _wait_for_calls(rest, 2)
      status, answer = rest(body={"instances": ["a"]})
      assert (status, answer["error"][:5]) == (503, "Busy:")
      with pytest.raises(grpc.RpcError) as caught:
        client.predict({"image_bytes": [b"a"]})
      assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
      assert rest(_MODEL)[0] == 200  # The status is told all the same.
    finally:
      release.touch()
    for thread in asking:
      thread.join()
    assert rest(body={"instances": ["a"]})[0] == 200
    client.close()


def test_a_call_that_takes_too_long_ends(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  release = tmp_path / "release"
  with fakes.server(tmp_path, rest_api_timeout_in_ms=200) as server:
    try:
      status, answer = clients.Rest(server.rest_port)(body=fakes.held(release))
    finally:
      release.touch()
    assert status == 504
    assert "time" in answer["error"]


def test_a_stop_answers_the_calls_it_has(exports, tmp_path):
  fakes.publish(exports[1], tmp_path, 1)
  release = tmp_path / "release"
  server = fakes.server(tmp_path)
  server.start()
  answers = []
  asking = [
      threading.Thread(target=lambda: answers.append(
          clients.Rest(server.rest_port)(body=fakes.held(release))[0])),
      threading.Thread(target=lambda: answers.append(
          clients.Grpc(server.grpc_port).predict(
              {"paths": [str(release)]}, signature="held").model_spec.name))]
  stopping = threading.Thread(target=server.stop)
  try:
    for thread in asking:
      thread.start()
    _wait_for_calls(clients.Rest(server.rest_port), 2)
    stopping.start()
    _wait_for_refusal(server)
    assert not answers
  finally:
    release.touch()
  stopping.join()
  for thread in asking:
    thread.join()
  assert sorted(map(str, answers)) == ["200", "student"]
  with pytest.raises(OSError):
    clients.Rest(server.rest_port)(_MODEL)


def _wait_for_refusal(server):
  """Waits until new calls by gRPC are refused, the first that a stop does."""
  end = time.monotonic() + 300
  client = clients.Grpc(server.grpc_port)
  with contextlib.suppress(grpc.RpcError):
    while client.predict({"image_bytes": [b"a"]}):
      assert time.monotonic() < end
  client.close()
