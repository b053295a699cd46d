"""The client against a server that fails as TensorFlow Serving does."""

import ast
import base64
import http.server
import json
import subprocess
import sys
import threading

import pytest

from tests.export_kit import kit

_JPEG = b"\xff\xd8\xff"


class _Stub(http.server.ThreadingHTTPServer):
  """Answers from a script: a list of statuses, then for good.

  An image is bad if it says so; its "probabilities" are its length.
  """
  daemon_threads = True

  def __init__(self, statuses=(), headers=None):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.statuses, self.headers = list(statuses), headers or {}
    self.paths, self.sizes, self.bad_once = [], [], set()
    self.lock = threading.Lock()
    threading.Thread(target=self.serve_forever, daemon=True).start()

  @property
  def url(self):
    return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):

  def do_POST(self):
    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
    images = [base64.b64decode(row["image_bytes"]["b64"], validate=True)
              for row in body["instances"]]
    with self.server.lock:
      self.server.paths.append(self.path)
      self.server.sizes.append(len(images))
      status = self.server.statuses.pop(0) if self.server.statuses else 200
      bad = [n for n, image in enumerate(images) if b"bad" in image]
      for image in images:
        if image in self.server.bad_once:
          self.server.bad_once.discard(image)
          bad = [7]
    answer = {"predictions": [
        {"classes": ["cat", "dog", "emu"],
         "probabilities": [0.5, len(image) / 1000, 0.01]}
        for image in images]}
    if status == 200 and bad:
      status, answer = 400, {"error": f"image_bytes[{bad[0]}]: no image"}
    elif status != 200:
      answer = {"error": f"told {status}"}
    if status == "close":
      self.close_connection = True
      return
    content = json.dumps(answer).encode()
    self.send_response(status)
    for name, value in self.server.headers.items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, *_):
    pass


@pytest.fixture(name="server")
def fixture_server():
  server = _Stub()
  yield server
  server.shutdown()
  server.server_close()


@pytest.fixture(name="client")
def fixture_client(monkeypatch):
  client = kit.client()
  client.waits = []
  monkeypatch.setattr(client.time, "sleep", client.waits.append)
  for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    monkeypatch.delenv(name, raising=False)
  return client


def _photos(tmp_path, count=5, bad=()):
  folder = tmp_path / "photos"
  folder.mkdir()
  for number in range(count):
    content = _JPEG + (b"bad" if number in bad else b"") + b"." * (
        100 + 100 * number)
    (folder / f"{number}.jpg").write_bytes(content)
  return folder


def _run(client, capsys, server, *arguments):
  status = client.main([f"--url={server.url}", *map(str, arguments)])
  captured = capsys.readouterr()
  return status, [json.loads(line) for line in captured.out.splitlines()], (
      captured.err)


def test_lines_come_in_order_with_the_best_classes(
    client, capsys, server, tmp_path):
  folder = _photos(tmp_path, 9)
  status, lines, _ = _run(
      client, capsys, server, folder, "--batch_size=2", "--concurrency=3")
  assert status == 0
  assert [line["image"] for line in lines] == [
      str(folder / f"{number}.jpg") for number in range(9)]
  assert lines[8]["predictions"] == [
      {"class": "dog", "probability": 0.903},
      {"class": "cat", "probability": 0.5}]
  assert [p["class"] for p in lines[0]["predictions"]] == ["cat", "dog"]
  assert sorted(server.sizes) == [1, 2, 2, 2, 2]
  assert set(server.paths) == {"/v1/models/student:predict"}


def test_a_bad_image_costs_the_others_nothing(
    client, capsys, server, tmp_path):
  folder = _photos(tmp_path, 5, bad=(1,))
  (folder / "9.jpg").write_bytes(b"text")
  status, lines, error = _run(
      client, capsys, server, folder, tmp_path / "none.jpg")
  assert status == 1
  assert "2 of 7" not in error and "3 of 7 were not answered" in error
  assert ["error" in line for line in lines] == [
      False, True, False, False, False, True, True]
  assert "HTTP 400: image_bytes[0]: no image" == lines[1]["error"]
  assert "something else" in lines[5]["error"]
  assert "No such file" in lines[6]["error"]


