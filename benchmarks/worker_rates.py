"""Times what workers do together: python -m benchmarks.worker_rates.

    python -m benchmarks.worker_rates --numbers=1,2,4,8 --parameters=16000000

For each number of workers it starts as many processes on this machine and
prints a row, in seconds of the first worker:

    meeting     until all have met, once the last one listens
    joining     TensorFlow's strategy
    agreement   on settings and records, before the first step of a stage
    question    whether one of them was interrupted, after each step
    checkpoint  of variables and as many slots of the optimizer, float32

On one machine they share cores and disk, unlike on several.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import drawn_records
from kdwsd import command_line
from kdwsd import errors

_CLASSES = tuple(f"class {number}" for number in range(20))
_PER_VARIABLE = 4_000_000

COLUMNS = ("meeting", "joining", "agreement", "question", "checkpoint")

FLAGS = flags.FLAGS


def _define_flags():
  """Not when imported: those of `python -m benchmarks` have such names."""
  flags.DEFINE_list("numbers", ["1", "2", "4", "8"], "Numbers of workers.")
  flags.DEFINE_integer("parameters", 16_000_000, "Variables of the model.",
                       lower_bound=1)
  flags.DEFINE_integer("repeats", 5, "Of agreement, question and checkpoint; "
                       "the median is printed.", lower_bound=1)
  flags.DEFINE_string("data", None, "Set by this program for its workers: "
                      "folder of records.")


def main(_):
  """Starts the workers, or is one of them."""
  if FLAGS.data:
    print(json.dumps(measure(FLAGS.data, FLAGS.parameters, FLAGS.repeats)))
    return
  print(f"| workers | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
  for number in map(int, FLAGS.numbers):
    seconds = run(number, FLAGS.parameters, FLAGS.repeats)
    print(f"| {number} | {' | '.join(f'{seconds[c]:.3g}' for c in COLUMNS)} |",
          flush=True)


def run(number, parameters, repeats):
  """Measures workers in processes of their own.

  Args:
    number: of workers.
    parameters: see `measure`.
    repeats: see `measure`.

  Returns:
    {column: seconds of the first worker}.

  Raises:
    errors.InputError: a worker failed.
  """
  sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
  addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
  for one in sockets:
    one.close()
  with tempfile.TemporaryDirectory() as data:
    drawn_records.write(data, "trainval", 8, 10)
    processes = [subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker_rates", f"--data={data}",
         f"--parameters={parameters}", f"--repeats={repeats}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
            **os.environ, "TF_CONFIG": json.dumps({
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index}})})
                 for index in range(number)]
    # One after the other: none fills its pipe, they write a few lines each.
    answers = [process.communicate() for process in processes]
  for process, (_, said) in zip(processes, answers):
    if process.returncode:
      raise errors.InputError(
          f"{number} workers: expected all to end well. Received: status "
          f"{process.returncode}; {said[-500:]}")
  return json.loads(answers[0][0])


def measure(data, parameters, repeats):
  """Measures this worker's share.

  Args:
    data: folder with a split `trainval`.
    parameters: number of float32 values in the variables of the model.
    repeats: how often to measure what can be repeated.

  Returns:
    {column: seconds}, medians where repeated.
  """
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd.data import record_files
  from kdwsd.training import checkpoints
  from kdwsd.training import cluster as cluster_lib
  from kdwsd.training import config as config_lib
  from kdwsd.training import strategies
  from kdwsd.training import workers
  # pylint: enable=import-outside-toplevel
  cluster = cluster_lib.read_cluster()
  seconds = {}
  if not cluster.index:  # Its figures are printed, so it comes last.
    for address in cluster.addresses[1:]:
      while not _listens(address):
        time.sleep(0.05)
  start = time.monotonic()
  cluster_lib.wait_for_others(cluster)
  seconds["meeting"] = time.monotonic() - start
  start = time.monotonic()
  with cluster_lib.standstill_tolerated():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  seconds["joining"] = time.monotonic() - start

  train_set = record_files.open_split(data, "trainval")
  config = config_lib.Config(classes=_CLASSES, data=data)
  with strategy.scope():
    model = tf.Module()
    model.values = [
        tf.Variable(tf.zeros([min(_PER_VARIABLE, 2 * parameters - first)]))
        for first in range(0, 2 * parameters, _PER_VARIABLE)]
  with tempfile.TemporaryDirectory() as directory:
    manager = checkpoints.make_manager(
        tf.train.Checkpoint(model=model), directory, keep=1,
        chief=strategies.is_chief(strategy))
    for name, action in (
        ("agreement", lambda: workers.begin(strategy, config, train_set)),
        ("question", lambda: workers.interrupted(strategy)),
        ("checkpoint", manager.save)):
      taken = []
      action()  # The first one traces.
      for _ in range(repeats):
        workers.gather(strategy, [0])  # All begin together.
        start = time.monotonic()
        action()
        taken.append(time.monotonic() - start)
      seconds[name] = statistics.median(taken)
  workers.end(strategy)
  return seconds


def _listens(address):
  host, _, port = address.rpartition(":")
  try:
    socket.create_connection((host, int(port))).close()
  except OSError:
    return False
  return True


if __name__ == "__main__":
  _define_flags()
  command_line.run(main)
