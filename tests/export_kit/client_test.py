"""The client against a server that fails as TensorFlow Serving does."""

import ast
import base64
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

from kdwsd.data import image_names
from tests.export_kit import kit

_JPEG = b"\xff\xd8\xff"


class _Stub(http.server.ThreadingHTTPServer):
  """Answers from a script: a list of statuses, then for good.

  An image is bad if it says so; its "probabilities" are its length. Unless
  told otherwise its model is an older one, without `per_image`.
  """
  daemon_threads = True

  def __init__(self, statuses=(), headers=None):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.statuses, self.headers = list(statuses), headers or {}
    self.paths, self.sizes, self.bad_once = [], [], set()
    self.signatures, self.has_per_image, self.most = [], False, 1000
    self.more = ""
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
      self.server.signatures.append(body["signature_name"])
      per_image = body["signature_name"] == "per_image"
      if per_image and not self.server.has_per_image:
        self._send(400, {"error": 'Serving signature name: "per_image" not '
                                  "found in signature def"})
        return
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
    if per_image:
      for n, row in enumerate(answer["predictions"]):
        row["status"] = "no image" if n in bad else ""
        if n in bad:
          row.update(classes=[""] * 3, probabilities=[-1.0] * 3)
      bad = []
    if len(images) > self.server.most:
      status, answer = 400, {
          "error": f"Task size {len(images)} is larger than maximum input "
                   f"batch size {self.server.most}"}
    elif status == 200 and bad:
      status, answer = 400, {"error": f"image_bytes[{bad[0]}]: no image"}
    elif status != 200:
      answer = {"error": f"told {status}" + self.server.more}
    if status == "close":
      self.close_connection = True
      return
    self._send(status, answer)

  def _send(self, status, answer):
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


@pytest.mark.parametrize("arguments, classes", [
    (("--threshold=0.5",), ["cat"]),  # Its probability is 0.5.
    (("--threshold=0.501",), []),
    (("--threshold=0", "--top_k=2"), ["cat", "dog"]),
    (("--threshold=0.01", "--top_k=0"), ["cat", "dog", "emu"])])
def test_threshold_and_top_k_choose_classes(
    client, capsys, server, tmp_path, arguments, classes):
  _, [line], _ = _run(
      client, capsys, server, _photos(tmp_path, 1), *arguments)
  assert [p["class"] for p in line["predictions"]] == classes


def test_a_server_that_tells_bad_images_is_asked_once(
    client, capsys, server, tmp_path):
  server.has_per_image = True
  status, lines, _ = _run(client, capsys, server, _photos(tmp_path, 5, (1,)))
  assert status == 1
  assert lines[1]["error"] == "no image"
  assert ["error" in line for line in lines] == [
      False, True, False, False, False]
  assert lines[4]["predictions"][0] == {"class": "dog", "probability": 0.503}
  assert server.sizes == [5]
  assert server.signatures == ["per_image"]


def test_an_older_export_is_noticed_once(client, capsys, server, tmp_path):
  status, lines, _ = _run(
      client, capsys, server, _photos(tmp_path, 6), "--batch_size=1",
      "--concurrency=1")
  assert (status, len(lines)) == (0, 6)
  assert server.signatures == ["per_image"] + ["serving_default"] * 6


@pytest.mark.parametrize("has_per_image", [True, False])
def test_a_request_above_the_servers_limit_is_told_and_sent_in_parts(
    client, capsys, server, tmp_path, has_per_image):
  server.has_per_image, server.most = has_per_image, 2
  status, lines, error = _run(
      client, capsys, server, _photos(tmp_path, 10), "--batch_size=8",
      "--concurrency=1")
  assert status == 0
  assert [round(1000 * line["predictions"][0]["probability"]) for line in lines
          if line["predictions"][0]["class"] == "dog"] == [
              503, 603, 703, 803, 903, 1003]
  assert server.sizes == [8, 4, 2, 2, 2, 2, 2]
  assert error.count("note: the server does not accept") == 2
  assert "Task size 8 is larger than maximum input batch size 2" in error
  assert "--batch_size" in error


def test_an_image_that_is_too_large_alone_is_told(
    client, capsys, server, tmp_path):
  server.statuses = [413]
  status, lines, _ = _run(client, capsys, server, _photos(tmp_path, 1))
  assert status == 1
  assert lines[0]["error"] == "HTTP 413: told 413"


def test_suspects_are_sent_with_nothing_else_on_its_way(
    client, capsys, server, tmp_path):
  # Every request of more than one image fails: all images are suspects.
  folder, running, most_at_once = _photos(tmp_path, 24), [0], []
  lock, two = threading.Lock(), threading.Event()
  bodies = client.Rest._ask  # pylint: disable=protected-access

  def ask(self, contents, signature):
    with lock:
      running[0] += 1
      most_at_once.append((len(contents), running[0]))
      if running[0] == 2:
        two.set()
    try:
      two.wait(300)
      threading.Event().wait(0.01)  # `time.sleep` is taken.
      if signature == "serving_default" and len(contents) > 1:
        raise client.Refused("HTTP 400: image_bytes[5]: bad", of_image=True)
      return bodies(self, contents, signature)
    finally:
      with lock:
        running[0] -= 1

  client.Rest._ask = ask  # pylint: disable=protected-access
  status, lines, _ = _run(client, capsys, server, folder, "--batch_size=3",
                          "--concurrency=6")
  assert (status, len(lines)) == (0, 24)
  assert max(count for size, count in most_at_once if size == 3) > 1
  assert {count for size, count in most_at_once if size == 1} == {1}


