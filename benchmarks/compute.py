"""How a measuring process computes: on which device, in which precision.

Nothing here imports TensorFlow before a function is called: the process that
starts the measurements must leave the GPU to them.
"""

import dataclasses
import functools
import re
import time

from benchmarks import processes
from kdwsd import devices

BACKBONE = r"(\w+?)(?::(\d+(?:\.\d+)?))?"

_WARM_UP = 5  # Steps on a GPU, after the first one.
_PROFILED = 4  # Steps.


@dataclasses.dataclass(frozen=True)
class Compute:
  """What models compute with; the names are those of the flags of training.

  Attributes:
    profile: folder to write profiles of steps to; empty for none.
  """
  device: str = "auto"
  mixed_precision: str = "float32"
  roi_pooling: str = "crop_and_resize"
  jit_compile: str = "auto"
  profile: str = ""

  def begin(self):
    """Applies it to this process; returns the device in words.

    Ops are deterministic where they are in training, unless XLA compiles.

    Raises:
      errors.InputError: there is no such device.
    """
    # pylint: disable=import-outside-toplevel
    import tensorflow as tf

    from kdwsd.training import strategies
    # pylint: enable=import-outside-toplevel
    devices.use(self.device, whole_memory=True, log=False)
    strategies.set_determinism(
        "off" if self.jit_compile == "on" else "auto", seed=0)
    tf.keras.mixed_precision.set_global_policy(self.mixed_precision)
    return devices.describe()

  def label(self):
    """What differs from the defaults, as an end of a row's name."""
    return "".join(
        f", {value}" if field.name == "mixed_precision"
        else f", {field.name} {value}"
        for field in dataclasses.fields(self)
        if field.name not in ("device", "profile")
        and (value := getattr(self, field.name)) != field.default)


def backbone(text):
  """Reads NAME or NAME:WIDTH as arguments of a model's configuration."""
  name, width = re.fullmatch(BACKBONE, text).groups()
  return {"backbone": name, "backbone_width": float(width or 1)}


def has_gpu():
  """Whether this process computes on a GPU."""
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  return bool(tf.config.get_visible_devices("GPU"))


@functools.cache
def strategy():
  """That of a training on one GPU, or the default one on a CPU."""
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd.training import strategies
  # pylint: enable=import-outside-toplevel
  if has_gpu():
    return strategies.make("mirrored", 1)
  return tf.distribute.get_strategy()


def optimizer():
  """SGD as training uses it, in 16 bits with loss scaling."""
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd.training import loss_scaling
  from kdwsd.training import optimizers
  # pylint: enable=import-outside-toplevel
  made = optimizers.make("sgd", learning_rate=1e-6)
  if tf.keras.mixed_precision.global_policy().name == "mixed_float16":
    with strategy().scope():
      made.loss_scale = loss_scaling.LossScale()
  return made


def gpu_mib():
  """Most memory in MiB that tensors have taken on the GPU; None on a CPU."""
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  if not has_gpu():
    return None
  return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2 ** 20


def first_step(train):
  """Trains the first step; returns the seconds since the process started.

  Most of them are spent on importing TensorFlow, on tracing, and on a GPU on
  loading and compiling kernels.
  """
  train(1)
  return time.time() - processes.STARTED


def seconds_per_step(train, steps):
  """Times training steps after the first one.

  Args:
    train: function that trains a number of steps and waits for their end.
    steps: how many to time; 0 for 2 on a CPU and 50 on a GPU.
  """
  if has_gpu():
    train(_WARM_UP)
  steps = steps or (50 if has_gpu() else 2)
  start = time.perf_counter()
  train(steps)
  return (time.perf_counter() - start) / steps


def write_profile(folder, train):
  """Profiles a few steps, which `benchmarks.kernels` lists.

  Args:
    folder: where to.
    train: as in `seconds_per_step`.

  Returns:
    How many steps.
  """
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  with tf.profiler.experimental.Profile(folder):
    train(_PROFILED)
  return _PROFILED
