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
import hashlib
import json
import logging
import os
import re

from kdwsd import errors
from kdwsd import files
from kdwsd import places
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
    self._lock = self._take_lock()
    try:
      self._remove_partial_files()
      self._check_settings()
    except BaseException:
      self.__exit__()
      raise
    return self

  def _take_lock(self):
    """Makes the folder and locks it; returns an open file or so."""
    try:
      places.makedirs(self.folder)
      if places.is_remote(self.folder):
        logging.info(
            "%s: this file system has no locks; do not run two conversions of "
            "%s at once. Equal ones would write the same bytes twice.",
            self.output, self.split)
        return contextlib.ExitStack()
      # Held until `__exit__`.
      lock = open(  # noqa: SIM115
          os.path.join(self.folder, "lock"), "w")
    except OSError as error:
      raise errors.InputError(
          f"{self.output}: expected a directory that can be written. "
          f"Received: {error.strerror}.") from error
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      lock.close()
      raise errors.InputError(
          f"{self.output}: expected no other conversion of {self.split}. "
          "Received: one that is running.") from error
    return lock

  def _check_settings(self):
    """Reads the card, or compares the settings with those of the progress."""
    card_path = record_files.card_path(self.output, self.split)
    if places.exists(card_path):
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
    if places.exists(path) and self._counts_paths():
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
    for name in places.listdir(self.output):  # Of a run without progress.
      if re.fullmatch(re.escape(self.split) + _SHARD, name):
        places.remove(os.path.join(self.output, name))

  def _remove_partial_files(self):
    """Removes files that a killed run left half-written."""
    ours = re.compile(
        r"\.partial-[^-]*-" + re.escape(self.split)
        + rf"({_SHARD}|\.json|\.skipped\.txt)")
    for name in places.listdir(self.output):
      if ours.fullmatch(name):
        places.remove(os.path.join(self.output, name))
    for name in places.listdir(self.folder):
      if name.startswith(".partial-"):
        places.remove(os.path.join(self.folder, name))

  def __exit__(self, *_):
    """Unlocks, and removes the folder unless it holds progress."""
    if self.card is not None or not self._counts_paths():
      places.rmtree(self.folder)
      if not places.is_remote(self.output):
        with contextlib.suppress(OSError):
          os.rmdir(self.output)  # Only an empty one goes.
    self._lock.close()

  def discard(self, num_shards):
    """Removes shards and counts, where there is nothing worth resuming."""
    for index in range(num_shards):
      for path in (self._counts_path(index), record_files.shard_path(
          self.output, self.split, index, num_shards)):
        with contextlib.suppress(FileNotFoundError):
          places.remove(path)

  def _counts_paths(self):
    try:
      return [name for name in places.listdir(self.folder)
              if re.fullmatch(r"shard-.*\.json", name)]
    except OSError:
      return []

  def _counts_path(self, index):
    return counts_path(self.folder, index)

  def is_done(self, index, num_shards):
    """Whether a shard is in place and counted."""
    path = record_files.shard_path(self.output, self.split, index, num_shards)
    return places.exists(path) and (
        self.card is not None or places.exists(self._counts_path(index)))

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