def test_a_long_error_is_cut_to_a_line(client, capsys, server, tmp_path):
  server.statuses, server.more = [404], "\n" + "QUJD" * 9000
  _, lines, _ = _run(client, capsys, server, _photos(tmp_path, 1))
  assert lines[0]["error"].startswith("HTTP 404: told 404 QUJDQUJD")
  assert lines[0]["error"].endswith("...")
  assert len(lines[0]["error"]) < 400
  assert "\n" not in lines[0]["error"]


def test_endings_are_some_of_those_of_the_package(client):
  endings = client._EXTENSIONS  # pylint: disable=protected-access
  assert set(endings) < set(image_names.EXTENSIONS)
  # Of what the package takes, these are JPEG and PNG.
  assert set(endings) == {".jpg", ".jpeg", ".jpe", ".jfif", ".png"}


def test_what_is_passed_over_in_folders_is_counted(
    client, capsys, server, tmp_path):
  folder = _photos(tmp_path, 1)
  for name in ("A.JPEG", "b.Jfif", "c.PNG", "sub/d.jpe"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(_JPEG + b"." * 500)
  for name in ("e.gif", "sub/f.txt", "jpg", "g.jpg.part"):
    (folder / name).write_bytes(b"x")
  (folder / "again").symlink_to(folder)  # Else this would have no end.
  status, lines, error = _run(client, capsys, server, folder)
  assert status == 0
  assert [line["image"][len(str(folder)) + 1:] for line in lines] == [
      "0.jpg", "A.JPEG", "b.Jfif", "c.PNG", "sub/d.jpe"]
  assert (f"note: {folder}: skipped 4 files whose names do not end in "
          ".jpg .jpeg .jpe .jfif .png, and 1 linked folders.") in error


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_output_is_json_in_every_encoding(server, tmp_path, encoding):
  names = ["naïve.jpg", "犬.jpg", os.fsdecode(b"odd\xff.jpg")]
  for name in names:
    (tmp_path / name).write_bytes(_JPEG + b"." * 500)
  done = subprocess.run(
      [sys.executable, str(kit.FOLDER / "client.py"), f"--url={server.url}",
       *(str(tmp_path / name) for name in (*names, "keine_äöü.jpg"))],
      capture_output=True, timeout=600, check=False,
      env={**os.environ, "PYTHONIOENCODING": encoding, "no_proxy": "127.0.0.1"})
  assert done.returncode == 1, done.stderr
  lines = [json.loads(line)
           for line in done.stdout.decode(encoding).splitlines()]
  assert [os.path.basename(line["image"]) for line in lines] == [
      *names, "keine_äöü.jpg"]
  assert b"1 of 4 images were not classified" in done.stderr.replace(b"\0", b"")


def test_a_bad_image_costs_the_others_nothing(
    client, capsys, server, tmp_path):
  folder = _photos(tmp_path, 5, bad=(1,))
  (folder / "9.jpg").write_bytes(b"text")
  status, lines, error = _run(
      client, capsys, server, folder, tmp_path / "none.jpg")
  assert status == 1
  assert "2 of 7" not in error and "3 of 7 images were not classified" in error
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
  assert len(server.sizes) == len(statuses) + 1
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
  assert len(server.sizes) == 3


@pytest.mark.parametrize("status", [404, 500])
def test_what_does_not_pass_is_not_tried_again(
    client, capsys, server, tmp_path, status):
  server.statuses = [status]
  _, lines, _ = _run(client, capsys, server, _photos(tmp_path, 2))
  assert [line["error"] for line in lines] == [
      f"HTTP {status}: told {status}"] * 2
  assert len(server.sizes) == 1


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
  assert set(server.paths) == {path}


@pytest.mark.parametrize("arguments, message", [
    (["{empty}"], "expected images in the folder"),
    (["{empty}", "--version=1", "--label=x"], "Received: both"),
    (["{empty}", "--batch_size=0"], "expected 1 or more"),
    (["{empty}", "--retries=-1"], "expected 0 or more. Received: -1"),
    (["{empty}", "--timeout=0"], "expected 0.001 or more. Received: 0.0"),
    (["{empty}", "--timeout=nan"], "expected 0.001 or more. Received: nan"),
    (["{empty}/a.jpg", "--url=localhost:8501"],
     "--url: expected http://HOST:PORT. Received: localhost:8501"),
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
      capture_output=True, text=True, timeout=600, check=False,
      env={"no_proxy": "127.0.0.1"})
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 2
  done = subprocess.run(
      [sys.executable, "-I", "-S", str(kit.FOLDER / "client.py"),
       "--grpc=localhost:1", str(folder)],
      capture_output=True, text=True, timeout=600, check=False, env={})
  assert done.returncode == 2
  assert "pip install tensorflow-serving-api" in done.stderr