def test_another_clients_bad_image_is_not_ours(
    client, capsys, server, tmp_path):
  # A server that batches fails all clients whose images it ran together.
  folder = _photos(tmp_path, 1)
  server.bad_once = {(folder / "0.jpg").read_bytes()}
  status, lines, _ = _run(client, capsys, server, folder)
  assert status == 0
  assert "predictions" in lines[0]


@pytest.mark.parametrize("statuses", [[503, 503], [429], [502], ["close"]])
def test_what_passes_is_tried_again_later_and_later(
    client, capsys, server, tmp_path, statuses):
  server.statuses = list(statuses)
  status, lines, _ = _run(client, capsys, server, _photos(tmp_path, 1))
  assert status == 0, lines
  assert len(server.paths) == len(statuses) + 1
  assert len(client.waits) == len(statuses)
  assert 0.1 <= client.waits[0] <= 0.2
  assert all(0.2 <= wait <= 0.4 for wait in client.waits[1:])


def test_the_server_may_say_when(client, capsys, server, tmp_path):
  server.statuses, server.headers = [503], {"Retry-After": "3"}
  status, _, _ = _run(client, capsys, server, _photos(tmp_path, 1))
  assert status == 0
  assert client.waits == [3.0]


def test_tries_end(client, capsys, server, tmp_path):
  server.statuses = [503] * 9
  status, lines, _ = _run(
      client, capsys, server, _photos(tmp_path, 1), "--retries=2")
  assert status == 1
  assert lines[0]["error"] == "HTTP 503: told 503 (3 tries)"
  assert len(server.paths) == 3


@pytest.mark.parametrize("status", [404, 500])
def test_what_does_not_pass_is_not_tried_again(
    client, capsys, server, tmp_path, status):
  server.statuses = [status]
  _, lines, _ = _run(client, capsys, server, _photos(tmp_path, 2))
  assert [line["error"] for line in lines] == [
      f"HTTP {status}: told {status}"] * 2
  assert len(server.paths) == 1


def test_no_server_is_told_with_its_address(client, capsys, tmp_path):
  gone = _Stub()
  gone.shutdown()
  gone.server_close()
  status, lines, _ = _run(
      client, capsys, gone, _photos(tmp_path, 1), "--retries=1")
  assert status == 1
  assert gone.url in lines[0]["error"]
  assert "refused" in lines[0]["error"].lower()
  assert len(client.waits) == 1


@pytest.mark.parametrize("flag, path", [
    ("--version=3", "/v1/models/a%20b/versions/3:predict"),
    ("--label=canary", "/v1/models/a%20b/labels/canary:predict")])
def test_version_and_label_are_in_the_path(
    client, capsys, server, tmp_path, flag, path):
  _run(client, capsys, server, _photos(tmp_path, 1), flag, "--model=a b")
  assert server.paths == [path]


@pytest.mark.parametrize("arguments, message", [
    (["{empty}"], "expected images in the folder"),
    (["{empty}", "--version=1", "--label=x"], "Received: both"),
    (["{empty}", "--batch_size=0"], "expected 1 or more"),
    ([], "required: images")])
def test_nothing_to_do_is_status_2(
    client, capsys, tmp_path, arguments, message):
  try:
    status = client.main([a.format(empty=tmp_path) for a in arguments])
  except SystemExit as stopped:
    status = stopped.code
  assert status == 2
  assert message in capsys.readouterr().err


def test_it_needs_nothing_but_python(server, tmp_path):
  # -S: without what is installed. The grammar is that of Python 3.8.
  text = (kit.FOLDER / "client.py").read_text(encoding="utf-8")
  ast.parse(text, feature_version=(3, 8))
  folder = _photos(tmp_path, 2)
  done = subprocess.run(
      [sys.executable, "-I", "-S", str(kit.FOLDER / "client.py"),
       f"--url={server.url}", "-"],
      input="".join(f"{path}\n" for path in sorted(folder.iterdir())),
      capture_output=True, text=True, timeout=60, check=False,
      env={"no_proxy": "127.0.0.1"})
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 2
  done = subprocess.run(
      [sys.executable, "-I", "-S", str(kit.FOLDER / "client.py"),
       "--grpc=localhost:1", str(folder)],
      capture_output=True, text=True, timeout=60, check=False, env={})
  assert done.returncode == 2
  assert "pip install tensorflow-serving-api" in done.stderr
