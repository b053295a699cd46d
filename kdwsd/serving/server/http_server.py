"""HTTP/1.1 on Tornado, with limits that no client can get around.

Tornado rather than waitress or uvicorn: it alone limits the time of all headers
and of a whole body, not the pause between two bytes. Its loop runs in one
thread, so a slow client costs a socket and no thread.
"""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
import zlib

from tornado import httpserver
from tornado import httputil
from tornado import iostream

from kdwsd import errors

# For a refused client to see why, and for a request that is on its way over an
# idle connection when the server stops.
_GRACE_SECONDS = 0.1


class HttpServer:
  """Calls a function for each request."""

  def __init__(self, host, port, answer, *, max_connections, max_request_bytes,
               read_seconds):
    """Takes the port, or raises `errors.InputError`; `start` opens it.

    Args:
      host: name or address to bind to.
      port: or 0 for any that is free.
      answer: coroutine function of (method, path, body) that returns (status,
        content type, bytes) and raises nothing.
      max_connections: at the same time; one more is told 503.
      max_request_bytes: of a body, also of a decompressed one; a longer one is
        told 413.
      read_seconds: for the headers, for the body, and for the client to take
        the answer; then the connection is closed, and a client that has sent
        a part of a body is told 408.
    """
    try:
      family, kind, protocol, _, address = socket.getaddrinfo(
          host, port, type=socket.SOCK_STREAM)[0]
      self._socket = socket.socket(family, kind, protocol)
      self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      self._socket.bind(address)
    except OSError as error:
      raise errors.InputError(
          "--host and --rest_api_port: expected an address of this machine "
          f"and a free port. Received: {host}:{port}, {error.strerror}."
      ) from error
    self._socket.setblocking(False)
    self.port = self._socket.getsockname()[1]
    self._loop = asyncio.new_event_loop()
    self._thread = threading.Thread(target=self._loop.run_forever, name="http")
    self._server = _Server(
        answer, max_connections, max_request_bytes, read_seconds)

  def start(self):
    """Listens, and answers in a thread of its own."""
    self._socket.listen(128)
    self._thread.start()
    self._loop.call_soon_threadsafe(self._server.add_socket, self._socket)

  def stop(self, seconds):
    """Takes no more connections; waits a while for requests that have begun."""
    if self._thread.is_alive():
      asyncio.run_coroutine_threadsafe(
          self._server.drain(seconds), self._loop).result()
      self._loop.call_soon_threadsafe(self._loop.stop)
      self._thread.join()
      self._loop.close()
    self._socket.close()


class _Server(httpserver.HTTPServer):
  """Tornado's server, whose hooks these are; all run in its loop.

  Attributes:
    connections: {connection: `_Request` that it is at}.
  """

  def initialize(self, answer, max_connections, max_bytes, seconds):
    super().initialize(None, max_body_size=2 ** 62)
    self.answer, self._max_connections = answer, max_connections
    self.max_bytes, self.seconds = max_bytes, seconds
    # Its timeouts cost a task for each part of a request; see `_Request`.
    self.conn_params.header_timeout = None
    self.connections, self.stopping = {}, False

  def handle_stream(self, stream, address):
    if len(self.connections) < self._max_connections:
      stream.set_nodelay(True)
      super().handle_stream(stream, address)
    else:
      asyncio.ensure_future(_refuse_connection(stream))

  def start_request(self, server_conn, request_conn):
    self.connections[server_conn] = _Request(self, request_conn)
    return self.connections[server_conn]

  def on_close(self, server_conn):
    self.connections.pop(server_conn).timer.cancel()
    super().on_close(server_conn)

  async def drain(self, seconds):
    """Stops; see `HttpServer.stop`."""
    deadline = time.monotonic() + seconds
    self.stopping = True
    self.stop()
    await asyncio.sleep(min(_GRACE_SECONDS, seconds))
    for connection, request in list(self.connections.items()):
      if not request.begun:
        await connection.close()
    while self.connections and time.monotonic() < deadline:
      await asyncio.sleep(0.01)
    await self.close_all_connections()


