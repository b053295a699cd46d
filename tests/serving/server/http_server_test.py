"""No client can hold the server up, whatever it sends or does not."""

import asyncio
from concurrent import futures
import contextlib
import gzip
import random
import socket
import threading
import time

import pytest

from kdwsd import errors
from kdwsd.serving.server import codes
from kdwsd.serving.server import http_server
from tests.serving.server import clients

# Seconds, for what takes none on an idle machine.
_LONG = 300.0


@contextlib.contextmanager
def _server(answer=None, **changes):
  """A server that answers with method, path and length of the body."""
  def describe(method, path, body):
    return "text/plain", f"{method} {path} {len(body)}".encode()

  pool = futures.ThreadPoolExecutor()

  async def answer_in_thread(*request):
    return await asyncio.wrap_future(pool.submit(answer or describe, *request))

  server = http_server.HttpServer("127.0.0.1", 0, answer_in_thread, **{
      "max_connections": 8, "max_request_bytes": 1000, "read_seconds": _LONG,
      "answer_seconds": _LONG,
      **changes})
  server.listen()
  try:
    yield server
  finally:
    server.close(5)


def _wait_until(condition):
  end = time.monotonic() + _LONG
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


def _is_answered(server):
  """Whether a new client is; else it is refused, for want of a place."""
  with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
    with contextlib.suppress(ConnectionError):
      one.sendall(b"GET /x HTTP/1.0\r\n\r\n")
      return one.recv(12) == b"HTTP/1.1 200"
  return False


def _post(body=b"", *headers, method="POST"):
  lines = [f"{method} /x HTTP/1.1", "Host: x", *headers]
  return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _chunked(*parts):
  return b"".join(
      b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


_GZIP = "Content-Encoding: gzip"
_CLOSE = "Connection: close"


@pytest.mark.parametrize("status, request_bytes", [
    (200, _post(b"abc", "Content-Length: 3", _CLOSE)),
    (200, _post(b"abc", "Content-Length: 3", "content-length:  3 ", _CLOSE)),
    (200, b"GET /x HTTP/1.0\r\n\r\n"),
    (200, _post(b"a" * 1000, "Content-Length: 1000", _CLOSE)),
    (200, _post(b"", _CLOSE)),
    (200, _post(_chunked(b"abc", b"d" * 997), "Transfer-Encoding: chunked",
                _CLOSE)),
    (413, _post(b"a" * 1001, "Content-Length: 1001", _CLOSE)),
    (413, _post(b"", "Content-Length: 99999999999999999", _CLOSE)),
    (413, _post(b"", "Content-Length: 9999999999999999999999", _CLOSE)),
    (413, _post(_chunked(b"abc", b"d" * 998), "Transfer-Encoding: chunked",
                _CLOSE)),
    (400, _post(b"", "Content-Length: -1")),
    (400, _post(b"", "Content-Length: x")),
    (400, _post(b"", "Content-Length: 1, 2")),
    (400, _post(b"abc", "Content-Length: 3", "Content-Length: 2")),
    (400, _post(b"", "Content-Length: \u0663")),
    (400, _post(b"0\r\n\r\n", "Transfer-Encoding: chunked",
                "Content-Length: 3")),
    (400, _post(b"0\r\n\r\n", "Transfer-Encoding: x")),
    (400, _post(b"x\r\nabc\r\n", "Transfer-Encoding: chunked")),
    (400, b"nonsense\r\n\r\n"),
    (400, b"GET /x HTTP/x\r\n\r\n"),
    (400, b"GET /x HTTP/2.0\r\n\r\n"),
])
def test_a_request_is_answered_or_refused(status, request_bytes):
  with _server() as server:
    with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
      one.sendall(request_bytes)
      answer = one.recv(5000)
      assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
      if status == 413:
        assert b'\r\n\r\n{"error": "Expected 1000 bytes at most' in answer
      elif status == 200:
        length = request_bytes.count(b"a") + request_bytes.count(b"d")
        assert answer.endswith(
            f" {1000 if length > 900 else 3 * length}".encode()), answer
        assert not one.recv(1)
    assert clients.Rest(server.port)("/y")[1] == "GET /y 0"


@pytest.mark.parametrize("line", [
    b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
    b"GET /x HTTP/1.1\r\nA: " + b"x" * 70000 + b"\r\n\r\n",
    b"A: x\r\n" * 20000])
def test_headers_without_end_end_the_connection(line):
  with _server() as server:
    with contextlib.suppress(ConnectionError):
      assert clients.raw(server.port, line)[:12] in (b"", b"HTTP/1.1 400")
    assert clients.Rest(server.port)("/y")[1] == "GET /y 0"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "TRACE", "ODD"])
