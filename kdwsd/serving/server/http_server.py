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

# For a refused client to read why, and for a request that is on its way over an
# idle connection when the server stops.
_GRACE_SECONDS = 0.1

# Between looks at all deadlines: a timer for each would cost more.
_SWEEP_SECONDS = 0.1


class HttpServer(httpserver.HTTPServer):
  """Answers requests in a thread of its own.

  Attributes:
    port: it listens on.
    connections: {connection: `_Request` in progress}.
  """

  def initialize(self, host, port, answer, *, max_connections,
                 max_request_bytes, read_seconds, answer_seconds):
    """The constructor: binds the port, or raises `errors.InputError`.

    Args:
      host: name or address to bind to.
      port: 0 for any that is free.
      answer: generator function of (method, path, body, reply) that calls
        `reply(status, content type, bytes)` once and raises nothing. Where it
        yields a `concurrent.futures.Future`, it is resumed once that is done,
        or late.
      max_connections: at the same time; one more is answered 503.
      max_request_bytes: of a body, also decompressed; more is answered 413.
      read_seconds: for the headers, for the body (else 408), and for the client
        to take the answer; then the connection is closed.
      answer_seconds: until `answer` is resumed late.
    """
    super().initialize(None, max_body_size=2 ** 62)  # `_Request` answers 413.
    self.conn_params.header_timeout = None  # It costs a task for each request.
    self.answer, self.answer_seconds = answer, answer_seconds
    self.max_bytes, self.read_seconds = max_request_bytes, read_seconds
    self.connections, self._max_connections = {}, max_connections
    self.stopping = False
    self._socket = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET)
    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    self._socket.setblocking(False)
    try:
      self._socket.bind((host, port))
    except OSError as error:
      raise errors.InputError(
          "--host and --rest_api_port: expected an address of this machine "
          f"and a free port. Received: {host}:{port}, {error.strerror}."
      ) from error
    self.port = self._socket.getsockname()[1]
    self.loop = asyncio.new_event_loop()
    self._thread = threading.Thread(target=self.loop.run_forever, name="http")

  def listen(self):
    """Opens the port and answers."""
    self._socket.listen(128)
    self._thread.start()
    self.loop.call_soon_threadsafe(self.add_socket, self._socket)
    self.loop.call_soon_threadsafe(self._check_deadlines)

  def close(self, seconds):
    """Closes the port, and waits up to `seconds` for requests in progress."""
    if self._thread.is_alive():
      asyncio.run_coroutine_threadsafe(self._drain(seconds), self.loop).result()
      self.loop.call_soon_threadsafe(self.loop.stop)
      self._thread.join()
      self.loop.close()
    self._socket.close()

  async def _drain(self, seconds):
    deadline = time.monotonic() + seconds
    self.stopping = True
    self.stop()
    await asyncio.sleep(min(_GRACE_SECONDS, seconds))
    for connection, request in list(self.connections.items()):
      if not request.method:
        await connection.close()
    while self.connections and time.monotonic() < deadline:
      await asyncio.sleep(0.01)
    await self.close_all_connections()

  def _check_deadlines(self):
    now = time.monotonic()
    for request in list(self.connections.values()):
      if request.deadline < now:
        request.is_late()
    self.loop.call_later(_SWEEP_SECONDS, self._check_deadlines)

  def handle_stream(self, stream, address):
    """Takes a connection, or refuses it."""
    if len(self.connections) < self._max_connections:
      stream.set_nodelay(True)
      super().handle_stream(stream, address)
    else:
      asyncio.ensure_future(_refuse_connection(stream))

  def start_request(self, server_conn, request_conn):
    """Called before the headers of each request of a connection."""
    if self.stopping:
      request_conn.close()
    self.connections[server_conn] = _Request(self, request_conn)
    return self.connections[server_conn]

  def on_close(self, server_conn):
    """Forgets a connection."""
    del self.connections[server_conn]
    super().on_close(server_conn)


