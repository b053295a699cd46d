"""Compilation of training steps by XLA: `--jit_compile`."""

import contextlib
import re

from absl import logging
import tensorflow as tf

from kdwsd import native_logs
from kdwsd.modeling import dropout
from kdwsd.modeling import roi_pooling
from kdwsd.training import strategies

SETTINGS = ("auto", "on", "off")

# Of an operation without a kernel, of one whose shape is not known, and where
# XLA does not find the parts of CUDA that it needs.
_REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError,
             tf.errors.InternalError, tf.errors.NotFoundError)


def choose(setting, strategy):
  """Decides whether steps are compiled, and logs why.

  Args:
    setting: one of `SETTINGS`.
    strategy: `tf.distribute.Strategy` of the run.

  Returns:
    `on`, compile or fail; `auto`, compile unless XLA refuses; or `off`.
  """
  if isinstance(strategy, tf.distribute.TPUStrategy):
    logging.info("Compilation by XLA: on, as always on a TPU.")
    return "off"  # Nothing is left to do.
  if setting != "auto":
    logging.info("Compilation by XLA: %s, by --jit_compile.", setting)
    if setting == "on":
      native_logs.compile_quietly()
    return setting
  if strategies.on_gpus(strategy):
    logging.info("Compilation by XLA: on, because GPUs train.")
    native_logs.compile_quietly()
    return "auto"
  logging.info("Compilation by XLA: off, because no GPU trains.")
  return "off"


def compiled(function):
  """A function whose call XLA compiles as a whole, anew for each shape.

  Args:
    function: function of tensors, in the context of a replica and without
      reductions over replicas.
  """
  def compilable(*args):
    with within():
      return function(*args)
  return tf.function(compilable, jit_compile=True, autograph=False)


def reproducible(function, on_gpus):
  """A function, not compiled, whose gradients are the same each time.

  Under deterministic ops, of which TensorFlow has the gradient of
  `tf.image.crop_and_resize` on CPUs alone.

  Args:
    function: as in `compiled`.
    on_gpus: whether it runs on GPUs; otherwise on CPUs.
  """
  def run(*args):
    with roi_pooling.compilable() if on_gpus else roi_pooling.portable():
      return function(*args)
  return run


@contextlib.contextmanager
def within():
  """Within it, models are traced with operations that XLA can compile."""
  with dropout.compilable(), roi_pooling.compilable():
    yield


def refusal(error):
  """Why XLA does not compile, in one line; None if the error is another.

  Args:
    error: `tf.errors.OpError` of the first step of a shape.
  """
  if not isinstance(error, _REFUSALS):
    return None
  # The first lines say where, without a trace; the last one how to dump graphs.
  text = " ".join(
      line.strip() for line in error.message.splitlines() if line.strip()
      and not re.match("Graph execution|Detected at node|<stack trace", line))
  if not re.search("XLA|xla|libdevice|ptxas", text):
    return None
  text = re.sub(r".* on XLA_\w+: ", "", text)
  return re.sub(r"(\.? \[\[| tf2xla conversion failed).*", "", text)[:160]
