"""Runs of kdwsd.train as processes of their own."""

import time

import numpy as np
import tensorflow as tf

from kdwsd.training import run_folder
from tests import programs
from tests.data import fake_records


def write_records(tmp_path_factory):
  """Writes ten records to train on and four to test on; returns where."""
  directory = str(tmp_path_factory.mktemp("records"))
  fake_records.write(directory, "trainval", 10)
  fake_records.write(directory, "test", 4, seed=1)
  return directory


def start(flags, environment=None, wait_at=None):
  """Starts a run.

  Args:
    flags: dict of all its flags.
    environment: dict of variables beside those of this process.
    wait_at: step at which it waits to be killed or told to stop, if any.

  Returns:
    `programs.Program`.
  """
  program = ["kdwsd.train"]
  if wait_at is not None:
    program = ["tests.waiting_run", wait_at]
  return programs.Program(
      *program, *(f"--{name}={value}" for name, value in flags.items()),
      environment=environment)


def wait_for_step(processes, workdir, step, seconds):
  """Waits until a run's history has a step; all its processes must live."""
  folder = run_folder.RunFolder(workdir)
  deadline = time.monotonic() + seconds
  while not any(entry["step"] >= step for entry in folder.read_history()):
    assert time.monotonic() < deadline
    for process in processes:
      assert process.poll() is None, process.communicate()
    time.sleep(0.02)


def weights(workdir):
  """What training changes, by name, of a run's last checkpoint."""
  path = tf.train.latest_checkpoint(run_folder.RunFolder(workdir).checkpoints)
  reader = tf.train.load_checkpoint(path)
  # The rest is bookkeeping: where the file was saved, and how often.
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name.startswith(("model/", "optimizer/"))}


def pairs_of_weights(expected, received):
  """[(name, expected value, received value)] of two runs' weights."""
  expected, received = weights(expected), weights(received)
  assert expected.keys() == received.keys()
  assert len(expected) > 20
  return [(name, value, received[name]) for name, value in expected.items()]


def assert_equal_weights(expected, received):
  """Two runs ended with the same weights, bit for bit."""
  for name, value, other in pairs_of_weights(expected, received):
    np.testing.assert_array_equal(
        other, value, err_msg=f"{received}: {name}")


def assert_close_weights(expected, received, *, relative, absolute=0.0):
  """Each array of two runs differs by little, for its norm and as such."""
  for name, value, other in pairs_of_weights(expected, received):
    # As a whole: some gradients are sums of large numbers that cancel out; that
    # of a bias under a softmax is zero but for rounding.
    distance = np.linalg.norm(np.float64(other) - value)
    assert distance <= relative * np.linalg.norm(value) + absolute, (
        f"{received}: {name}")
