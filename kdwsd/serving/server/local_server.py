"""The whole server: a model, its calls, REST and gRPC."""

from concurrent import futures

from kdwsd.serving.server import batching
from kdwsd.serving.server import grpc_service
from kdwsd.serving.server import http_server
from kdwsd.serving.server import metrics as metrics_lib
from kdwsd.serving.server import models
from kdwsd.serving.server import rest

# Beyond calls in progress: they refuse calls, and report the status meanwhile.
_SPARE_THREADS = 8


class LocalServer:
  """Serves one model; a context manager, or `start` and `stop`.

      with LocalServer(Options("student", "models/student")) as server:
        ask(server.rest_port, server.grpc_port)

  Attributes:
    model: `models.Model`.
    rest_port, grpc_port: numbers.
  """

  def __init__(self, options):
    """Binds the ports, or raises `errors.InputError`; answers nothing yet."""
    metrics = metrics_lib.Metrics(options.model_name, options.max_in_flight)
    threads = options.max_in_flight + _SPARE_THREADS
    timeout = options.rest_api_timeout_in_ms / 1e3
    host = f"[{options.host}]" if ":" in options.host else options.host
    self._drain_seconds = options.drain_seconds
    self._pool = futures.ThreadPoolExecutor(threads, "calls")
    self.model = models.Model(
        options.model_name, options.model_base_path,
        labels=options.version_labels,
        poll_seconds=options.file_system_poll_wait_seconds)
    metrics.versions_available.set_function(
        lambda: len(self.model.available()))
    self._batcher = batching.Batcher(
        max_batch_size=options.max_batch_size if options.enable_batching else 0,
        max_request_rows=options.max_request_rows,
        batch_timeout_micros=options.batch_timeout_micros,
        num_threads=options.num_batch_threads, metrics=metrics)
    try:
      self._grpc, self.grpc_port = grpc_service.make_server(
          self.model, self._batcher, metrics, f"{host}:{options.port}",
          pool=self._pool, max_rpcs=4 * threads, timeout_seconds=timeout,
          max_request_bytes=options.max_request_bytes)
      self._http = http_server.HttpServer(
          options.host, options.rest_api_port,
          rest.Rest(self.model, self._batcher, metrics).answer,
          max_connections=options.max_connections,
          max_request_bytes=options.max_request_bytes,
          read_seconds=options.read_seconds, answer_seconds=timeout)
    except Exception:
      self._batcher.stop()
      raise
    self.rest_port = self._http.port

  def start(self):
    """Loads the model, or raises `errors.InputError`; then answers."""
    self.model.start()
    self._grpc.start()
    self._http.listen()

  def stop(self):
    """Takes no new calls, answers those in progress, and frees everything."""
    grpc_stopped = self._grpc.stop(self._drain_seconds)
    self._http.close(self._drain_seconds)
    grpc_stopped.wait()
    self.model.stop()
    self._batcher.stop()
    self._pool.shutdown()

  def __enter__(self):
    try:
      self.start()
    except Exception:
      self.stop()
      raise
    return self

  def __exit__(self, *exception):
    self.stop()
