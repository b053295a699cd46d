"""Arrays over the images of a split, kept on disk by shard.

One `.npy` file for each shard of records, written whole or not at all: a
stopped computation goes on at the first shard that is missing, and processes
that make the same array at once do each other no harm. The name of the array's
folder holds a fingerprint of all that decides its content, so that nothing out
of date is ever read; `about.json` there says the same to people.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import time

from absl import logging
import numpy as np
import tqdm

import kdwsd
from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

_ABOUT = "about.json"

# Seconds.
_POLL_INTERVAL = 1.0
_NOTE_INTERVAL = 60.0


class CachedArray:
  """An array [num_images, ...] in a folder of its own."""

  def __init__(self, directory, record_set, kind, settings, *, shape, dtype):
    """Names the array; nothing is read or written but the shards' lengths.

    Args:
      directory: of the arrays of all kinds, splits and settings.
      record_set: the `records.RecordSet` whose images are the first axis.
      kind: what is kept, a word.
      settings: dict for JSON of all that decides the content.
      shape: of one image's part.
      dtype: NumPy's, structured or not.

    Raises:
      errors.InputError: the shards do not hold the images of their card.
    """
    self.kind, self.settings = kind, settings
    self.split = record_set.split
    self.shape, self.dtype = tuple(shape), np.dtype(dtype)
    self.directory = directory
    self.folder = os.path.join(
        directory, f"{self.split}-{kind}-{_fingerprint(settings)}")
    self.counts = [record_files.count(path) for path in record_set.paths]
    self.starts = np.cumsum([0, *self.counts])              # [num_shards + 1]
    if self.starts[-1] != record_set.num_images:
      card = records.card_path(record_set.directory, record_set.split)
      raise errors.InputError(
          f"{card}: expected {record_set.num_images} images in its shards. "
          f"Received: {self.starts[-1]}; convert the data again.")

  def fill(self, compute, *, about, num_workers=1, worker=0, progress=True):
    """Computes what is missing of this worker's part, waits for the others.

    Worker w of n takes the shards w, w + n, ...; all must see one folder. The
    wait ends with an error when no shard has come for as long as the longest
    one would take at a minute an image, but an hour at least.

    Args:
      compute: function of a shard's number that yields [*shape] for each of
        its images.
      about: dict for JSON that tells people what `settings` does not.
      num_workers: processes that fill the array.
      worker: which of them this is, from 0.
      progress: whether to show a progress bar.

    Raises:
      errors.InputError: the disk has no room for what is missing, the folder
        cannot be written, or other workers are late.
    """
    missing = self._missing(range(len(self.counts)), warn=True)
    self._name_others()
    if not missing:
      logging.info("Found whole: %s.", self.folder)
      return
    if not os.path.exists(self._about_path):
      files.write_json(self._about_path, {
          "kind": self.kind, "split": self.split,
          "num_images": int(self.starts[-1]), "shape_per_image": self.shape,
          "dtype": str(self.dtype), "tool_version": kdwsd.__version__,
          **about, "settings": self.settings})
    self._check_space(missing)
    mine = [shard for shard in missing if shard % num_workers == worker]
    with tqdm.tqdm(
        total=sum(self.counts[shard] for shard in mine), unit="image",
        desc=self.kind, disable=not progress,
        mininterval=0.5 if sys.stderr.isatty() else 60.0) as bar:
      for shard in mine:
        if self._is_whole(shard):  # By now: another process was faster.
          bar.update(self.counts[shard])
        else:
          self._write(shard, compute(shard), bar)
    self._wait([shard for shard in missing if shard not in mine])

  def read(self):
    """The whole array, [num_images, *shape]."""
    return np.concatenate([np.zeros([0, *self.shape], self.dtype)] + [
        np.load(self.path(shard), allow_pickle=False)
        for shard in range(len(self.counts))])

  def take(self, record_index, mirrored):
    """Reads rows, by memory map, of an array whose second axis is the mirror.

    Args:
      record_index: [B] int, places in the split.
      mirrored: [B] bool.

    Returns:
      [B, *shape[1:]].
    """
    rows = np.empty([len(record_index), *self.shape[1:]], self.dtype)
    shards = np.searchsorted(self.starts, record_index, "right") - 1  # [B]
    for row, (shard, index, flip) in enumerate(
        zip(shards, record_index, mirrored)):
      rows[row] = self._maps[shard][index - self.starts[shard], int(flip)]
    return rows

  def path(self, shard):
    """Path of one shard's file."""
    return os.path.join(
        self.folder, f"shard-{shard:05d}-of-{len(self.counts):05d}.npy")

  @property
  def _about_path(self):
    return os.path.join(self.folder, _ABOUT)

  @functools.cached_property
  def _maps(self):
    return [np.load(self.path(shard), mmap_mode="r", allow_pickle=False)
            if count else None for shard, count in enumerate(self.counts)]

  def _header(self, shard):
    """What NumPy writes before the numbers: a fact of shape and dtype."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        "descr": np.lib.format.dtype_to_descr(self.dtype),
        "fortran_order": False, "shape": (self.counts[shard], *self.shape)})
    return header.getvalue()

  def _num_bytes(self, shard):
    return self.counts[shard] * int(np.prod(self.shape)) * self.dtype.itemsize

  def _is_whole(self, shard):
    header = self._header(shard)
    try:
      with open(self.path(shard), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return (file.read(len(header)) == header
                and size == len(header) + self._num_bytes(shard))
    except OSError:
      return False

  def _missing(self, shards, warn=False):
    missing = [shard for shard in shards if not self._is_whole(shard)]
    for shard in missing:
      if warn and os.path.exists(self.path(shard)):
        logging.warning(
            "%s: expected %s of %s for each of %d images. Received: a file cut "
            "short, unreadable or of another shape; it is computed again.",
            self.path(shard), list(self.shape), self.dtype,
            self.counts[shard])
    return missing

  def _write(self, shard, rows, bar):
    path = self.path(shard)
    with files.atomic_path(path) as temporary:
      # Not through a memory map: a full disk would kill the process.
      with open(temporary, "wb") as file:
        file.write(self._header(shard))
        count = 0
        for row in rows:
          row = np.asarray(row, self.dtype)
          if row.shape != self.shape:
            raise ValueError(f"Invalid row of {self.kind}. Expected shape "
                             f"{self.shape}. Received: {row.shape}.")
          file.write(row.tobytes())
          count += 1
          bar.update(1)
      if count != self.counts[shard]:
        raise ValueError(f"Invalid rows of {self.kind}. Expected "
                         f"{self.counts[shard]}. Received: {count}.")

  def _wait(self, shards):
    """Waits until other workers have written these shards."""
    limit = max(3600.0, 60.0 * max(self.counts))
    last_came = last_note = time.monotonic()
    left = self._missing(shards)
    while left:
      time.sleep(_POLL_INTERVAL)
      before, left, now = left, self._missing(left), time.monotonic()
      if len(left) < len(before):
        last_came = now
      elif now - last_came > limit:
        raise errors.InputError(
            f"{self.folder}: expected the other workers to write their shards "
            f"here, in a directory that all of them share. Received: none for "
            f"{limit / 3600:.1f} hours, {len(left)} missing, first "
            f"{os.path.basename(self.path(left[0]))}.")
      if now - last_note > _NOTE_INTERVAL:
        last_note = now
        logging.info("Waiting for %d shards of other workers in %s.",
                     len(left), self.folder)

  def _check_space(self, missing):
    """Says how much disk it takes, before anything is computed."""
    needed = sum(self._num_bytes(shard) for shard in missing)
    whole = sum(self._num_bytes(shard) for shard in range(len(self.counts)))
    free = shutil.disk_usage(self.folder).free
    if needed > free:
      raise errors.InputError(
          f"{self.folder}: expected {_gigabytes(needed)} of free disk. "
          f"Received: {_gigabytes(free)}; free some space, or keep less.")
    logging.info("%s of %s takes %s in %s; %s to compute, %s free.",
                 self.kind, self.split, _gigabytes(whole), self.folder,
                 _gigabytes(needed), _gigabytes(free))

  def _name_others(self):
    """One line on what was made with other settings and may be of no use."""
    pattern = re.compile(
        re.escape(f"{self.split}-{self.kind}-") + "[0-9a-f]{16}")
    with contextlib.suppress(OSError):  # No directory yet; or one just gone.
      others = [
          os.path.join(self.directory, name)
          for name in sorted(os.listdir(self.directory))
          if pattern.fullmatch(name) and name != os.path.basename(self.folder)]
      size = sum(entry.stat().st_size for path in others
                 for entry in os.scandir(path))
      if others:
        logging.info(
            "Of another teacher, other records or settings, and left alone; "
            "where no run needs them, free %s with: rm -r %s",
            _gigabytes(size), shlex.join(others))


def _fingerprint(settings):
  return hashlib.sha256(
      json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _gigabytes(num_bytes):
  return f"{num_bytes / 1e9:.3f} GB"
