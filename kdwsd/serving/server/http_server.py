"""HTTP/1.1 on Tornado, with limits that no client can get around.

Tornado rather than waitress or uvicorn: a request can be refused before its
body has come, and a connection closed at any time, which limits the time of all
headers and of a whole body, not the pause between two bytes. Its loop runs in
one thread, so a slow client costs a socket and no thread.
"""

import asyncio
import http.client
import json
import socket
import threading
import time
import zlib

from tornado import httpserver
from tornado import httputil

from kdwsd import errors
from kdwsd.serving.server import codes

# Between looks at all deadlines, where a timer for each would cost more. As
# long a refused client has to read why, and a request that is on its way over
# an idle connection when the server stops.
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
      answer: coroutine function of (method, path, body) that returns (content
        type, bytes) or raises an exception, see `codes.from_exception`.
      max_connections: at the same time; one more is answered 503.
      max_request_bytes: of a body, also decompressed; more is answered 413.
      read_seconds: for the headers, for the body (else 408), and for the client
        to take the answer; then the connection is closed.
      answer_seconds: until `answer` is cancelled.
    """
    super().initialize(None, max_body_size=2 ** 62)  # `_Request` answers 413.
    self.conn_params.header_timeout = None  # It costs a task for each request.
    self.answer, self.answer_seconds = answer, answer_seconds
    self.max_bytes, self.read_seconds = max_request_bytes, read_seconds
    self.connections, self._max_connections = {}, max_connections
    self._num_taken = 0  # More than `connections`: also those just accepted.
    self.stopping, self._end = False, None
    self._thread = threading.Thread(
        target=lambda: asyncio.run(self._serve()), name="http")
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

  def listen(self):
    """Opens the port and answers."""
    self._socket.listen(128)
    self._thread.start()

  def close(self, seconds):
    """Closes the port, and waits up to `seconds` for requests in progress."""
    self._end = time.monotonic() + seconds
    if self._thread.is_alive():
      self._thread.join()
    self._socket.close()

  async def _serve(self):
    self.add_socket(self._socket)
    while not self._end or (self.connections and time.monotonic() < self._end):
      await asyncio.sleep(_SWEEP_SECONDS)
      for request in self.connections.values():
        asyncio.get_running_loop().call_soon(request.check_deadline)
      if self._end:
        self.stopping = True
        self.stop()
    await self.close_all_connections()

  def handle_stream(self, stream, address):
    """Takes a connection, or refuses it."""
    stream.set_nodelay(True)
    if self._num_taken < self._max_connections:
      self._num_taken += 1
      super().handle_stream(stream, address)
      return
    content = _document(codes.ServingError(
        codes.Code.UNAVAILABLE, "Too many connections (--max_connections)."))
    stream.write((
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
        "Content-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n").encode() + content)
    stream.read_until_close()  # To close with unread bytes would reset it.
    asyncio.get_running_loop().call_later(_SWEEP_SECONDS, stream.close)

  def start_request(self, server_conn, request_conn):
    """Called before the headers of each request of a connection."""
    self.connections[server_conn] = _Request(self, request_conn)
    return self.connections[server_conn]

  def on_close(self, server_conn):
    """Forgets a connection."""
    del self.connections[server_conn]
    self._num_taken -= 1
    super().on_close(server_conn)


class _Request(httputil.HTTPMessageDelegate):
  """A request while it is received and answered; Tornado calls the methods."""

  def __init__(self, server, connection):
    self._server, self._connection = server, connection
    self._chunks, self._length = [], 0
    self._method, self._task, self._answered = None, None, False
    self._set_deadline(server.read_seconds)

  def _set_deadline(self, seconds):
    self._deadline = time.monotonic() + seconds

  def check_deadline(self):
    """Ends what takes too long; once the server stops, also what is idle."""
    is_idle = self._method is None
    if time.monotonic() < self._deadline and not (
        is_idle and self._server.stopping):
      return
    if is_idle or self._answered:
      self._connection.close()
    elif self._task:
      self._task.cancel()
    else:
      seconds = self._server.read_seconds
      self._refuse(codes.ServingError(
          codes.Code.DEADLINE_EXCEEDED, f"Expected the body within {seconds:g} "
          f"s (--read_seconds). Received: {self._length} bytes of it.", 408))
      self._connection.finish()  # It closes once the answer is sent.

  def headers_received(self, start_line, headers):
    self._set_deadline(self._server.read_seconds)
    self._method, self._path, _ = start_line
    self._is_gzip = "gzip" in headers.get("Content-Encoding", "")
    length = headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > self._server.max_bytes:
      self._refuse(self._too_long(length))
      if "Expect" in headers:  # The client waits, and sends nothing now.
        self._connection.finish()

  def data_received(self, chunk):
    self._length += len(chunk)
    if not self._answered:
      self._chunks.append(chunk)
      if self._length > self._server.max_bytes:
        self._refuse(self._too_long("more"))

  def finish(self):
    if self._answered:
      self._connection.finish()
    else:
      self._set_deadline(self._server.answer_seconds)
      body, self._chunks = b"".join(self._chunks), []
      self._task = asyncio.ensure_future(self._answer(body))

  async def _answer(self, body):
    try:
      if self._is_gzip:
        body = self._decompress(body)
      self._write(
          200, *await self._server.answer(self._method, self._path, body))
    except Exception as error:  # pylint: disable=broad-exception-caught
      self._refuse(codes.from_exception(error))
    self._connection.finish()

  def _decompress(self, body):
    decompressor = zlib.decompressobj(wbits=31)
    try:
      body = decompressor.decompress(body, self._server.max_bytes + 1)
      if len(body) > self._server.max_bytes:
        raise self._too_long("more")
      if not decompressor.eof:
        raise zlib.error("a part of it")
      return body
    except zlib.error as error:
      raise codes.invalid(
          f"Expected a body in gzip. Received: {error}.") from error

  def _too_long(self, length):
    return codes.ServingError(
        codes.Code.RESOURCE_EXHAUSTED, f"Expected {self._server.max_bytes} "
        f"bytes at most (--max_request_bytes). Received: {length}.", 413)

  def _refuse(self, error):
    """Answers at once; the body is read to its end, else no client sees it."""
    self._write(error.http_status, "application/json", _document(error))

  def _write(self, status, content_type, content):
    self._answered, self._chunks = True, []
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
        headers, b"" if self._method == "HEAD" else content)


def _document(error):
  return json.dumps({"error": error.message}).encode()
