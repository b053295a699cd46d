"""Turning a source into shards of records, in parallel and resumably.

While a split is converted, a folder `.SPLIT.progress` beside the shards holds
what decides their bytes (`settings.json`) and, once a shard is in place, what
was counted in it. The card is written last, and the folder goes. Whenever the
process dies, the same command goes on at the first missing shard and ends with
the same bytes, whatever the number of workers.
"""

import collections
import contextlib
import fcntl
import glob
import hashlib
import json
import logging
import math
import multiprocessing
import os
import shutil
import sys
from concurrent import futures
from concurrent.futures import process

import numpy as np
import tensorflow as tf
import tqdm

from kdwsd import errors
from kdwsd import files
from kdwsd.data import cards
from kdwsd.data import images
from kdwsd.data import preparation
from kdwsd.data import records

_IMAGES_PER_SHARD = 128
_MOST_SHARDS = 256
_IN_FLIGHT = 8  # Images a worker has waiting; bounds the memory.


def convert(source, *, output, split, proposal_settings, problems,
            num_shards=0, num_workers=1, shuffle_seed=0,
            max_pixels=images.DEFAULT_MAX_PIXELS, progress=True):
  """Converts a split and writes its card.

  Args:
    source: a `sources.Source`.
    output: directory of the shards; made if missing.
    split: name of the split, the beginning of the shards' names.
    proposal_settings: a `proposals.Settings`.
    problems: the `sources.Problems` the source was read with; it decides what
      happens to bad images, and what it has collected is listed with them.
    num_shards: 0 for one shard every 128 images, at most 256.
    num_workers: processes that decode and propose; 0 for this process alone.
    shuffle_seed: of the order of the records, which training shuffles only
      within a buffer; negative keeps the source's order.
    max_pixels: larger images are refused.
    progress: whether to show a progress bar on stderr.

  Returns:
    The card, a dict; see `cards`.

  Raises:
    errors.InputError: a bad image unless it is to be skipped, nothing left to
      convert, another conversion's files in the way, or no space left.
  """
  if not split or split.startswith(".") or os.path.basename(split) != split:
    raise errors.InputError(
        f"--split: expected a name without folders. Received: {split!r}.")
  if num_shards < 0 or num_workers < 0:
    raise errors.InputError(
        "--num_shards and --workers: expected 0 or more. Received: "
        f"{num_shards} and {num_workers}.")
  items = _present_items(source.items, problems)
  if shuffle_seed >= 0:
    order = np.random.RandomState(shuffle_seed % 2**32).permutation(len(items))
    items = [items[i] for i in order]
  num_shards = num_shards or min(
      max(1, math.ceil(len(items) / _IMAGES_PER_SHARD)), _MOST_SHARDS)
  if num_shards > len(items):
    raise errors.InputError(
        f"--num_shards: expected at most one for each of {len(items)} images. "
        f"Received: {num_shards}.")
  settings = {
      "format_version": records.FORMAT_VERSION, **cards.versions(),
      "source": source.description, "classes": list(source.classes),
      "num_images": len(items), "images_and_labels": _digest(items),
      "proposals": _describe(proposal_settings), "num_shards": num_shards,
      "shuffle_seed": shuffle_seed, "max_pixels": max_pixels}
  fingerprint = hashlib.sha256(
      json.dumps(settings, sort_keys=True).encode("utf-8")).hexdigest()[:16]
  _check_neighbours(output, split, source.classes)
  with _Progress(output, split, settings, fingerprint) as state:
    edges = np.linspace(0, len(items), num_shards + 1).astype(int)
    shards = [items[a:b] for a, b in zip(edges[:-1], edges[1:])]
    todo = [i for i in range(num_shards) if not state.is_done(i, num_shards)]
    work = [item for i in todo for item in shards[i]]
    if len(todo) < num_shards and work:
      logging.info("%s: %d of %d shards are there; going on.", split,
                   num_shards - len(todo), num_shards)
    bar = tqdm.tqdm(
        total=len(items), initial=len(items) - len(work), desc=split,
        unit=" images", smoothing=0.05,
        mininterval=0.5 if sys.stderr.isatty() else 30,
        disable=not (progress and work))
    with bar, _prepared(
        work, proposal_settings, max_pixels, num_workers) as results:
      for index in todo:
        counts, skipped = _write_shard(
            records.shard_path(output, split, index, num_shards),
            shards[index], results, bar, len(source.classes), problems)
        state.finish(index, counts, skipped)
    if state.card is None:
      state.card = _finish(state, source, problems, split, {
          "num_shards": num_shards, "proposal_settings": proposal_settings,
          "shuffle_seed": shuffle_seed, "max_pixels": max_pixels})
  return state.card