def test_methods_are_the_answerers_affair(method):
  with _server() as server:
    rest = clients.Rest(server.port)
    assert rest("/x", method=method) == (
        200, "" if method == "HEAD" else f"{method} /x 0")
    assert rest("/x") == (200, "GET /x 0")  # The connection was kept.


def test_bodies_may_be_compressed():
  whole = gzip.compress(b"a" * 1000)
  with _server(lambda method, path, body: ("text/plain", body)) as server:
    rest = clients.Rest(server.port)
    headers = {"Content-Encoding": "gzip"}
    assert rest("/x", whole, headers=headers) == (200, "a" * 1000)
    for status, body, words in (
        (413, gzip.compress(bytes(10 ** 8))[:900], "1000 bytes at most"),
        (413, gzip.compress(b"a" * 1001), "1000 bytes at most"),
        (400, whole[:-5], "gzip. Received: a part of it"),
        (400, b"abc", "Expected a body in gzip. Received: Error -3"),
        (400, b"", "a part of it")):
      answered, answer = rest("/x", body, headers=headers, method="POST")
      assert answered == status
      assert words in answer["error"]
    assert rest("/x", whole, headers=headers) == (200, "a" * 1000)


def test_a_body_too_long_is_refused_though_it_is_still_being_sent():
  with _server() as server:
    rest = clients.Rest(server.port)
    status, answer = rest("/x", bytes(5_000_000))
    assert status == 413
    assert "Received: 5000000" in answer["error"]


def test_a_client_that_asks_first_is_told_before_it_sends():
  with _server() as server:
    for length, expected in ((1001, b"HTTP/1.1 413"), (3, b"HTTP/1.1 100")):
      with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
        one.sendall(_post(
            b"", "Expect: 100-continue", f"Content-Length: {length}"))
        assert one.recv(1000).startswith(expected)
        if length == 3:
          one.sendall(b"abc")
          assert one.recv(1000).endswith(b"POST /x 3")
        else:
          assert not one.recv(1)


@pytest.mark.parametrize("start, status", [
    (b"P", None), (b"POST /x HTTP/1.1\r\nContent-Len", None),
    (b"POST /x HTTP/1.1\r\nContent-Length: 900\r\n\r\n", b"408"),
    (b"POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n", b"413"),
    (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n300\r\n",
     b"408")])
def test_a_client_that_sends_a_byte_now_and_then_is_hung_up_on(start, status):
  with _server(read_seconds=0.4) as server:
    begun, answer, ended = time.monotonic(), b"", False
    with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
      one.sendall(start)
      one.settimeout(0.05)
      while not ended:
        assert time.monotonic() - begun < _LONG
        with contextlib.suppress(socket.timeout):
          try:
            received = one.recv(1000)
          except ConnectionError:
            received = b""
          answer, ended = answer + received, not received
        with contextlib.suppress(ConnectionError):  # Its answer is read above.
          one.sendall(b"x")
    assert time.monotonic() - begun > 0.3
    assert answer.startswith(b"HTTP/1.1 " + status) if status else not answer
    assert (status == b"408") == (b"within 0.4 s" in answer)
    # The client may see the end before the server has done with it.
    _wait_until(lambda: not server.connections)


def test_slow_clients_do_not_hinder_others_and_connections_are_bounded():
  with _server(max_connections=3) as server:
    slow = [socket.create_connection(("127.0.0.1", server.port), _LONG)
            for _ in range(2)]
    for one in slow:
      one.sendall(b"POST /x HTTP/1.1\r\n")
    rest = clients.Rest(server.port)
    assert rest("/x")[0] == 200
    refused = clients.raw(server.port, b"")
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in refused
    slow[0].close()
    _wait_until(lambda: _is_answered(server))
    slow[1].close()
    rest.close()


def test_connections_are_bounded_also_where_many_are_accepted_at_once():
  entered, release = threading.Event(), threading.Event()

  async def answer(*_):
    entered.set()
    release.wait(_LONG)  # Stops the event loop.
    return "text/plain", b"done"

  server = http_server.HttpServer(
      "127.0.0.1", 0, answer, max_connections=3, max_request_bytes=1,
      read_seconds=_LONG, answer_seconds=_LONG)
  server.listen()
  waiting = []
  try:
    for _ in range(10):
      waiting.append(
          socket.create_connection(("127.0.0.1", server.port), _LONG))
      waiting[-1].sendall(_post(method="GET"))
      assert entered.wait(_LONG)
    release.set()
    statuses = [one.recv(12)[-3:] for one in waiting]
    assert statuses == [b"200"] * 3 + [b"503"] * 7
  finally:
    release.set()
    for one in waiting:
      one.close()
    server.close(5)


