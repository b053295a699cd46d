"""An HTTP/1.1 server that no client can hold up.

One thread a connection, of which there are so many and no more. A request must
come within a time, all of it together, so that a client who sends a byte now
and then goes after that time; bodies have a longest length. `stop` lets
requests that have begun end.
"""

import contextlib
import http.server
import io
import json
import socket
import socketserver
import threading
import time

from absl import logging

from kdwsd import errors

# Seconds a connection may be kept without a request, and that a client gets
# to take note of an answer sent before its body was read.
_IDLE_SECONDS = 75.0
_LINGER_SECONDS = 2.0


class HttpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
  """Calls a function for each request."""

  daemon_threads = True
  allow_reuse_address = True
  request_queue_size = 128

  def __init__(self, host, port, answer, *, max_connections,
               max_request_bytes, read_seconds):
    """Takes the port; `start` opens it.

    Args:
      host: name or address to bind to.
      port: or 0 for any that is free.
      answer: function of (method, path, body) that returns (status, content
        type, bytes).
      max_connections: at the same time; one more is told 503.
      max_request_bytes: of a body; a longer one is told 413.
      read_seconds: within which a request must have come, from its first
        byte; an answer must be taken within as long.

    Raises:
      errors.InputError: the port is taken, or the host is another machine's.
    """
    self.answer = answer
    self.max_request_bytes = max_request_bytes
    self.read_seconds = read_seconds
    self.stopping = threading.Event()
    self._free = threading.Semaphore(max_connections)
    self._changed = threading.Condition()
    self._connections = {}  # {socket: whether a request is being answered}
    self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
    try:
      self.address_family = socket.getaddrinfo(
          host, port, type=socket.SOCK_STREAM)[0][0]
      super().__init__((host, port), _Handler, bind_and_activate=False)
      self.server_bind()
    except OSError as error:
      raise errors.InputError(
          "--host and --rest_api_port: expected an address of this machine "
          f"and a free port. Received: {host}:{port}, {error.strerror}."
      ) from error

  @property
  def port(self):
    """Number of the port."""
    return self.server_address[1]

  def start(self):
    """Listens, and answers in threads of its own."""
    self.server_activate()
    self._thread.start()

  def stop(self, seconds):
    """Takes no more connections; waits for requests that have begun.

    Args:
      seconds: to wait at most.
    """
    self.stopping.set()
    if self._thread.is_alive():
      self.shutdown()
      self._thread.join()
    self.server_close()
    deadline = time.monotonic() + seconds
    with self._changed:
      # What has been received of a request is still read and answered.
      for connection, busy in self._connections.items():
        if not busy:
          with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
      self._changed.wait_for(
          lambda: not self._connections, deadline - time.monotonic())

  def set_busy(self, connection, busy):
    """Notes whether a connection has a request that has begun."""
    with self._changed:
      self._connections[connection] = busy
      if not busy and self.stopping.is_set():
        with contextlib.suppress(OSError):
          connection.shutdown(socket.SHUT_RD)

  def process_request(self, request, client_address):
    """Gives the connection a thread, or refuses it."""
    if not self._free.acquire(blocking=False):
      return self._refuse(request)
    with self._changed:
      self._connections[request] = False
    try:
      return super().process_request(request, client_address)
    except RuntimeError:  # The system has no more threads.
      self._forget(request)
      return self._refuse(request)

  def process_request_thread(self, request, client_address):
    """Serves a connection to its end."""
    try:
      super().process_request_thread(request, client_address)
    finally:
      self._forget(request)

  def handle_error(self, request, client_address):
    """Notes what went wrong with a connection; a client that left is none."""
    logging.debug("Connection of %s ended.", client_address, exc_info=True)

  def server_close(self):
    """Closes the port; threads are waited for by `stop`."""
    self.socket.close()

  def _forget(self, request):
    with self._changed:
      self._connections.pop(request, None)
      self._changed.notify_all()
    self._free.release()

  def _refuse(self, request):
    with contextlib.suppress(OSError):
      request.settimeout(0.1)
      request.sendall(_response(
          503, "application/json",
          b'{"error": "Too many connections (--max_connections)."}', True))
    self.shutdown_request(request)