def _present_items(items, problems):
  """Items whose file is there and not empty, each image id once."""
  good, seen = [], {}
  for item in items:
    wrong = images.missing(item.image_path)
    try:
      if wrong:
        raise errors.InputError(
            f"{item.where}: {item.image_path}: expected an image file. "
            f"Received: {wrong}.")
      if item.image_id in seen:
        raise errors.InputError(
            f"{item.where}: expected every image once. Received: "
            f"{item.image_id}, also at {seen[item.image_id]}.")
      seen[item.image_id] = item.where
      good.append(item)
    except errors.InputError as error:
      problems.add(error)
  if not good:
    raise errors.InputError(
        f"expected at least one image to convert. Received: none of "
        f"{len(problems.messages)} listed can be used"
        + (f", first {problems.messages[0]}" if problems.messages else "."))
  return good


def _digest(items):
  """A hash of everything known of the items but their folder and pixels."""
  digest = hashlib.sha256()
  for item in items:
    objects = item.objects
    line = item.proposals
    digest.update(repr((
        item.image_id, os.path.basename(item.image_path), item.label_ids,
        item.unknown_label_ids,
        objects and [objects.boxes.tolist(), objects.class_ids.tolist(),
                     objects.difficult.tolist(), objects.crowd.tolist(),
                     objects.frame],
        line and (line.offset, line.frame))).encode("utf-8"))
  return digest.hexdigest()


def _describe(settings):
  described = dict(settings.as_dict())
  for name in ("file", "edge_model"):
    path = getattr(settings, name, None)
    if path and os.path.isfile(path):
      described[name + "_bytes"] = os.path.getsize(path)
  return described


def _check_neighbours(output, split, classes):
  """Splits that lie together must agree on what label 0 means."""
  for path in sorted(glob.glob(os.path.join(glob.escape(output), "*.json"))):
    if path == records.card_path(output, split):
      continue
    with contextlib.suppress(errors.InputError):
      card = files.read_json(path)
      there = card.get("classes") if isinstance(card, dict) else None
      if isinstance(there, list) and there != list(classes):
        problem = path, there
        break
  else:
    return
  path, there = problem
  raise errors.InputError(
      f"{output}: expected the {len(there)} classes of {path}; give them as "
      f"--classes={path}, or choose another --output. Received: "
      f"{len(classes)} classes, {', '.join(classes[:8])}, ...")


class _Progress:
  """What is known of a conversion that has not ended; a context manager."""

  def __init__(self, output, split, settings, fingerprint):
    self.output, self.split = output, split
    self.settings, self.fingerprint = settings, fingerprint
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
          f"{self.output}: expected to be alone. Received: another conversion "
          f"of {self.split} that is running.") from error
    try:
      self._open()
    except BaseException:
      self._leave()
      raise
    return self

  def _open(self):
    for folder, pattern in ((self.output, f".partial-*-{self.split}[-.]*"),
                            (self.folder, ".partial-*")):
      for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
        os.remove(path)  # Of a run that was killed.
    card_path = records.card_path(self.output, self.split)
    if os.path.exists(card_path):
      card = files.read_json(card_path)
      if not isinstance(card, dict) or (
          card.get("fingerprint") != self.fingerprint):
        raise errors.InputError(
            f"{card_path}: expected no split of this name, or the same one. "
            "Received: the card of a conversion of other data or with other "
            "settings; choose another --output or --split, or remove it.")
      self.card = card
      return
    path = os.path.join(self.folder, "settings.json")
    if not os.path.exists(path):
      files.write_json(path, self.settings)
      return
    before = files.read_json(path)
    now = json.loads(json.dumps(self.settings))
    if before != now:
      differing = [key for key in now if before.get(key) != now[key]]
      key = differing[0] if differing else "settings"
      raise errors.InputError(
          f"{self.output}: expected to go on with the unfinished conversion of "
          f"{self.split}, with the same settings, or that {self.folder} is "
          f"removed. Received: other {', '.join(differing)}; before, {key} was "
          f"{_short(before.get(key))}, now {_short(now.get(key))}.")

  def __exit__(self, kind, error, trace):
    self._leave()

  def _leave(self):
    """Unlocks, and removes the folder unless it holds progress."""
    counts = os.path.join(glob.escape(self.folder), "shard-*.json")
    if self.card is not None or not glob.glob(counts):
      shutil.rmtree(self.folder, ignore_errors=True)
      with contextlib.suppress(OSError):
        os.rmdir(self.output)  # Only an empty one goes.
    self._lock.close()

  def _counts_path(self, index):
    return os.path.join(self.folder, f"shard-{index:05d}.json")

  def is_done(self, index, num_shards):
    """Whether a shard is in place and counted."""
    path = records.shard_path(self.output, self.split, index, num_shards)
    return os.path.exists(path) and (
        self.card is not None or os.path.exists(self._counts_path(index)))

  def finish(self, index, counts, skipped):
    """Notes that a shard is in place."""
    if self.card is None:
      files.write_json(self._counts_path(index),
                       {"counts": counts.to_json(), "skipped": skipped})

  def read(self, index):
    """Gives what `finish` was given."""
    content = files.read_json(self._counts_path(index))
    return cards.Counts.from_json(content["counts"]), content["skipped"]


