"""Progress of a conversion, from which the same command resumes it.

A folder `.SPLIT.progress` beside the shards holds the settings that decide
their bytes (`settings.json`) and, for each finished shard, its counts. It is
locked while a conversion runs; a process that dies leaves it unlocked. It is
removed when the card is written.

A finished split stays as it is when the same command runs with other versions
of the libraries. An unfinished conversion must not be resumed with them,
because all shards of a split must be made by the same versions.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import logging
import os
import re
import shutil

from kdwsd import errors
from kdwsd import files
from kdwsd.data import cards
from kdwsd.data import record_files

_SHARD = r"-\d{5}-of-\d{5}\.tfrecord"


def fingerprint(settings):
  """Hash of the settings of a conversion, as its card holds it."""
  return hashlib.sha256(
      json.dumps(settings, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def counts_path(folder, index):
  """Path of the counts of a shard in the folder of the progress."""
  return os.path.join(folder, f"shard-{index:05d}.json")


def write_counts(folder, index, counts, skipped):
  """Stores the counts of a shard that is in place.

  Args:
    folder: of the progress.
    index: number of the shard.
    counts: its `cards.Counts`.
    skipped: a line for each skipped item.
  """
  files.write_json(counts_path(folder, index),
                   {"counts": counts.to_json(), "skipped": skipped})


class Notes:
  """Progress of one conversion; a context manager."""

  def __init__(self, output, split, settings):
    """Names the conversion; nothing is written before the context is entered.

    Args:
      output: directory of the shards.
      split: name of the split.
      settings: dict of all that decides the bytes of the shards.
    """
    self.output, self.split = output, split
    self.settings, self.fingerprint = settings, fingerprint(settings)
    self.folder = os.path.join(output, f".{split}.progress")
    self.card = None
    self._lock = None

  def __enter__(self):
    try:
      os.makedirs(self.folder, exist_ok=True)
      self._lock = open(os.path.join(self.folder, "lock"), "w")
    except OSError as error:
      raise errors.InputError(
          f"{self.output}: expected a directory that can be written. "
          f"Received: {error.strerror}.") from error
    try:
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      self._lock.close()
      raise errors.InputError(
          f"{self.output}: expected no other conversion of {self.split}. "
          "Received: one that is running.") from error
    try:
      self._remove_partial_files()
      self._check_settings()
    except BaseException:
      self.__exit__()
      raise
    return self

  def _check_settings(self):
    """Reads the card, or compares the settings with those of the progress."""
    card_path = record_files.card_path(self.output, self.split)
    if os.path.exists(card_path):
      card = files.read_json(card_path)
      card = card if isinstance(card, dict) else {}
      if card.get("fingerprint") == fingerprint(
          {**self.settings, "libraries": card.get("libraries")}):
        if card["fingerprint"] != self.fingerprint:
          logging.info("%s: converted with other libraries, %s; kept.",
                       card_path, ", ".join(
                           f"{name} {version}" for name, version in
                           card["libraries"].items()))
      else:
        differing = [key for key in ("tool_version", "libraries", "source",
                                     "classes", "num_shards", "shuffle_seed",
                                     "max_pixels")
                     if card.get(key) != _as_json(self.settings)[key]]
        raise errors.InputError(
            f"{card_path}: expected no split of this name, or the same one. "
            "Received: the card of a conversion with other "
            f"{', '.join(differing) or 'images, labels or proposals'}; choose "
            "another --output or --split, or remove the card.")
      self.card = card
      return
    path = os.path.join(self.folder, "settings.json")
    if os.path.exists(path) and self._counts_paths():
      before, now = files.read_json(path), _as_json(self.settings)
      differing = [key for key in now if before.get(key) != now[key]]
      if differing:
        key = differing[0]
        raise errors.InputError(
            f"{self.output}: expected the settings of the unfinished "
            f"conversion of {self.split}, to resume it; or remove "
            f"{self.folder} to start again. Received: other "
            f"{', '.join(differing)}; {key} was {_short(before.get(key))}, "
            f"now {_short(now.get(key))}.")
      return
    files.write_json(path, self.settings)
    for name in os.listdir(self.output):  # Of a run without progress.
      if re.fullmatch(re.escape(self.split) + _SHARD, name):
        os.remove(os.path.join(self.output, name))

  def _remove_partial_files(self):
    """Removes files that a killed run left half-written."""
    ours = re.compile(
        r"\.partial-[^-]*-" + re.escape(self.split)
        + rf"({_SHARD}|\.json|\.skipped\.txt)")
    for name in os.listdir(self.output):
      if ours.fullmatch(name):
        os.remove(os.path.join(self.output, name))
    for name in os.listdir(self.folder):
      if name.startswith(".partial-"):
        os.remove(os.path.join(self.folder, name))

  def __exit__(self, *_):
    """Unlocks, and removes the folder unless it holds progress."""
    if self.card is not None or not self._counts_paths():
      shutil.rmtree(self.folder, ignore_errors=True)
      with contextlib.suppress(OSError):
        os.rmdir(self.output)  # Only an empty one goes.
    self._lock.close()

  def discard(self, num_shards):
    """Removes shards and counts, where there is nothing worth resuming."""
    for index in range(num_shards):
      for path in (self._counts_path(index), record_files.shard_path(
          self.output, self.split, index, num_shards)):
        with contextlib.suppress(FileNotFoundError):
          os.remove(path)

  def _counts_paths(self):
    return glob.glob(os.path.join(glob.escape(self.folder), "shard-*.json"))

  def _counts_path(self, index):
    return counts_path(self.folder, index)

  def is_done(self, index, num_shards):
    """Whether a shard is in place and counted."""
    path = record_files.shard_path(self.output, self.split, index, num_shards)
    return os.path.exists(path) and (
        self.card is not None or os.path.exists(self._counts_path(index)))

  def finish(self, index, counts, skipped):
    """Stores the counts of a shard that is in place."""
    if self.card is None:
      write_counts(self.folder, index, counts, skipped)

  def read(self, index):
    """Returns the (counts, skipped) that `finish` stored."""
    content = files.read_json(self._counts_path(index))
    return cards.Counts.from_json(content["counts"]), content["skipped"]


def _as_json(content):
  """A dict as JSON gives it back; tuples become lists."""
  return json.loads(json.dumps(content))


def _short(value):
  text = json.dumps(value)
  return text if len(text) <= 200 else text[:200] + "..."
