"""The settings of a local server and their defaults."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
  """Settings of `local_server.LocalServer`: the flags of `kdwsd.serve`.

  Attributes:
    version_labels: {label: version}.
    port, rest_api_port: 0 for any that is free.
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
  max_request_bytes: int = 32 * 2 ** 20
  max_request_rows: int = 128
  max_in_flight: int = 64
  max_connections: int = 256
  read_seconds: float = 30.0
  rest_api_timeout_in_ms: int = 30000
  drain_seconds: float = 20.0