@contextlib.contextmanager
def _prepared(items, proposal_settings, max_pixels, num_workers):
  """Yields an iterator over what `preparation` makes of the items, in order."""
  arguments = proposal_settings, max_pixels
  if not items:
    yield iter(())
  elif not num_workers:
    preparation.start_worker(*arguments)
    yield map(preparation.prepare_here, items)
  else:
    # Forking a process that has TensorFlow's threads would hang.
    pool = futures.ProcessPoolExecutor(
        min(num_workers, len(items)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=preparation.start_worker, initargs=arguments)
    try:
      yield _in_order(pool, items, num_workers * _IN_FLIGHT)
    except process.BrokenProcessPool as error:
      raise errors.InputError(
          "--workers: expected the worker processes to live. Received: one was "
          "killed, likely for its memory; try fewer --workers or a smaller "
          "--max_pixels, then the same command goes on.") from error
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool, items, in_flight):
  waiting = collections.deque()
  for item in items:
    waiting.append(pool.submit(preparation.prepare_here, item))
    if len(waiting) >= in_flight:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


def _write_shard(path, items, results, bar, num_classes, problems):
  """Writes a shard; returns its `Counts` and what was skipped."""
  counts, skipped = cards.Counts.zeros(num_classes), []
  try:
    with files.atomic_path(path) as temporary:
      with tf.io.TFRecordWriter(temporary) as writer:
        for item in items:
          prepared = next(results)
          bar.update()
          if isinstance(prepared, errors.InputError):
            problems.add(prepared)
            skipped.append(" ".join(str(prepared).split()))
            continue
          counts.add_image(item, prepared)
          writer.write(records.serialize(_record(item, prepared)))
  except tf.errors.OpError as error:
    raise errors.InputError(
        f"{path}: expected to write the file. Received: {error.message}."
    ) from error
  return counts, skipped


def _record(item, prepared):
  truth = None
  if item.objects is not None:
    truth = records.Truth(
        boxes=prepared.truth_boxes, class_ids=item.objects.class_ids,
        difficult=item.objects.difficult, crowd=item.objects.crowd)
  return records.Record(
      image_id=item.image_id, encoded=prepared.encoded,
      height=prepared.height, width=prepared.width,
      label_ids=np.array(item.label_ids, np.int64),
      unknown_label_ids=np.array(item.unknown_label_ids, np.int64),
      proposal_boxes=prepared.boxes, proposal_scores=prepared.scores,
      truth=truth)


def _finish(state, source, problems, split, arguments):
  """Writes the list of skipped items and the card, which it returns."""
  total = cards.Counts.zeros(len(source.classes))
  in_shards = []
  for index in range(arguments["num_shards"]):
    counts, skipped = state.read(index)
    total.add(counts)
    in_shards += skipped
  # What the source skipped; images were skipped in this run or in one before.
  skipped = [message for message in problems.messages
             if message not in set(in_shards)] + in_shards
  if not total.num_images:
    raise errors.InputError(
        f"expected at least one image to convert. Received: {len(skipped)} "
        f"skipped, first {skipped[0]}")
  skipped_list = f"{split}.skipped.txt" if skipped else None
  if skipped:
    files.write_text(os.path.join(state.output, skipped_list),
                     "".join(message + "\n" for message in skipped))
  card = cards.make(
      source, split=split, counts=total, skipped=len(skipped),
      skipped_list=skipped_list, fingerprint=state.fingerprint, **arguments)
  files.write_json(records.card_path(state.output, split), card)
  return card


def _short(value):
  text = json.dumps(value)
  return text if len(text) <= 200 else text[:200] + "..."