class _Request(httputil.HTTPMessageDelegate):
  """A request while it is received and answered; Tornado calls the methods.

  Attributes:
    method: None before all headers are here.
    deadline: of the next step, the client's or the answer's.
  """

  def __init__(self, server, connection):
    self._server, self._connection = server, connection
    self._chunks, self._length = [], 0
    self.method, self._steps, self._answered = None, None, False
    self._set_deadline(server.read_seconds)

  def _set_deadline(self, seconds):
    self.deadline = time.monotonic() + seconds

  def is_late(self):
    """Called after the deadline."""
    if self._answered or not self.method:
      self._connection.close()
    elif self._steps:
      self._resume()
    else:
      seconds = self._server.read_seconds
      self._refuse(408, f"Expected the body within {seconds:g} s "
                   f"(--read_seconds). Received: {self._length} bytes of it.")
      self._connection.finish()  # It closes once the answer is sent.

  def headers_received(self, start_line, headers):
    self._set_deadline(self._server.read_seconds)
    self.method, self._path, _ = start_line
    self._gzip = (zlib.decompressobj(wbits=31)
                  if "gzip" in headers.get("Content-Encoding", "") else None)
    length = headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > self._server.max_bytes:
      self._refuse_length(length)
      if "Expect" in headers:  # The client waits, and sends nothing now.
        self._connection.finish()

  def data_received(self, chunk):
    if self._answered:
      return
    try:
      if self._gzip:
        chunk = self._gzip.decompress(
            chunk, self._server.max_bytes - self._length + 1)
      self._chunks.append(chunk)
      self._length += len(chunk)
      if self._length > self._server.max_bytes:
        self._refuse_length("more")
    except zlib.error as error:
      self._refuse(400, f"Expected a body in gzip. Received: {error}.")

  def finish(self):
    if self._gzip and not (self._gzip.eof or self._answered):
      self._refuse(400, "Expected a body in gzip. Received: a part of it.")
    if self._answered:
      self._connection.finish()
      return
    body, self._chunks = b"".join(self._chunks), []
    self._set_deadline(self._server.answer_seconds)
    self._steps = self._server.answer(
        self.method, self._path, body, self._reply)
    # Not at once: requests that arrive together are then joined in a batch.
    self._server.loop.call_soon(self._resume)

  def _resume(self):
    if future := next(self._steps, None):
      future.add_done_callback(self._wake)

  def _wake(self, _):
    with contextlib.suppress(RuntimeError):  # The server has stopped.
      self._server.loop.call_soon_threadsafe(self._resume)

  def _reply(self, *answer):
    self._write(*answer)
    self._connection.finish()

  def _refuse(self, status, message):
    """Answers at once; the body is read to its end, else no client sees it."""
    self._chunks = []
    self._write(status, *_error(message))

  def _refuse_length(self, length):
    self._refuse(413, f"Expected {self._server.max_bytes} bytes at most "
                 f"(--max_request_bytes). Received: {length}.")

  def _write(self, status, content_type, content):
    self._answered = True
    self._set_deadline(self._server.read_seconds)
    headers = httputil.HTTPHeaders({
        "Content-Type": content_type, "Content-Length": str(len(content))})
    if status == 503:
      headers["Retry-After"] = "1"
    if self._server.stopping:
      headers["Connection"] = "close"
    self._connection.write_headers(
        httputil.ResponseStartLine(
            "HTTP/1.1", status, http.client.responses.get(status, "Error")),
        headers, b"" if self.method == "HEAD" else content)


async def _refuse_connection(stream):
  content_type, content = _error("Too many connections (--max_connections).")
  with contextlib.suppress(iostream.StreamClosedError, asyncio.TimeoutError):
    await stream.write((
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
        f"Content-Type: {content_type}\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n").encode() + content)
    # To close with unread bytes would reset the connection.
    await asyncio.wait_for(stream.read_until_close(), _GRACE_SECONDS)
  stream.close()


def _error(message):
  return "application/json", json.dumps({"error": message}).encode()
