"""Serves an export on this machine: `python -m kdwsd.serve`.

    python -m kdwsd.serve --model_name=student --model_base_path=models/student

For laptops and tests: it answers TF Serving's REST and gRPC APIs with TF
Serving's codes, so that a client can be written and tried where TF Serving is
not at hand. docs/serving.md lists where it differs.

In production use TF Serving itself (export/README.md): it has TLS and serves
many models. It is not faster by itself: on two CPU cores it answered 0.9 to 1.2
times as many images a second as this server.

It serves the newest version in --model_base_path and swaps to a newer one by
itself. Ctrl-C or SIGTERM: requests that have begun are answered, then it ends.
"""

import gc
import re
import signal
import threading

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd.serving.server import options as options_lib

_DEFAULTS = options_lib.Options("", "")

flags.DEFINE_string("model_name", "student", "Name that clients ask for.")
flags.DEFINE_string("model_base_path", None, "Directory of an export; its "
                    "subdirectories of numeric names are the versions.")
flags.DEFINE_string("host", _DEFAULTS.host, "Name or address to bind to. The "
                    "default answers this machine only; there is no TLS and "
                    "no password.")
flags.DEFINE_integer("port", _DEFAULTS.port, "Port of gRPC; 0 takes any that "
                     "is free.", lower_bound=0, upper_bound=65535)
flags.DEFINE_integer("rest_api_port", _DEFAULTS.rest_api_port, "Port of REST; "
                     "0 takes any that is free.",
                     lower_bound=0, upper_bound=65535)
flags.DEFINE_list("version_labels", [], "Labels and the versions they name, "
                  "stable:1,canary:2. These versions stay loaded.")
flags.DEFINE_float("file_system_poll_wait_seconds",
                   _DEFAULTS.file_system_poll_wait_seconds,
                   "Seconds between looks for new versions.", lower_bound=0.01)
flags.DEFINE_bool("enable_batching", _DEFAULTS.enable_batching, "Run the rows "
                  "of several requests together.")
flags.DEFINE_integer("max_batch_size", _DEFAULTS.max_batch_size, "Rows run "
                     "together at most. A request of more runs alone.",
                     lower_bound=1)
flags.DEFINE_integer("batch_timeout_micros", _DEFAULTS.batch_timeout_micros,
                     "Microseconds a request waits for others. 0: only those "
                     "that wait anyway are run together.", lower_bound=0)
flags.DEFINE_integer("num_batch_threads", _DEFAULTS.num_batch_threads,
                     "Batches run at the same time. 0: one a CPU core.",
                     lower_bound=0)
flags.DEFINE_bool("pad_variable_length_inputs",
                  _DEFAULTS.pad_variable_length_inputs, "Run requests to a "
                  "teacher together whose images differ in their number of "
                  "proposals; answers may then have scores of more proposals "
                  "than were sent (docs/serving.md).")
flags.DEFINE_integer("max_request_bytes", _DEFAULTS.max_request_bytes,
                     "Bytes of a request; a longer one is refused.",
                     lower_bound=1)
flags.DEFINE_integer("max_request_rows", _DEFAULTS.max_request_rows,
                     "Rows, or images, of a request; one of more is refused.",
                     lower_bound=1)
flags.DEFINE_integer("max_in_flight", _DEFAULTS.max_in_flight, "Requests "
                     "answered at the same time; one more is told that the "
                     "server is busy.", lower_bound=1)
flags.DEFINE_integer("max_connections", _DEFAULTS.max_connections,
                     "Connections of REST at the same time.", lower_bound=1)
flags.DEFINE_float("read_seconds", _DEFAULTS.read_seconds, "Seconds for the "
                   "headers of a REST request, for its body, and for the "
                   "client to take the answer. A connection that is idle for "
                   "as long is closed.", lower_bound=0.1)
flags.DEFINE_integer("rest_api_timeout_in_ms",
                     _DEFAULTS.rest_api_timeout_in_ms, "Milliseconds within "
                     "which a request is answered or fails; a gRPC client's "
                     "own deadline counts where it is earlier.", lower_bound=1)
flags.DEFINE_float("drain_seconds", _DEFAULTS.drain_seconds, "Seconds that "
                   "requests are given at shutdown.", lower_bound=0)
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
  """Serves until it is told to stop."""
  told = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    # Told twice, it stops at once.
    signal.signal(number, lambda got, _: (
        told.set(), signal.signal(got, signal.SIG_DFL)))
  # pylint: disable=import-outside-toplevel
  from kdwsd.serving.server import local_server

  # TensorFlow tells of fingerprints that an export does not have.
  logging.get_absl_logger().addFilter(lambda record: not (
      record.levelname == "INFO" and "saved_model" in record.pathname))
  # What is imported by now is never garbage: the sweep after a version has
  # gone then takes milliseconds, during which nothing is answered.
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
    logging.info("For laptops and tests; in production use TF Serving.")
    # With a timeout signals are noticed on every system.
    while not told.wait(0.5):
      pass
    logging.info("Stopping; requests that have begun are answered first.")
  logging.info("Stopped.")


if __name__ == "__main__":
  command_line.run(main)
