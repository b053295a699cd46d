"""Distribution strategy and determinism of a run."""

import faulthandler

from official.common import distribute_utils
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.data import tuning
from kdwsd.training import cluster as cluster_lib

# That wait on each GPU for their step.
_BATCHES_ON_GPU = 3

_OF_ONE_MACHINE = (
    tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)

NAMES = ("one_device", "mirrored", "multi_worker_mirrored", "tpu")


def make(name, num_replicas=0):
  """Makes a strategy; call it before TensorFlow initializes any device.

  Args:
    name: one of `NAMES`.
    num_replicas: for `mirrored`, number of GPUs to use; on a machine without
      GPUs, number of logical CPU devices (for tests). 0 uses all GPUs, or the
      CPU if there are none.

  Returns:
    `tf.distribute.Strategy`.

  Raises:
    errors.InputError: fewer devices than replicas, or TF_CONFIG does not fit
      the strategy.
  """
  cluster = _check_cluster(name)
  num_gpus = len(tf.config.get_visible_devices("GPU"))
  if name == "mirrored" and not num_gpus and num_replicas > 1:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * num_replicas)
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(num_replicas)])
  if num_gpus and num_replicas > num_gpus:
    raise errors.InputError(
        f"--num_replicas: expected at most the number of GPUs, {num_gpus}. "
        f"Received: {num_replicas}.")
  if name != "mirrored" and num_replicas > 1:
    raise errors.InputError(
        f"--num_replicas: expected 0 or 1 with --distribution_strategy={name}; "
        f"`mirrored` splits a batch on one machine. Received: {num_replicas}.")
  num_gpus = num_replicas or num_gpus if num_gpus else 0
  if name == "one_device":
    num_gpus = min(num_gpus, 1)
  if cluster:
    return _join(cluster)
  return distribute_utils.get_distribution_strategy(
      distribution_strategy=name, num_gpus=num_gpus, tpu_address="")


def distribute(strategy, batches):
  """Distributes batches, and has them copied to GPUs ahead of their steps.

  A copy starts when the GPU has finished the steps that are enqueued at that
  moment. With TensorFlow's own buffer of one batch the next step waits for it.

  The iterator of each GPU has a thread that tunes it, whatever the options of
  the dataset are, and of which `tuning` tells. Replicas on CPUs of one machine
  take their batches from iterators without it; several have a pipeline each.

  Args:
    strategy: `tf.distribute.Strategy`.
    batches: function of a `tf.distribute.InputContext` to a dataset.

  Returns:
    `tf.data.Dataset` or `tf.distribute.DistributedDataset`.
  """
  options = None
  if on_gpus(strategy):
    options = tf.distribute.InputOptions(
        experimental_per_replica_buffer_size=_BATCHES_ON_GPU)
  elif isinstance(strategy, _OF_ONE_MACHINE) and _on_cpus(strategy):
    if strategy.num_replicas_in_sync == 1:
      return tuning.untuned(batches(tf.distribute.InputContext()))
    options = tf.distribute.InputOptions(
        experimental_fetch_to_device=False, experimental_replication_mode=(
            tf.distribute.InputReplicationMode.PER_REPLICA))
  return strategy.distribute_datasets_from_function(
      lambda context: tuning.untuned(batches(context)), options)


def on_gpus(strategy):
  """Whether all replicas are GPUs."""
  try:
    devices = strategy.extended.worker_devices
  except RuntimeError:  # The default strategy, which uses one if there is one.
    return bool(tf.config.list_logical_devices("GPU"))
  return all("GPU" in device for device in devices)


def _on_cpus(strategy):
  """Whether all replicas are CPUs."""
  return all("CPU" in device for device in strategy.extended.worker_devices)


def is_chief(strategy):
  """Whether this process is the worker that writes shared files."""
  return strategy.extended.should_checkpoint


def sharing():
  """Number of workers of the current strategy, and this process's index.

  Returns:
    (number of workers, index of this process from 0).
  """
  if isinstance(tf.distribute.get_strategy(),
                tf.distribute.MultiWorkerMirroredStrategy):
    cluster = cluster_lib.read_cluster()
    if cluster:
      return len(cluster.addresses), cluster.index
  return 1, 0


def _check_cluster(name):
  """Returns the `cluster_lib.Cluster` of a multi-worker strategy, else None."""
  cluster = cluster_lib.read_cluster()
  if name == "multi_worker_mirrored":
    if cluster is None:
      raise errors.InputError(
          f"--distribution_strategy={name}: expected TF_CONFIG to list the "
          "workers. Received: no such variable, or an empty one.")
    return cluster
  if cluster and len(cluster.addresses) > 1:
    raise errors.InputError(
        "TF_CONFIG: expected --distribution_strategy=multi_worker_mirrored "
        f"for {len(cluster.addresses)} workers. Received: {name}: each worker "
        "would train independently and write to the same place.")
  return None


def _join(cluster):
  """Waits for all workers and makes their strategy."""
  cluster_lib.wait_for_others(cluster)
  # If a worker dies here, TensorFlow waits for an hour and holds the GIL, so
  # that no Python thread can stop it.
  faulthandler.dump_traceback_later(cluster_lib.JOIN_TIMEOUT, exit=True)
  with cluster_lib.standstill_tolerated():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  faulthandler.cancel_dump_traceback_later()
  interruption.listen_again()
  return strategy


def set_determinism(mode, seed):
  """Sets the global seed and, depending on `mode`, op determinism.

  Args:
    mode: `on`, `off`, or `auto`, which is on without a GPU. Without
      determinism, some backward passes sum in random order on GPUs.
    seed: int.

  Returns:
    Whether ops are deterministic.
  """
  tf.keras.utils.set_random_seed(seed)
  deterministic = mode == "on" or (
      mode == "auto" and not tf.config.get_visible_devices("GPU"))
  if deterministic:
    tf.config.experimental.enable_op_determinism()
  return deterministic
