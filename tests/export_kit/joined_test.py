"""The client, where a server joins requests and fails them together."""

import concurrent.futures
import contextlib
import dataclasses
import json
import subprocess
import sys

import pytest

from kdwsd.serving import saved_model
from kdwsd.serving import signatures
from kdwsd.serving.server import local_server
from kdwsd.serving.server import options
from tests.export_kit import joining
from tests.export_kit import kit
from tests.serving import fakes

_COUNT = 60
_BAD = frozenset(range(0, _COUNT, 6))


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


@contextlib.contextmanager
def _serving(base_path, monkeypatch, **settings):
  """A server that joins as TensorFlow Serving does, and its batcher."""
  made = []

  def make(**_):
    made.append(joining.Batcher(**settings))
    return made[-1]

  with monkeypatch.context() as patch:
    patch.setattr(local_server.batching, "Batcher", make)
    with local_server.LocalServer(options.Options(
        "student", str(base_path), port=0, rest_api_port=0)) as server:
      yield server, made[0]


def _ask(server, photos, *arguments):
  """A client in a process of its own: exit status, lines, errors."""
  done = subprocess.run(
      [sys.executable, str(kit.FOLDER / "client.py"), str(photos),
       f"--url=http://127.0.0.1:{server.rest_port}", *arguments],
      capture_output=True, text=True, check=False, timeout=300)
  return done.returncode, [
      json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _check(status, lines, error):
  assert len(lines) == _COUNT, error
  assert {number for number, line in enumerate(lines)
          if "error" in line} == _BAD, lines
  assert status == 1
  for number in _BAD:
    assert "expected a whole JPEG or PNG image" in lines[number]["error"]


@pytest.mark.parametrize("concurrency, batch_size", [
    (1, 8), (4, 8), (4, 1), (16, 1), (16, 3)])
@pytest.mark.parametrize("new", [True, False])
def test_good_images_are_answered_and_bad_ones_are_not(
    exports, photos, monkeypatch, new, concurrency, batch_size):
  with _serving(exports[new], monkeypatch) as (server, batcher):
    _check(*_ask(server, photos, f"--concurrency={concurrency}",
                 f"--batch_size={batch_size}"))
  if concurrency > 1:
    assert max(batcher.joined) > 1  # Else nothing is proven.


@pytest.mark.parametrize("concurrency", ["1", "4", "16"])
def test_two_clients_at_once(exports, photos, monkeypatch, concurrency):
  with _serving(exports[True], monkeypatch) as (server, batcher):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for found in pool.map(
          lambda _: _ask(server, photos, "--concurrency", concurrency,
                         "--batch_size=3"), range(2)):
        _check(*found)
  assert max(batcher.joined) > 1


def test_two_clients_of_an_older_export_answer_no_bad_image(
    exports, photos, monkeypatch):
  # README.md: here a good image may still be refused, for the other's sake.
  with _serving(exports[False], monkeypatch) as (server, _):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for _, lines, _ in pool.map(
          lambda _: _ask(server, photos, "--batch_size=3"), range(2)):
        refused = {n for n, line in enumerate(lines) if "error" in line}
        assert _BAD <= refused
        assert len(refused) < _COUNT // 2


@pytest.mark.parametrize("new", [True, False])
def test_grpc_too(exports, photos, monkeypatch, capsys, new):
  with _serving(exports[new], monkeypatch) as (server, _):
    status = kit.client().main([
        str(photos), f"--grpc=127.0.0.1:{server.grpc_port}", "--batch_size=5"])
  captured = capsys.readouterr()
  _check(status, [json.loads(line) for line in captured.out.splitlines()],
         captured.err)
