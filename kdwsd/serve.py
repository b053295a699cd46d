"""Serves an export on this machine: `python -m kdwsd.serve`.

    python -m kdwsd.serve --model_name=student --model_base_path=models/student

For development and tests: it implements TF Serving's REST and gRPC APIs with
TF Serving's status codes, so that a client can be written and tested without
TF Serving. docs/serving.md lists the differences.

In production use TF Serving itself (export/README.md), which has TLS and serves
several models. Its throughput is similar: on two CPU cores 0.9 to 1.2 times
that of this server.

The server loads the newest version in --model_base_path and switches to newer
ones as they appear. On Ctrl-C or SIGTERM it completes the requests in progress
and exits; after --drain_seconds it drops those that are not complete.
"""

import contextlib
import gc
import os
import queue
import re
import signal
import threading
import time

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import devices
from kdwsd.serving.server import options as options_lib

_DEFAULTS = options_lib.Options("", "")

# For the end of all threads once requests are drained.
_CLEANING_SECONDS = 3.0

flags.DEFINE_string(
    "model_name", "student", "Name of the model in requests.")
flags.DEFINE_string(
    "model_base_path", None, "Directory of an export; its subdirectories of "
    "numeric names are the versions.")
flags.DEFINE_string(
    "host", _DEFAULTS.host, "Host name or address to listen on. The default "
    "accepts connections from this machine only; there is no TLS and no "
    "password, so open it to trusted networks only.")
flags.DEFINE_integer(
    "port", _DEFAULTS.port, "Port of gRPC; 0 for any free one.", lower_bound=0,
    upper_bound=65535)
flags.DEFINE_integer(
    "rest_api_port", _DEFAULTS.rest_api_port, "Port of REST; 0 for any free "
    "one.", lower_bound=0, upper_bound=65535)
flags.DEFINE_list(
    "version_labels", [], "Labels of versions, such as stable:1,canary:2, "
    "which clients can request instead of numbers. These versions stay loaded.")
flags.DEFINE_float(
    "file_system_poll_wait_seconds", _DEFAULTS.file_system_poll_wait_seconds,
    "Seconds between checks for new versions.", lower_bound=0.01)
flags.DEFINE_bool(
    "enable_batching", _DEFAULTS.enable_batching, "Run concurrent requests "
    "together, as one batch: more images per second, at a higher latency.")
flags.DEFINE_integer(
    "max_batch_size", _DEFAULTS.max_batch_size, "Maximum number of rows "
    "(images) in a batch. A larger request runs alone.", lower_bound=1)
flags.DEFINE_integer(
    "batch_timeout_micros", _DEFAULTS.batch_timeout_micros, "Microseconds that "
    "a request waits for others to share its batch. 0: only requests that are "
    "queued anyway are batched.", lower_bound=0)
flags.DEFINE_integer(
    "num_batch_threads", _DEFAULTS.num_batch_threads, "Number of batches run "
    "concurrently; 0 for one per CPU core.", lower_bound=0)
flags.DEFINE_integer(
    "max_request_bytes", _DEFAULTS.max_request_bytes, "Maximum size of a "
    "request in bytes; larger ones are refused.", lower_bound=1)
flags.DEFINE_integer(
    "max_request_rows", _DEFAULTS.max_request_rows, "Maximum number of rows "
    "(images) in a request; larger ones are refused.", lower_bound=1)
flags.DEFINE_integer(
    "max_in_flight", _DEFAULTS.max_in_flight, "Maximum number of requests in "
    "progress; further ones are refused as the server is busy.", lower_bound=1)
flags.DEFINE_integer(
    "max_connections", _DEFAULTS.max_connections, "Maximum number of open REST "
    "connections.", lower_bound=1)
flags.DEFINE_float(
    "read_seconds", _DEFAULTS.read_seconds, "Timeout in seconds for the "
    "headers of a REST request, for its body, and for the client to read the "
    "response; also of idle connections.", lower_bound=0.1)
flags.DEFINE_integer(
    "rest_api_timeout_in_ms", _DEFAULTS.rest_api_timeout_in_ms,
    "Timeout of a request in milliseconds. A gRPC client's own deadline "
    "applies where it is earlier.", lower_bound=1)
flags.DEFINE_float(
    "drain_seconds", _DEFAULTS.drain_seconds, "Maximum number of seconds that "
    "requests in progress have at shutdown. Kubernetes and preemptible "
    "machines give 30 to all of it.", lower_bound=0)
devices.define_flag()
flags.mark_flag_as_required("model_base_path")
flags.register_validator(
    "model_name", lambda name: bool(re.fullmatch("[^/:]+", name)),
    message="expected a name without / and :")
flags.register_validator(
    "version_labels",
    lambda values: all(re.fullmatch("[^/:]+:[0-9]{1,18}", v) for v in values),
    message="expected label:version, separated by commas")

FLAGS = flags.FLAGS


def main(_):
  """Serves until a signal arrives."""
  # No Event: a signal that sets one just as its wait begins hangs.
  told = queue.SimpleQueue()
  for number in (signal.SIGTERM, signal.SIGINT):
    # A second signal stops the process at once.
    signal.signal(number, lambda got, _: (
        told.put(got), signal.signal(got, signal.SIG_DFL)))
  devices.use(FLAGS.device)
  # pylint: disable-next=import-outside-toplevel
  from kdwsd.serving.server import local_server

  # Modules imported by now are never garbage: without them a collection, which
  # blocks requests, takes milliseconds.
  gc.collect()
  gc.freeze()
  values = {name: FLAGS[name].value for name in vars(_DEFAULTS)}
  values["version_labels"] = {
      label: int(version) for label, version in (
          text.split(":") for text in FLAGS.version_labels)}
  with local_server.LocalServer(options_lib.Options(**values)) as server:
    versions = ", ".join(map(str, server.model.available()))
    host = f"[{FLAGS.host}]" if ":" in FLAGS.host else FLAGS.host
    print(f"Serving {FLAGS.model_name}, version {versions}: "
          f"REST http://{host}:{server.rest_port}/v1/models/"
          f"{FLAGS.model_name}, gRPC {host}:{server.grpc_port}", flush=True)
    logging.info("For development and tests; in production use TF Serving.")
    # With a timeout signals are noticed on every system.
    while told.empty():
      with contextlib.suppress(queue.Empty):
        told.get(timeout=0.5)
        break
    logging.info("Stopping after the requests in progress.")
    threading.Thread(target=_end, args=(
        FLAGS.drain_seconds + _CLEANING_SECONDS,), daemon=True).start()
  logging.info("Stopped.")


def _end(seconds):
  """Exits after a time: what TensorFlow computes cannot be stopped."""
  time.sleep(seconds)
  logging.info("Stopped; a request was not complete after %g s and is dropped.",
               FLAGS.drain_seconds)
  logging.flush()
  os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
  command_line.run(main)
