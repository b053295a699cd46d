"""Batches without gradients, sized to the device.

For evaluation, the outputs of teachers and frozen stages, and `predict`. A GPU
needs many pixels at a time to be busy; a CPU computes one image after another
as fast, and without the memory.
"""

import functools
import os

from absl import logging
import numpy as np
import tensorflow as tf

from kdwsd import nvidia

# Estimates, not measured on a GPU. 16 images of 672 pixels: in training, 8 of
# them, with their gradients, were near the full rate of a large GPU.
_PIXELS = 16 * 672 ** 2
# The largest feature maps are VGG16's first: 64 float32 for each pixel. There
# are two, and as much again to compute with them.
_BYTES_PER_PIXEL = 4 * 64 * 4
# 14 x 14 cells of 512 float32 are sampled for each proposal, and pooled.
_BYTES_PER_PROPOSAL = 2 ** 20
# Of the device's memory: the rest holds weights, and a run's optimizer.
_SHARE = 0.25
_ASSUMED_MEMORY = 16 * 2 ** 30  # Where the driver does not tell.
_MOST = 64

# 500 x 9,600 scores of an image take 19 MB.
_WAITING_BYTES = 2 ** 29

_GPU = "/gpu:0"

# More wait for each other: a third of suppression, where it has much to do,
# holds Python's lock.
_MOST_THREADS = 2


def on_gpu():
  """Whether models run on a GPU."""
  return bool(tf.config.get_visible_devices("GPU"))


def default_size(size, num_proposals=0, *, on_cpu=1, most=_MOST, memory=None):
  """The batch size where none is given.

  Args:
    size: side of the images, pixels; the largest of several.
    num_proposals: R of a detector, 0 for a classifier.
    on_cpu: batch size on a CPU.
    most: limit on a GPU.
    memory: of the GPU, bytes; None asks the driver.

  Returns:
    Number of images; a power of two on a GPU.
  """
  if not on_gpu():
    return on_cpu
  one = _BYTES_PER_PIXEL * size ** 2 + _BYTES_PER_PROPOSAL * num_proposals
  fitting = int(_SHARE * (memory or _memory())) // one
  number = max(1, min(_PIXELS // size ** 2, fitting, most))
  return 2 ** (number.bit_length() - 1)


def num_threads():
  """Threads for work on the host, see `beside`; 0 if models run on a CPU.

  There, the model uses all cores.
  """
  if not on_gpu():
    return 0
  return max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0)) - 1))


def most_waiting(num_classes, num_proposals):
  """How many predictions of a detector may wait for a thread.

  Args:
    num_classes: C.
    num_proposals: R.

  Returns:
    Number of images: two batches of 64, or what fits into `_WAITING_BYTES`.
  """
  fitting = _WAITING_BYTES // (4 * num_classes * max(1, num_proposals))
  return max(4, min(2 * _MOST, fitting))


def copied_ahead(dataset):
  """Has batches copied to the GPU, if there is one, while it computes."""
  if not on_gpu():
    return dataset
  return dataset.apply(
      tf.data.experimental.prefetch_to_device(_GPU, buffer_size=2))


class Filled:
  """Calls a function with batches of the same number of images.

  So that it is traced once, and a GPU chooses its algorithms once, a smaller
  batch is filled up with its last image. If the device's memory does not hold a
  batch, this and all later ones are computed in halves.
  """

  def __init__(self, function, num_rows, fill=True):
    """Wraps a function.

    Args:
      function: of a batch, a dictionary of tensors [B, ...], that returns a
        tensor [B, ...], or a dictionary of them, from each image alone.
      num_rows: B, images in a call.
      fill: False calls it with a smaller batch as it is.
    """
    self._function, self._num_rows, self._fill = function, num_rows, fill

  def __call__(self, batch):
    """Computes a batch of any number of images.

    Args:
      batch: dictionary of tensors [B, ...].

    Returns:
      As the function, as NumPy arrays, of the images of the batch alone.

    Raises:
      tf.errors.ResourceExhaustedError: the memory does not hold one image.
    """
    count = int(next(iter(batch.values())).shape[0])
    parts, start = [], 0
    while start < count:
      taken = min(self._num_rows, count - start)
      try:
        outputs = self._function(self._rows(batch, start, taken, count))
        parts.append(tf.nest.map_structure(
            lambda values, taken=taken: values.numpy()[:taken], outputs))
      except tf.errors.ResourceExhaustedError:
        if self._num_rows == 1:
          raise
        self._num_rows = (self._num_rows + 1) // 2
        logging.warning(
            "The device's memory does not hold a batch of %d images. Batches "
            "have %d from now on.", taken, self._num_rows)
        continue
      start += taken
    if len(parts) == 1:
      return parts[0]
    return tf.nest.map_structure(lambda *all: np.concatenate(all), *parts)

  def _rows(self, batch, start, taken, count):
    """Rows of a batch, repeating the last of them up to the number."""
    number = self._num_rows if self._fill else taken
    if (start, number) == (0, count):
      return batch
    rows = np.minimum(np.arange(start, start + number), start + taken - 1)
    return {name: tf.gather(values, rows) for name, values in batch.items()}


@functools.lru_cache(maxsize=1)
def _memory():
  """Bytes of memory of the smallest GPU."""
  sizes = [size for size in nvidia.look().mebibytes if size]
  return min(sizes) * 2 ** 20 if sizes else _ASSUMED_MEMORY
