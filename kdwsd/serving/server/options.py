"""The settings of a local server, and what they are unless told."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Options:
  """Settings of `local_server.LocalServer`.

  Attributes:
    model_name: that calls give.
    model_base_path: directory whose numeric subdirectories are versions.
    host: name or address to bind to.
    port: of gRPC; 0 for any that is free.
    rest_api_port: of REST; 0 for any that is free.
    version_labels: {label: version}.
    file_system_poll_wait_seconds: between looks for new versions.
    enable_batching: whether rows of several calls are run together.
    max_batch_size: rows run together at most.
    batch_timeout_micros: how long the first call of a batch waits.
    num_batch_threads: runs at the same time; 0 for one a CPU core.
    pad_variable_length_inputs: whether inputs of different lengths are filled
      up to be run together.
    max_request_bytes: of a request.
    max_request_rows: of a request.
    max_in_flight: calls answered at the same time.
    max_connections: of REST, at the same time.
    read_seconds: within which a REST request must have come.
    rest_api_timeout_in_ms: within which a call is answered or fails.
    drain_seconds: calls are given at shutdown.
  """

  model_name: str
  model_base_path: str
  host: str = "127.0.0.1"
  port: int = 8500
  rest_api_port: int = 8501
  version_labels: dict = dataclasses.field(default_factory=dict)
  file_system_poll_wait_seconds: float = 1.0
  enable_batching: bool = True
  max_batch_size: int = 16
  batch_timeout_micros: int = 0
  num_batch_threads: int = 0
  pad_variable_length_inputs: bool = False
  max_request_bytes: int = 32 * 2 ** 20
  max_request_rows: int = 128
  max_in_flight: int = 64
  max_connections: int = 256
  read_seconds: float = 30.0
  rest_api_timeout_in_ms: int = 30000
  drain_seconds: float = 30.0

  @property
  def batch_threads(self):
    """`num_batch_threads`, resolved."""
    return self.num_batch_threads or os.cpu_count() or 1