class _Handler(http.server.BaseHTTPRequestHandler):
  """One connection, request after request."""

  protocol_version = "HTTP/1.1"

  def setup(self):
    self.connection = self.request
    self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self._reader = _DeadlineReader(self.connection)
    self.rfile = io.BufferedReader(self._reader, 65536)
    self._unread = False  # Whether bytes of this request may still come.

  def finish(self):
    if self._unread:
      self._linger()

  def handle_one_request(self):
    self.close_connection = True
    self._reader.deadline = time.monotonic() + _IDLE_SECONDS
    if not self.rfile.peek(1):
      return
    self.server.set_busy(self.connection, True)
    # A refusal may come before they are read.
    self.requestline, self.request_version, self.command = "", "", ""
    self._reader.deadline = time.monotonic() + self.server.read_seconds
    try:
      self._handle()
    except socket.timeout:
      self._unread = True
      self.send_error(
          408, f"Expected the whole request within {self.server.read_seconds} "
          "seconds.")
    self.server.set_busy(self.connection, False)

  def handle_expect_100(self):
    return True  # Sent when the length is known to be fine.

  def send_error(self, code, message=None, explain=None):
    """Tells an error as the API does, and ends the connection."""
    del explain  # Unused.
    self.close_connection = True
    self._reply(code, "application/json", json.dumps(
        {"error": message or self.responses[code][0]}).encode("utf-8"))

  def log_message(self, format, *args):  # pylint: disable=redefined-builtin
    logging.debug("%s " + format, self.client_address[0], *args)

  def _handle(self):
    self.raw_requestline = self.rfile.readline(65537)
    if len(self.raw_requestline) > 65536:
      self._unread = True
      self.send_error(414)
      return
    self._unread = True  # Until the body has been read.
    if not self.parse_request():
      return
    length = self._body_length()
    if length is None:
      return
    if length and self.headers.get("Expect", "").lower() == "100-continue":
      self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = self.rfile.read(length)
    if len(body) < length:
      self.close_connection = True  # The client left.
      return
    self._unread = False
    self._reply(*self.server.answer(self.command, self.path, body))

  def _body_length(self):
    """Length of the body, or None when the request has been refused."""
    lengths = {text.strip() for text in
               self.headers.get_all("Content-Length", [])}
    if self.headers.get("Transfer-Encoding"):
      self.send_error(
          411, "Expected a Content-Length. Received: a Transfer-Encoding, "
          "which only TF Serving takes.")
    elif self.headers.get("Content-Encoding", "identity") != "identity":
      self.send_error(
          415, "Expected a body that is not compressed. Received: "
          f"Content-Encoding {self.headers['Content-Encoding']}.")
    elif not lengths and self.command in ("POST", "PUT", "PATCH"):
      self.send_error(411, "Expected a Content-Length. Received: none.")
    elif len(lengths) > 1 or not all(
        text.isascii() and text.isdigit() and len(text) < 19
        for text in lengths):
      self.send_error(
          400, "Expected one Content-Length, a number. Received: "
          f"{', '.join(sorted(lengths))[:100]}.")
    elif int(max(lengths, default=0)) > self.server.max_request_bytes:
      self.send_error(
          413, f"Expected {self.server.max_request_bytes} bytes at most "
          f"(--max_request_bytes). Received: {lengths.pop()}.")
    else:
      return int(max(lengths, default=0))
    return None

  def _reply(self, status, content_type, content):
    if self.server.stopping.is_set():
      self.close_connection = True
    self.log_request(status, len(content))
    self._send(_response(status, content_type, content, self.close_connection,
                         head=self.command == "HEAD"))

  def _send(self, content):
    # The time is that of all of it, however slowly the client takes it.
    self.connection.settimeout(self.server.read_seconds)
    try:
      self.connection.sendall(content)
    except socket.timeout as error:
      self._unread = False
      raise ConnectionError("the answer was not taken") from error

  def _linger(self):
    """Reads on for a while: else the client may never see the answer.

    To close a connection with unread bytes resets it, and the answer may be
    lost on the way.
    """
    with contextlib.suppress(OSError):
      self.connection.shutdown(socket.SHUT_WR)
      self._reader.deadline = time.monotonic() + _LINGER_SECONDS
      while self.rfile.read1(65536):
        pass


class _DeadlineReader(io.RawIOBase):
  """Reads a socket until a time, whatever comes how slowly."""

  def __init__(self, connection):
    super().__init__()
    self._connection = connection
    self.deadline = 0.0

  def readable(self):
    return True

  def readinto(self, buffer):
    left = self.deadline - time.monotonic()
    if left <= 0:
      raise socket.timeout
    self._connection.settimeout(left)
    return self._connection.recv_into(buffer)


def _response(status, content_type, content, close, head=False):
  """The bytes of an answer."""
  reason = http.server.BaseHTTPRequestHandler.responses.get(
      status, ("Error",))[0]
  lines = [
      f"HTTP/1.1 {status} {reason}", f"Content-Type: {content_type}",
      f"Content-Length: {len(content)}"]
  if status == 503:
    lines.append("Retry-After: 1")
  if close:
    lines.append("Connection: close")
  return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (
      b"" if head else content)
