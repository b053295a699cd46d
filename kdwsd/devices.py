"""The device that a program computes on: the flag --device, and a log line.

Nothing here imports TensorFlow before `use` or `describe` is called, so that
`--help` is fast.
"""

import collections
import os
import sys

from absl import flags
from absl import logging

from kdwsd import errors
from kdwsd import nvidia

CHOICES = ("auto", "gpu", "cpu")

HELP = (
    "Where to compute: gpu, and nowhere else; cpu, also where there is a GPU; "
    "auto, on GPUs if TensorFlow sees any, else on the CPU.")


def define_flag(default="auto", text=HELP):
  """Defines --device, for programs that have no other declaration of it."""
  flags.DEFINE_enum("device", default, CHOICES, text)


def use(choice, *, whole_memory=False, log=True):
  """Chooses devices; call it before TensorFlow runs its first operation.

  Args:
    choice: one of `CHOICES`.
    whole_memory: whether to leave it to TensorFlow to reserve all memory of
      the GPUs at once, which training does. Otherwise it takes what it needs,
      so that a program can run beside a training.
    log: whether to log `describe()`.

  Raises:
    errors.InputError: `gpu`, and TensorFlow sees none.
  """
  if choice == "cpu":
    hide_gpus()
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  gpus = tf.config.get_visible_devices("GPU")
  if not gpus and choice != "cpu":
    _report_unseen(choice)
  if not whole_memory:
    for gpu in gpus:
      tf.config.experimental.set_memory_growth(gpu, True)
  if log:
    logging.info("%s", describe())


def hide_gpus():
  """Hides GPUs from this process and from those that it starts.

  For programs that only read and write: TensorFlow would reserve all memory of
  the GPUs for the first operation.
  """
  os.environ[nvidia.HIDING] = "-1"
  if "tensorflow" in sys.modules:  # It may have listed them already.
    sys.modules["tensorflow"].config.set_visible_devices([], "GPU")


def describe(names=None):
  """Names the devices, their memory and the precision, in one line.

  Args:
    names: names of the devices in use, as a strategy lists them; by default
      all GPUs, or the CPU if there are none.

  Returns:
    Text such as "Device: NVIDIA H100 80GB HBM3, 79 GiB, mixed_float16".
  """
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  precision = tf.keras.mixed_precision.global_policy().name
  names = list(names or ())
  if any("TPU" in name for name in names):
    return f"Devices: {len(names)} TPU cores, {precision}"
  gpus = tf.config.get_visible_devices("GPU")
  if names:
    gpus = gpus[:sum("GPU" in name for name in names)]
  if not gpus:
    return f"Device: CPU, {_cores()}, {precision}"
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  if precision == "float32" and all(
      one.get("compute_capability", (0,))[0] >= 8 for one in details) and (
          tf.config.experimental.tensor_float_32_execution_enabled()):
    precision = "float32 with products in TF32"
  machine = nvidia.look()
  counts = collections.Counter(
      one.get("device_name", "GPU") for one in details)
  listed = "; ".join(
      _listed(name, count, machine.memory(name))
      for name, count in counts.items())
  return f"Device{'s' if len(gpus) > 1 else ''}: {listed}, {precision}"


def _listed(name, count, mebibytes):
  memory = f", {mebibytes // 1024} GiB" if mebibytes else ""
  if count == 1:
    return f"{name}{memory}"
  return f"{count} x {name}{memory}{' each' if memory else ''}"


def _cores():
  count = os.cpu_count() or 1
  if hasattr(os, "sched_getaffinity"):
    count = len(os.sched_getaffinity(0))
  return f"{count} core{'s' if count > 1 else ''}"


def _report_unseen(choice):
  """Says so if the machine has a GPU that TensorFlow does not see.

  Raises:
    errors.InputError: `gpu` was asked for.
  """
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  machine = nvidia.look()
  there = bool(machine.names or machine.trouble)
  why = nvidia.why_unseen(
      machine, tensorflow=tf.__version__,
      with_cuda=tf.test.is_built_with_cuda()) if there else ""
  name = machine.names[0] if machine.names else "NVIDIA GPU"
  if choice == "gpu":
    raise errors.InputError(
        "--device=gpu: expected a GPU that TensorFlow sees. Received: "
        + (f"{name}, which it does not see: {why}." if there else
           "none; this machine has no NVIDIA GPU, or no driver for it."))
  if there and not nvidia.is_hidden():
    logging.warning(
        "Computing on the CPU: TensorFlow does not see this machine's GPU, "
        "%s: %s.", name, why)