def test_a_client_that_does_not_take_its_answer_is_left():
  big = bytes(50_000_000)
  with _server(lambda *_: ("text/plain", big), max_connections=1,
               read_seconds=0.3) as server:
    with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
      one.sendall(b"GET /x HTTP/1.1\r\n\r\n")
      # The place it had is free again.
      _wait_until(lambda: _is_answered(server))


def test_a_client_that_leaves_before_its_answer_harms_nothing(caplog):
  entered, release = threading.Event(), threading.Event()

  def answer(*_):
    entered.set()
    release.wait(_LONG)
    return "text/plain", b"done"

  with _server(answer, max_connections=1) as server:
    with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
      one.sendall(b"GET /x HTTP/1.1\r\n\r\n")
      assert entered.wait(_LONG)
    release.set()
    _wait_until(lambda: not server.connections)
    assert clients.Rest(server.port)("/y") == (200, "done")
  assert not [record for record in caplog.records
              if record.levelname == "ERROR"]


def test_an_answer_that_takes_too_long_is_cancelled(caplog):
  cancelled = []

  async def answer(method, path, body):
    del method, path, body  # Unused.
    try:
      await asyncio.sleep(3600)
    except asyncio.CancelledError:
      cancelled.append(True)
      raise codes.ServingError(codes.Code.DEADLINE_EXCEEDED, "late") from None

  server = http_server.HttpServer(
      "127.0.0.1", 0, answer, max_connections=1, max_request_bytes=1,
      read_seconds=_LONG, answer_seconds=0.1)
  server.listen()
  rest = clients.Rest(server.port)
  for number in (1, 2):  # The connection is kept.
    assert rest("/x") == (504, {"error": "late"})
    assert len(cancelled) == number
  rest.close()
  server.close(5)
  assert not [record for record in caplog.records
              if record.levelname == "ERROR"]


def test_an_error_of_any_kind_is_answered(caplog):
  def answer(method, path, body):
    raise KeyError("oops")

  with _server(answer) as server:
    assert clients.Rest(server.port)("/x") == (
        500, {"error": "KeyError: 'oops'"})
  assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_stop_answers_what_has_begun_and_ends_idle_connections():
  entered, release = threading.Event(), threading.Event()

  def answer(*_):
    entered.set()
    release.wait(_LONG)
    return "text/plain", b"done"

  with _server(answer) as server:
    idle = socket.create_connection(("127.0.0.1", server.port), _LONG)
    busy = clients.Rest(server.port)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(busy("/x")))
    asking.start()
    assert entered.wait(_LONG)
    stopping = threading.Thread(target=server.close, args=(_LONG,))
    stopping.start()
    assert idle.recv(100) == b""
    with pytest.raises(OSError):
      socket.create_connection(("127.0.0.1", server.port), 1).recv(1)
    assert stopping.is_alive()
    release.set()
    stopping.join()
    asking.join()
  assert answers == [(200, "done")]


def test_a_stop_waits_no_longer_than_told():
  entered, release = threading.Event(), threading.Event()

  def answer(*_):
    entered.set()
    release.wait(2 * _LONG)
    return "", b""

  with _server(answer) as server:
    with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
      one.sendall(b"GET /x HTTP/1.1\r\n\r\n")
      assert entered.wait(_LONG)
      begun = time.monotonic()
      server.close(0.2)
      seconds = time.monotonic() - begun
      release.set()
      assert 0.15 < seconds < _LONG


def test_random_bytes_end_no_server():
  draw = random.Random(0)
  whole = _post(b"abcdefgh", "Content-Length: 8", "Connection: close")
  with _server() as server:
    for _ in range(150):
      broken = bytearray(whole)
      for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(broken))
        if draw.random() < 0.5:
          broken[place] = draw.randrange(256)
        else:
          del broken[place]
      with socket.create_connection(("127.0.0.1", server.port), _LONG) as one:
        one.sendall(broken)
        with contextlib.suppress(OSError):  # It may have been hung up on.
          one.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
          answer = one.recv(1000)
          assert not answer or answer.startswith(b"HTTP/1.1 "), bytes(broken)
    assert clients.Rest(server.port)("/x")[0] == 200


def test_another_machines_address_is_told():
  with pytest.raises(errors.InputError, match="address of this machine"):
    http_server.HttpServer(
        "192.0.2.1", 0, None, max_connections=1, max_request_bytes=1,
        read_seconds=1, answer_seconds=1)
