"""Arrays over the images of a split, upright and mirrored, cached on disk.

The output of a frozen network depends only on the image and on whether it is
mirrored, so it is computed once, for all epochs and runs.

One `.npy` file per shard of records is written atomically: an interrupted
computation resumes at the first missing shard. Several processes may compute
the same array at once, and each leaves to the others what they have begun. The
name of the folder holds a fingerprint of all settings that determine the
content, so a stale array is never read; `about.json` in the folder lists these
settings for people.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import sys
import time

from absl import logging
import numpy as np
import tensorflow as tf
import tqdm

import kdwsd
from kdwsd import beside
from kdwsd import errors
from kdwsd import files
from kdwsd import machine_caches
from kdwsd import places
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.evaluation import device_batches
from kdwsd.training import cache_space
from kdwsd.training import strategies

_FORMAT = 1

# Of an array that `join` holds, at first twice. The scores of 82,081 images for
# 80 classes take 53 MB, for 9,600 classes 6.3 GB.
MOST_IN_MEMORY = 2 ** 29

# The exponent of float16, of which infinities and NaN have all bits.
_INFINITE = np.uint16(0x7C00)

# Seconds.
_POLL_INTERVAL = 1.0
_NOTE_INTERVAL = 60.0


class CachedArray:
  """An array [num_images, 2, *shape]; the second axis is upright, mirrored."""

  def __init__(self, record_set, folder, kind, settings, *, shape=(), dtype,
               compute, batches, source, add, in_memory=False):
    """Names the array; reads only the lengths of the shards.

    Args:
      record_set: the `record_files.RecordSet` whose images are the first axis.
      folder: name of the folder, beside the records, that holds such arrays;
        of remote records see `machine_caches`.
      kind: name of the array, one word.
      settings: JSON dict of everything that determines the values, besides the
        records and the image size.
      shape: shape of the values of one image.
      dtype: NumPy dtype, structured or not.
      compute: function of a batch of b images, upright or mirrored, that
        returns [b, *shape], or a dict of such values if `dtype` has fields.
      batches: arguments of `input_pipeline.evaluation_batches` for `compute`;
        `size` is the same as in the batches to join with.
      source: origin of the values, for messages and `about.json`.
      add: function of the values [B, *shape] of a batch, one argument per field
        and float16 as float32, that returns a dict to add to the batch.
      in_memory: whether `join` holds the array, without fields, as a tensor,
        if it takes no more than `MOST_IN_MEMORY` bytes; otherwise Python reads
        rows and the dataset is bound to this process.

    Raises:
      errors.InputError: the shards do not hold as many images as the card says.
    """
    self.records, self.kind = record_set, kind
    self.shape, self.dtype = (2, *shape), np.dtype(dtype)
    self.fields = self.dtype.names or (...,)
    self._compute, self._source = compute, source
    self._batches = {"batch_size": 1, **batches}
    self._add = add
    self.settings = {
        "format": _FORMAT, "records": input_pipeline.fingerprint(record_set),
        "size": int(batches["size"]), **settings}
    digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
    self._prefix = os.path.join(
        machine_caches.folder(record_set.directory), folder,
        f"{record_set.split}-{kind}-")
    self.folder = self._prefix + digest.hexdigest()[:16]
    self.counts = [record_files.count(path) for path in record_set.paths]
    self._num_bytes = (np.array(self.counts) * int(np.prod(self.shape))
                       * self.dtype.itemsize)               # [num_shards]
    self._in_memory = in_memory and sum(self._num_bytes) <= MOST_IN_MEMORY
    self.starts = np.cumsum([0, *self.counts])              # [num_shards + 1]
    if self.starts[-1] != record_set.num_images:
      raise errors.InputError(
          f"{record_set.card_path}: expected {record_set.num_images} images in "
          f"its shards. Received: {self.starts[-1]}; convert the data again.")

  def fill(self):
    """Computes missing shards, waits for other workers', and returns `self`.

    Worker w of n computes the shards w, w + n, ... in a shared folder. If the
    records are remote, each machine has a folder of its own, where each worker
    computes all shards that another one there has not. Waiting
    fails if no new shard appears for a minute per image of the longest shard,
    and for at least an hour.

    Raises:
      errors.InputError: a value is not finite, the missing shards do not fit on
        the disk, the folder cannot be written, or other workers are late.
    """
    num_workers, worker = (
        (1, 0) if places.is_remote(self.records.directory)
        else strategies.sharing())
    missing = self._missing(range(len(self.counts)))
    for path in filter(os.path.exists, map(self.path, missing)):
      logging.warning(
          "%s: expected %s of %s for each image of its shard. Received: a file "
          "that is truncated, unreadable or of another shape; recomputing it.",
          path, list(self.shape), self.dtype)
    cache_space.log_others(self._prefix, self.folder)
    if not missing:
      logging.info("Found complete: %s.", self.folder)
      return self
    about_path = os.path.join(self.folder, "about.json")
    if not os.path.exists(about_path):
      files.write_json(about_path, {
          "kind": self.kind, "split": self.records.split,
          "num_images": self.records.num_images, "shape_per_image": self.shape,
          "dtype": str(self.dtype), "tool_version": kdwsd.__version__,
          "source": self._source, "settings": self.settings,
          "records_directory": places.abspath(self.records.directory)})
    cache_space.check(
        self.folder, f"{self.kind} of {self.records.split}",
        sum(self._num_bytes), sum(self._num_bytes[missing]))
    mine = [shard for shard in missing if shard % num_workers == worker]
    with tqdm.tqdm(
        total=sum(self.counts[shard] for shard in mine), desc=self.kind,
        unit="image", mininterval=0.5 if sys.stderr.isatty() else 60) as bar:
      for shard in self._others_last(mine):
        if self._missing([shard]):
          self._write(shard, bar)
        else:  # Another process was faster.
          bar.update(self.counts[shard])
    self._wait([shard for shard in missing if shard not in mine])
    return self

  def _others_last(self, shards):
    """Yields shards; those that another process computes by then come last."""
    left = list(shards)
    while left:
      shard = next((one for one in left
                    if not files.is_being_written(self.path(one))), left[0])
      left.remove(shard)
      yield shard

  def read(self):
    """The whole array."""
    return np.concatenate(self._maps)

  def take(self, record_index, mirrored):
    """Reads rows [B, *shape] from memory maps; both arguments are [B]."""
    shards = np.searchsorted(self.starts, record_index, "right") - 1  # [B]
    return np.stack([
        self._maps[shard][index - self.starts[shard], int(flip)]
        for shard, index, flip in zip(shards, record_index, mirrored)])

  def join(self, dataset):
    """Adds the output of `add` to each batch of a dataset of the same split."""
    parts = [np.zeros(self.shape[1:], self.dtype)[field]
             for field in self.fields]
    types = [np.float32 if part.dtype == np.float16 else part.dtype
             for part in parts]
    if self._in_memory:
      with tf.device("CPU:0"):
        table = tf.constant(self.read(), types[0])

    def read(record_index, mirrored):
      rows = self.take(record_index, mirrored)
      return [rows[field].astype(kind)
              for field, kind in zip(self.fields, types)]

    @tf.autograph.experimental.do_not_convert
    def attach(batch):
      index, mirrored = batch["record_index"], batch["mirrored"]
      if self._in_memory:
        values = [tf.gather_nd(table, tf.stack(
            [index, tf.cast(mirrored, tf.int64)], axis=1))]
      else:
        values = tf.numpy_function(read, [index, mirrored], types)
        for value, part in zip(values, parts):
          value.set_shape(index.shape + part.shape)
      return {**batch, **self._add(*values)}

    return dataset.map(
        attach, tf.data.AUTOTUNE, deterministic=True).prefetch(2)

  def path(self, shard):
    """Path of one shard's file."""
    return os.path.join(
        self.folder, f"shard-{shard:05d}-of-{len(self.counts):05d}.npy")

  @functools.cached_property
  def _filled(self):
    """`compute`, with NumPy arrays as its result."""
    # On a CPU, another trace costs less than filling up a batch.
    return device_batches.Filled(
        self._compute, self._batches["batch_size"],
        fill=device_batches.on_gpu())

  @functools.cached_property
  def _maps(self):
    return [np.load(self.path(shard), mmap_mode="r", allow_pickle=False)
            for shard in range(len(self.counts))]

  def _header(self, shard):
    """The `.npy` header of a shard, which depends on shape and dtype."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        "descr": np.lib.format.dtype_to_descr(self.dtype),
        "fortran_order": False, "shape": (self.counts[shard], *self.shape)})
    return header.getvalue()

  def _missing(self, shards):
    missing = []
    for shard in shards:
      header = self._header(shard)
      size = len(header) + self._num_bytes[shard]
      with contextlib.suppress(OSError), open(self.path(shard), "rb") as file:
        if (file.read(len(header)), os.fstat(file.fileno()).st_size) == (
            header, size):
          continue
      missing.append(shard)
    return missing

  def _rows(self, shard):
    """Computes and yields two values, upright and mirrored, for each image."""
    one = dataclasses.replace(self.records, paths=(self.records.paths[shard],))
    batches = device_batches.copied_ahead(
        input_pipeline.evaluation_batches(one, **self._batches))

    def compute(batch):
      batch["record_index"] += self.starts[shard]
      return [self._values(view) for view in (
          batch, input_pipeline.mirrored(batch))]

    # A GPU computes a batch while another one is copied to the host.
    with contextlib.closing(beside.mapped(
        compute, batches, num_threads=device_batches.num_threads(),
        most_waiting=2)) as computed:
      for views in computed:
        yield from zip(*views)

  def _values(self, batch):
    """[b, *shape] of this array's dtype."""
    values = self._filled(batch)
    if not self.dtype.names:
      with np.errstate(over="ignore"):
        return values.astype(self.dtype, copy=False)
    rows = np.empty(len(batch["record_index"]), self.dtype)
    for field in self.fields:
      rows[field] = values[field]
    return rows

  def _write(self, shard, bar):
    with files.atomic_path(self.path(shard)) as temporary:
      # A memory map would kill the process if the disk is full.
      with open(temporary, "wb") as file:
        file.write(self._header(shard))

        def write(numbered):
          number, row = numbered
          self._check(row, self.starts[shard] + number)
          for view in row:
            file.write(np.ascontiguousarray(view))

        count = 0
        # One thread, which writes in order.
        with contextlib.closing(beside.mapped(
            write, enumerate(self._rows(shard)),
            num_threads=min(1, device_batches.num_threads()),
            most_waiting=2 * self._batches["batch_size"])) as written:
          for _ in written:
            count += 1
            bar.update(1)
      if count != self.counts[shard]:
        raise ValueError(f"Invalid rows of {self.kind}. Expected "
                         f"{self.counts[shard]}. Received: {count}.")

  def _check(self, row, index):
    """Checks the values of an image of the split, upright and mirrored."""
    shapes = [np.shape(view) for view in row]
    if shapes != [self.shape[1:]] * self.shape[0]:
      raise ValueError(f"Invalid row of {self.kind}. Expected two of shape "
                       f"{self.shape[1:]}. Received: {shapes}.")
    if not all(_finite(view[field]) for view in row for field in self.fields):
      raise errors.InputError(
          f"{self._source}: expected finite values, for features within "
          "float16's range (65504); training has probably diverged. Received:"
          f" NaN or infinity for image {index} of the split (from 0).")

  def _wait(self, shards):
    """Waits until other workers have written these shards."""
    limit = max(3600.0, 60.0 * max(self.counts))
    last_came = last_note = time.monotonic()
    while missing := self._missing(shards):
      now = time.monotonic()
      if len(missing) < len(shards):
        shards, last_came = missing, now
      elif now - last_came > limit:
        raise errors.InputError(
            f"{self.folder}: expected the other workers to write their shards "
            "to this folder, which all workers must share. Received: no new "
            f"shard for {limit / 3600:.1f} hours; {len(missing)} are missing, "
            f"first {os.path.basename(self.path(missing[0]))}.")
      if now - last_note > _NOTE_INTERVAL:
        last_note = now
        logging.info("Waiting for %d shards of other workers in %s.",
                     len(missing), self.folder)
      time.sleep(_POLL_INTERVAL)


class Mean:
  """The mean of several arrays [num_images, 2, *shape], also over mirroring."""

  def __init__(self, arrays, add):
    """Wraps arrays.

    Args:
      arrays: list of `CachedArray` of one split, without fields.
      add: function of the mean of a batch, [B, *shape], that returns a dict to
        add to the batch.
    """
    self._arrays, self._add = arrays, add

  def read(self):
    """The whole mean, [num_images, *shape] float32."""
    total = sum(array.read().mean(axis=1) for array in self._arrays)
    return (total / len(self._arrays)).astype(np.float32)

  def join(self, dataset):
    """As `CachedArray.join`; values do not depend on mirroring."""
    with tf.device("CPU:0"):
      table = tf.constant(self.read())

    @tf.autograph.experimental.do_not_convert
    def attach(batch):
      return {**batch, **self._add(tf.gather(table, batch["record_index"]))}

    return dataset.map(
        attach, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _finite(values):
  """Whether all values are finite."""
  if values.dtype == np.float16:  # NumPy looks at one after another.
    exponents = np.bitwise_and(values.view(np.uint16), _INFINITE)
    return exponents.max(initial=0) < _INFINITE
  return np.isfinite(values).all()
