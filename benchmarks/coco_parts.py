"""What each part does with the images of a split, and what it takes.

Where a network would take days on a CPU, its outputs are simulated: what is
measured is the package's own work on an image. Every function runs in a process
of its own and returns a `clocks.Taken`. `coco_conversion` and `coco_programs`
have the parts that start further processes.
"""

import dataclasses
import os
import re
import shutil
import time

import numpy as np
import tensorflow as tf

from benchmarks import clocks
from benchmarks import coco_records
from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import label_counts
from kdwsd.data import record_files
from kdwsd.evaluation import summary
from kdwsd.training import cached_arrays

_BATCH, _SIDE = 8, 224
_CACHE_SIDE = 64  # What is cached does not depend on the image.
# VGG16's conv5 at 672 pixels, which a run would keep.
_VGG_MAP = (42, 42, 512)
_RESUMED_BATCH = 2
_LATE = 0.97  # Of an epoch, where a run resumes.


def open_split(directory, split, work):
  """Opens a split, and one with a faulty shard."""
  clock = clocks.Clock()
  record_set = record_files.open_split(directory, split)
  label_counts.read(record_set)
  taken = clock.taken(record_set.num_images)
  broken = os.path.join(work, "broken")
  os.makedirs(broken)
  for path in (record_set.card_path, *record_set.paths):
    os.link(path, os.path.join(broken, os.path.basename(path)))
  last = os.path.join(broken, os.path.basename(record_set.paths[-1]))
  os.remove(last)
  missing = _refused(lambda: record_files.open_split(broken, split), "missing")
  with open(record_set.paths[-1], "rb") as file:
    content = file.read()
  with open(last, "wb") as file:
    file.write(2 * content)
  other = _refused(
      lambda: record_files.open_split(broken, split), "another conversion")
  return dataclasses.replace(taken, remark=(
      f"a missing shard told after {missing:.2f} s, one of another conversion "
      f"after {other:.2f} s"))


def read_batches(directory, split, seconds):
  """Reads training batches for some time."""
  batches = iter(_batches(directory, split, _BATCH))
  start = time.monotonic()
  next(batches)
  first, clock, count = time.monotonic() - start, clocks.Clock(), 0
  while not count or time.monotonic() - start < first + seconds:
    next(batches)
    count += 1
  return clock.taken(
      count * _BATCH, remark=f"first batch after {first:.1f} s; "
      f"images of {_SIDE} pixels, batches of {_BATCH}")


def resume(directory, split):
  """Reads the first batch of a run that resumes near the end of an epoch."""
  num_images = record_files.open_split(directory, split).num_images
  step = int(_LATE * num_images / _RESUMED_BATCH)
  clock = clocks.Clock()
  next(iter(_batches(directory, split, _RESUMED_BATCH, step)))
  return clock.taken(num_images, remark=(
      f"first batch of step {step}, batches of {_RESUMED_BATCH}"))


def fill_scores(directory, split):
  """Fills and reads a teacher cache of image scores."""
  array = _array(directory, split, (coco_records.NUM_CLASSES,), np.float32)
  clock = clocks.Clock()
  array.fill()
  taken = clock.taken(
      array.records.num_images, disk_bytes=clocks.size(array.folder),
      remark="scores simulated, two views")
  assert array.read().shape[0] == taken.images
  shutil.rmtree(array.folder)
  return taken


def fill_maps(directory, split, shape):
  """Keeps maps of a shape [h, w, channels]."""
  array = _array(directory, split, shape, np.float16)
  clock = clocks.Clock()
  array.fill()
  taken = clock.taken(
      array.records.num_images, disk_bytes=clocks.size(array.folder),
      remark=f"maps {' x '.join(map(str, shape))} simulated, two views")
  shutil.rmtree(array.folder)
  return taken


def refuse_maps(directory, split):
  """Asks for maps that no disk has room for."""
  clock = clocks.Clock()
  array = _array(directory, split, _VGG_MAP, np.float16)
  try:
    free = shutil.disk_usage(directory).free
    needed = array.records.num_images * 2 * int(np.prod(_VGG_MAP)) * 2
    if needed > free:
      array.fill()
    message = f"needs {needed / 1e9:.0f} GB, which this disk has"
  except errors.InputError as error:
    message = re.sub(r"^.*?: expected", "refused: expected", str(error))
  finally:
    shutil.rmtree(array.folder, ignore_errors=True)
  return clock.taken(array.records.num_images, remark=(
      f"VGG16's conv5 at 672 pixels: {message}"))


def evaluate(directory, split, work):
  """Evaluates a simulated detector: all metrics, tables and pictures."""
  record_set = record_files.open_split(directory, split)
  clock = clocks.Clock()
  metrics, results = summary.measure(
      simulated_detector, record_set, sizes=(_CACHE_SIDE,), num_proposals=500,
      batch_size=8, corloc=True, coco=True, progress=False)
  measured = clock.taken(record_set.num_images)
  summary.write(metrics, results, record_set, os.path.join(work, "evaluation"))
  number = sum(len(found.scores) for found in results.detections)
  return clock.taken(
      record_set.num_images,
      disk_bytes=clocks.size(os.path.join(work, "evaluation")),
      remark=f"{number / record_set.num_images:.0f} detections an image; "
      f"{measured.seconds:.0f} s of it before files are written")


def simulated_detector(batch):
  """Scores [B, R, 80] that depend on the proposals alone.

  Some thousand detections of an image remain, as those of a teacher that is
  not sure: some tenths of the scores are above the threshold.
  """
  proposals = batch["proposals"]                                  # [B, R, 4]
  waves = tf.range(1.0, coco_records.NUM_CLASSES + 1)
  phase = tf.reduce_sum(
      proposals * tf.constant([3.0, 5.0, 7.0, 11.0]), axis=-1)    # [B, R]
  scores = tf.square(tf.square(
      tf.sin(phase[..., tf.newaxis] * waves)))                    # [B, R, C]
  scores *= batch["objectness"][..., tf.newaxis]
  scores = tf.where(scores > 0.29, scores, 1e-4)
  return {"proposal_scores": scores,
          "image_scores": tf.reduce_mean(scores, axis=1)}


def _batches(directory, split, batch_size, start_step=0):
  return input_pipeline.training_batches(
      record_files.open_split(directory, split), global_batch_size=batch_size,
      sizes=(_SIDE,), num_proposals=500, seed=0, start_step=start_step)


def _array(directory, split, shape, dtype):
  def compute(batch):
    flat = tf.reduce_mean(batch["image"], axis=[1, 2, 3])         # [b]
    return tf.tile(tf.reshape(flat, [-1] + [1] * len(shape)), [1, *shape])

  return cached_arrays.CachedArray(
      record_files.open_split(directory, split), "benchmark", "simulated",
      {"shape": list(shape)}, shape=shape, dtype=dtype, compute=compute,
      batches={"size": _CACHE_SIDE, "num_proposals": 1, "batch_size": 8},
      source="a benchmark", add=lambda values: {})


def _refused(function, expected):
  """Seconds until a function refuses its input for an expected reason."""
  start = time.monotonic()
  try:
    function()
  except errors.InputError as error:
    if expected not in str(error):
      raise
    return time.monotonic() - start
  raise RuntimeError(f"Expected a refusal because of: {expected}.")
