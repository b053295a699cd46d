"""Times RoI pooling alone: python -m benchmarks.pooling_rates.

    python -m benchmarks.pooling_rates --batch_size=8 --dtype=bfloat16

Value and gradient for a T-WDet step, on the device that TensorFlow chooses, by
each way of computing them, of which `kdwsd.modeling.roi_pooling` tells. The
ways take turns, so that they share what else the device does.
"""

import contextlib
import statistics
import time

from absl import flags
import numpy as np
import tensorflow as tf

from kdwsd import command_line
from kdwsd.modeling import roi_pooling

_STRIDE = 16

# Name: context, whether XLA compiles.
WAYS = {
    "as chosen for this device": (contextlib.nullcontext, False),
    "as on a CPU": (roi_pooling.portable, False),
    "for XLA, not compiled": (roi_pooling.compilable, False),
    "for XLA, compiled": (roi_pooling.compilable, True),
}

FLAGS = flags.FLAGS


def _define_flags():
  """Not when imported: those of `python -m benchmarks` have such names."""
  flags.DEFINE_integer("batch_size", 4, "Images.", lower_bound=1)
  flags.DEFINE_integer("size", 672, "Side of the images in pixels.",
                       lower_bound=_STRIDE)
  flags.DEFINE_integer("num_proposals", 500, "RoIs an image.", lower_bound=1)
  flags.DEFINE_integer("channels", 512, "Channels of the map.", lower_bound=1)
  flags.DEFINE_enum("dtype", "float16", ["float32", "float16", "bfloat16"],
                    "Type of the map.")
  flags.DEFINE_integer("repeats", 10, "Runs of each; the median is printed.",
                       lower_bound=1)


def main(_):
  """Prints a row for each kind of pooling and way of computing it."""
  for kind in roi_pooling.NAMES:
    seconds = measure(
        kind, batch_size=FLAGS.batch_size, cells=FLAGS.size // _STRIDE,
        count=FLAGS.num_proposals, channels=FLAGS.channels, dtype=FLAGS.dtype,
        repeats=FLAGS.repeats)
    for way, value in seconds.items():
      print(f"{kind:16} {way:26} {1000 * value:9.2f} ms")


def measure(kind, *, batch_size, cells, count, channels, dtype, repeats):
  """Times one kind of pooling.

  Args:
    kind: one of `roi_pooling.NAMES`.
    batch_size: B.
    cells: side of the map.
    count: R.
    channels: C.
    dtype: name of the type of the map.
    repeats: runs of each way.

  Returns:
    {way: median seconds of value and gradient}.
  """
  random = np.random.default_rng(0)
  corners = np.sort(random.uniform(size=[batch_size, count, 2, 2]), axis=2)
  rois = tf.constant(corners.reshape(batch_size, count, 4), tf.float32)
  features = tf.cast(tf.nn.relu(tf.random.stateless_normal(
      [batch_size, cells, cells, channels], [0, 1])), dtype)
  factor = tf.fill([batch_size, count], 0.5)
  image_size = [_STRIDE * cells] * 2

  def step(context):
    def run(features, rois, factor):
      with context(), tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_pooling.pool(
            kind, features, rois, factor, image_size=image_size,
            stride=_STRIDE)
      # One number, so that little is copied from the device.
      return tf.reduce_sum(tf.cast(tape.gradient(
          pooled, features, pooled), tf.float32))
    return run

  steps = {
      way: tf.function(
          step(context), jit_compile=compiled, autograph=False
          ).get_concrete_function(features, rois, factor)
      for way, (context, compiled) in WAYS.items()}
  taken = {way: [] for way in steps}
  for number in range(repeats + 1):  # The first one compiles.
    for way, one in steps.items():
      start = time.perf_counter()
      one(features, rois, factor).numpy()
      if number:
        taken[way].append(time.perf_counter() - start)
  return {way: statistics.median(values) for way, values in taken.items()}


if __name__ == "__main__":
  _define_flags()
  command_line.run(main)