class _Request(httputil.HTTPMessageDelegate):
  """A request while it comes and is answered; Tornado calls the methods.

  Attributes:
    begun: whether its headers are here.
    timer: closes the connection when the client takes too long.
  """

  def __init__(self, server, connection):
    self._server, self._connection = server, connection
    self._chunks, self._length, self._refused = [], 0, False
    self._loop = asyncio.get_running_loop()
    self.begun = False
    self.timer = self._limit()

  def _limit(self, late=None):
    return self._loop.call_later(
        self._server.seconds, late or self._connection.close)

  def headers_received(self, start_line, headers):
    self.begun = True
    self.timer.cancel()
    self.timer = self._limit(self._body_is_late)
    self._method, self._path, _ = start_line
    self._gzip = "gzip" in headers.get("Content-Encoding", "")
    length = headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > self._server.max_bytes:
      self._refuse(*self._too_long(length))
      if "Expect" in headers:  # The client waits, and sends nothing now.
        self._connection.finish()

  def data_received(self, chunk):
    self._length += len(chunk)
    if not self._refused:
      self._chunks.append(chunk)
      if self._length > self._server.max_bytes:
        self._refuse(*self._too_long("more"))

  def finish(self):
    self.timer.cancel()
    if self._refused:
      self._connection.finish()
    else:
      self._task = asyncio.ensure_future(self._answer())

  def on_connection_close(self):
    self._chunks = []

  async def _answer(self):
    body, self._chunks = b"".join(self._chunks), []
    refusal = None
    if self._gzip:
      body, refusal = await asyncio.to_thread(self._gunzip, body)
    answer = refusal or await self._server.answer(
        self._method, self._path, body)
    self.timer = self._limit()
    with contextlib.suppress(iostream.StreamClosedError):  # The client left.
      written = self._write(*answer)
      self._connection.finish()
      await written
    self.timer.cancel()
    if self._server.stopping:
      self._connection.close()

  def _gunzip(self, body):
    """Returns (the plain body, None) or (b"", what to answer)."""
    stream = zlib.decompressobj(wbits=31)
    try:
      plain = stream.decompress(body, self._server.max_bytes + 1)
      if len(plain) > self._server.max_bytes:
        return b"", self._too_long("more")
      if not stream.eof:
        raise zlib.error("it ends too early")
    except zlib.error as error:
      return b"", _error(400, f"Expected a body in gzip. Received: {error}.")
    return plain, None

  def _body_is_late(self):
    if self._refused:
      self._connection.close()
      return
    self._refuse(*_error(
        408, f"Expected the body within {self._server.seconds:g} s "
        f"(--read_seconds). Received: {self._length} bytes of it."))
    self._connection.finish()  # It closes once the answer is sent.
    self.timer = self._limit()

  def _refuse(self, *answer):
    """Answers at once; the rest of the body is read, else nobody sees it."""
    self._refused, self._chunks = True, []
    self._write(*answer)

  def _too_long(self, length):
    return _error(
        413, f"Expected {self._server.max_bytes} bytes at most "
        f"(--max_request_bytes). Received: {length}.")

  def _write(self, status, content_type, content):
    headers = {"Content-Type": content_type,
               "Content-Length": str(len(content))}
    if status == 503:
      headers["Retry-After"] = "1"
    if self._server.stopping:
      headers["Connection"] = "close"
    return self._connection.write_headers(
        httputil.ResponseStartLine(
            "HTTP/1.1", status, http.client.responses.get(status, "Error")),
        httputil.HTTPHeaders(headers),
        b"" if self._method == "HEAD" else content)


async def _refuse_connection(stream):
  _, _, content = _error(503, "Too many connections (--max_connections).")
  try:
    await stream.write(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
        b"Content-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
    # To close with unread bytes would reset the connection.
    await asyncio.wait_for(stream.read_until_close(), _GRACE_SECONDS)
  except (iostream.StreamClosedError, asyncio.TimeoutError):
    pass
  stream.close()


def _error(status, message):
  return status, "application/json", json.dumps({"error": message}).encode()
