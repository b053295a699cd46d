"""The client, where a server joins requests and fails them together."""

import concurrent.futures
import contextlib
import dataclasses
import json
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from kdwsd.serving import native_session
from kdwsd.serving import saved_model
from kdwsd.serving import signatures
from kdwsd.serving.server import local_server
from kdwsd.serving.server import options
from tests.export_kit import joining
from tests.export_kit import kit
from tests.serving import fakes
from tests.serving.server import clients

pytestmark = pytest.mark.one_lane

_COUNT = 60
_BAD = frozenset(range(0, _COUNT, 6))

# Seconds for a request. The first one builds the graph, which on a machine that
# is busy with other things has taken longer than the server's usual 30.
_PATIENCE = 240


def _write(folder, *, with_per_image):
  servable = fakes.servable_student()
  if not with_per_image:
    servable = dataclasses.replace(servable, signatures={
        name: function for name, function in servable.signatures.items()
        if name != signatures.PER_IMAGE})
  saved_model.write(servable, str(folder / "1"))
  return folder


@pytest.fixture(scope="module", name="exports")
def fixture_exports(tmp_path_factory):
  """{whether it has `per_image`: directory of versions}."""
  return {new: _write(tmp_path_factory.mktemp("models"), with_per_image=new)
          for new in (True, False)}


@pytest.fixture(scope="module", name="photos")
def fixture_photos(tmp_path_factory):
  """Sixty files, every sixth without its last third."""
  folder = tmp_path_factory.mktemp("photos")
  for number in range(_COUNT):
    content = fakes.jpeg(seed=number)
    if number in _BAD:
      content = content[:-len(content) // 3]
    (folder / f"{number:02}.jpg").write_bytes(content)
  return folder


@pytest.fixture(scope="module", name="servers")
def fixture_servers(exports):
  """{whether it has `per_image`: (server, batcher)}, as long as the tests."""
  with contextlib.ExitStack() as stack:
    yield {new: stack.enter_context(_serving(path))
           for new, path in exports.items()}


@contextlib.contextmanager
def _serving(base_path, **settings):
  """A server that joins as TensorFlow Serving does, and its batcher."""
  made = []

  def make(**_):
    made.append(joining.Batcher(**settings))
    return made[-1]

  with mock.patch.object(local_server.batching, "Batcher", make):
    server = local_server.LocalServer(options.Options(
        "student", str(base_path), port=0, rest_api_port=0,
        rest_api_timeout_in_ms=1000 * _PATIENCE))
  with server:
    yield server, made[0]


def _ask(server, photos, *arguments):
  """A client in a process of its own: exit status, lines, errors."""
  done = subprocess.run(
      [sys.executable, str(kit.FOLDER / "client.py"), str(photos),
       f"--url=http://127.0.0.1:{server.rest_port}", f"--timeout={_PATIENCE}",
       *arguments],
      capture_output=True, text=True, check=False, timeout=2 * _PATIENCE)
  return done.returncode, [
      json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _check(status, lines, error):
  assert len(lines) == _COUNT, error
  assert {number for number, line in enumerate(lines)
          if "error" in line} == _BAD, lines
  assert status == 1
  for number in _BAD:
    assert "expected a complete JPEG or PNG image" in lines[number]["error"]


@pytest.mark.parametrize("concurrency, batch_size", [
    (1, 8), (4, 8), (4, 1), (16, 1), (16, 3)])
@pytest.mark.parametrize("new", [True, False])
def test_good_images_are_answered_and_bad_ones_are_not(
    servers, photos, new, concurrency, batch_size):
  server, batcher = servers[new]
  batcher.expect(2 if concurrency > 1 else 1)
  _check(*_ask(server, photos, f"--concurrency={concurrency}",
               f"--batch_size={batch_size}"))
  if concurrency > 1:
    assert max(batcher.joined) > 1  # Else nothing is proven.


@pytest.mark.parametrize("concurrency", [
    "1", *(pytest.param(more, marks=pytest.mark.slow) for more in ("4", "16"))])
def test_two_clients_at_once(exports, photos, concurrency):
  with _serving(exports[True]) as (server, batcher):
    batcher.expect(2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for found in pool.map(
          lambda _: _ask(server, photos, "--concurrency", concurrency,
                         "--batch_size=3"), range(2)):
        _check(*found)
  assert max(batcher.joined) > 1


def test_two_clients_of_an_older_export_answer_no_bad_image(
    servers, photos):
  # README.md: here a good image may still be refused, for the other's sake.
  server, _ = servers[False]
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    for _, lines, _ in pool.map(
        lambda _: _ask(server, photos, "--batch_size=3"), range(2)):
      refused = {n for n, line in enumerate(lines) if "error" in line}
      assert _BAD <= refused
      assert len(refused) < _COUNT // 2


@pytest.mark.parametrize("new", [True, False])
def test_grpc_too(servers, photos, capsys, new):
  server, _ = servers[new]
  status = kit.client().main([
      str(photos), f"--grpc=127.0.0.1:{server.grpc_port}", "--batch_size=5",
      f"--timeout={_PATIENCE}"])
  captured = capsys.readouterr()
  _check(status, [json.loads(line) for line in captured.out.splitlines()],
         captured.err)


def test_a_teachers_proposals_are_padded_and_every_image_gets_its_own_scores(
    tmp_path):
  # Without padding those that are joined fail, as the second part shows.
  saved_model.write(fakes.servable_teacher(), str(tmp_path / "1"))
  requests = [_of_teacher(seed, count) for seed, count in enumerate(
      [5, 1, 9, 3, 4, 7, 2, 6] * 3)]
  bad = 4
  requests[bad]["image_bytes"] = clients.b64(fakes.truncated_jpeg())

  def ask_all(server):
    def ask(request):
      return clients.Rest(server.rest_port, timeout=_PATIENCE)(body={
          "signature_name": "per_image", "instances": [request]})
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
      return list(pool.map(ask, requests))

  with native_session.Session(str(tmp_path / "1")) as session:
    alone = [session.run("serving_default", {
        "image_bytes": [fakes.jpeg(seed=seed)],
        "proposals": [request["proposals"]],
        "objectness": [request["objectness"]]})
             for seed, request in enumerate(requests)]
  # Of eight no more than three are of one length.
  with _serving(tmp_path, pad=True) as (server, batcher):
    batcher.expect(8)
    answers = ask_all(server)
  assert max(batcher.joined) > 1
  longer = 0
  for number, (status, answer) in enumerate(answers):
    assert status == 200, answer
    (row,), count = answer["predictions"], len(requests[number]["proposals"])
    scores = np.array(row["proposal_scores"])
    longer += len(scores) > count
    if number == bad:
      assert "cannot be decoded" in row["status"]
      assert (scores == -1).all()
      continue
    assert row["status"] == ""
    np.testing.assert_allclose(
        row["probabilities"], alone[number]["probabilities"][0], atol=1e-5)
    np.testing.assert_allclose(
        scores[:count], alone[number]["proposal_scores"][0], atol=1e-5)
    assert (scores[count:] == 0).all()
  assert longer
  with _serving(tmp_path, pad=False) as (server, batcher):
    batcher.expect(8)
    failed = [answer for status, answer in ask_all(server) if status != 200]
  assert failed
  assert "padding is turned off" in failed[0]["error"]


def _of_teacher(seed, count):
  proposals, objectness = fakes.boxes(count, seed=seed)
  return {"image_bytes": clients.b64(fakes.jpeg(seed=seed)),
          "proposals": proposals[0].tolist(),
          "objectness": objectness[0].tolist()}
