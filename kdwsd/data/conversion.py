"""Converts a source into shards of records, in parallel and resumably.

Every shard is written atomically, and the card last; `progress_notes` stores
the progress in between. After a crash, the same command resumes at the first
missing shard. The resulting bytes are the same for any number of workers.
"""

import collections
from concurrent import futures
from concurrent.futures import process
import contextlib
import glob
import hashlib
import logging
import math
import multiprocessing
import os
import sys

import numpy as np
import tensorflow as tf
import tqdm

from kdwsd import errors
from kdwsd import files
from kdwsd import system_errors
from kdwsd.data import cards
from kdwsd.data import image_listing
from kdwsd.data import images
from kdwsd.data import preparation
from kdwsd.data import progress_notes
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import texts

_IMAGES_PER_SHARD = 128
_MOST_SHARDS = 256
_IN_FLIGHT = 8  # Images queued for each worker; bounds the memory.


def convert(source, *, output, split, proposal_settings, problems,
            num_shards=0, num_workers=1, shuffle_seed=0,
            max_pixels=images.DEFAULT_MAX_PIXELS, progress=True):
  """Converts a split and writes its card.

  Args:
    source: a `sources.Source`.
    output: directory of the shards; made if missing.
    split: name of the split, the beginning of the shards' names.
    proposal_settings: a `proposals.Settings`.
    problems: the `sources.Problems` that the source was read with; it decides
      what happens to bad images.
    num_shards: 0 for one shard for every 128 images, at most 256.
    num_workers: processes that decode images and compute proposals; 0 for this
      process alone.
    shuffle_seed: seed of the order of the records, which are shuffled because
      training shuffles only within a buffer; a negative seed keeps the source's
      order.
    max_pixels: larger images are refused.
    progress: whether to show a progress bar on stderr.

  Returns:
    The card, a dict; see `cards`.

  Raises:
    errors.InputError: a bad image that is not to be skipped, no image left to
      convert, files of another conversion in `output`, or a full disk.
  """
  if not split or split.startswith(".") or os.path.basename(split) != split:
    raise errors.InputError(
        f"--split: expected a name without folders. Received: {split!r}.")
  if num_shards < 0 or num_workers < 0:
    raise errors.InputError(
        "--num_shards and --workers: expected 0 or more. Received: "
        f"{num_shards} and {num_workers}.")
  items = image_listing.present(source, problems)
  num_shards = num_shards or min(
      max(1, math.ceil(len(items) / _IMAGES_PER_SHARD)), _MOST_SHARDS)
  if num_shards > len(items):
    raise errors.InputError(
        f"--num_shards: expected at most one for each of {len(items)} images. "
        f"Received: {num_shards}.")
  if shuffle_seed >= 0:
    order = np.random.RandomState(shuffle_seed % 2**32).permutation(len(items))
    items = [items[i] for i in order]
  settings = {
      "format_version": records.FORMAT_VERSION, **cards.versions(),
      "source": source.description, "classes": list(source.classes),
      "num_images": len(items), "images_and_labels": _digest(items),
      "proposals": _describe(proposal_settings), "num_shards": num_shards,
      "shuffle_seed": shuffle_seed, "max_pixels": max_pixels}
  _check_neighbours(output, split, source.classes)
  with progress_notes.Notes(output, split, settings) as notes:
    edges = np.linspace(0, len(items), num_shards + 1).astype(int)
    shards = [items[a:b] for a, b in zip(edges[:-1], edges[1:])]
    _write_missing_shards(
        shards, notes, len(source.classes), problems, proposal_settings,
        max_pixels, num_workers, progress)
    if notes.card is None:
      counts, skipped = _add_up(notes, num_shards, source, problems)
      skipped_list = f"{split}.skipped.txt" if skipped else None
      if skipped:
        files.write_text(os.path.join(output, skipped_list),
                         "".join(message + "\n" for message in skipped))
      card = cards.make(
          source, split=split, counts=counts, num_shards=num_shards,
          proposal_settings=proposal_settings, skipped=len(skipped),
          skipped_list=skipped_list, shuffle_seed=shuffle_seed,
          max_pixels=max_pixels, fingerprint=notes.fingerprint,
          shard_bytes=[os.path.getsize(record_files.shard_path(
              output, split, i, num_shards)) for i in range(num_shards)])
      files.write_json(record_files.card_path(output, split), card)
      notes.card = card
  return notes.card


def _digest(items):
  """Hash of the items without their folder and pixels."""
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
  """Checks that the splits of one folder have the same classes."""
  for path in sorted(glob.glob(os.path.join(glob.escape(output), "*.json"))):
    if path == record_files.card_path(output, split):
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
      f"{texts.flag('classes', path)}, or choose another --output. Received: "
      f"{len(classes)} classes, {', '.join(classes[:8])}, ...")


def _write_missing_shards(shards, notes, num_classes, problems,
                          proposal_settings, max_pixels, num_workers, progress):
  """Writes the shards that are not in place; `shards` are lists of items."""
  todo = [i for i in range(len(shards)) if not notes.is_done(i, len(shards))]
  work = [item for i in todo for item in shards[i]]
  total = sum(map(len, shards))
  if len(todo) < len(shards) and work:
    logging.info("%s: %d of %d shards exist; resuming.", notes.split,
                 len(shards) - len(todo), len(shards))
  bar = tqdm.tqdm(
      total=total, initial=total - len(work), desc=notes.split,
      unit="img", smoothing=0.05,
      mininterval=0.5 if sys.stderr.isatty() else 30,
      disable=not (progress and work))
  with bar, _prepared(
      work, proposal_settings, max_pixels, num_workers) as results:
    for index in todo:
      path = record_files.shard_path(
          notes.output, notes.split, index, len(shards))
      notes.finish(index, *_write_shard(
          path, shards[index], results, bar, num_classes, problems))


@contextlib.contextmanager
def _prepared(items, proposal_settings, max_pixels, num_workers):
  """Yields an iterator over the `Prepared` of the items, in order."""
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
          "--workers: expected the worker processes to run to their end. "
          "Received: one was killed, probably because memory ran out; try "
          "fewer --workers or a smaller --max_pixels; the same command then "
          "resumes.") from error
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
        f"{path}: expected to write the file. Received: "
        f"{system_errors.first_line(error)}."
    ) from error
  return counts, skipped


def _record(item, prepared):
  truth = None
  if prepared.truth is not None and prepared.truth.boxes is not None:
    objects, kept = item.objects, prepared.truth.kept
    truth = records.Truth(
        boxes=prepared.truth.boxes, class_ids=objects.class_ids[kept],
        difficult=objects.difficult[kept], crowd=objects.crowd[kept])
  return records.Record(
      image_id=item.image_id, encoded=prepared.encoded,
      height=prepared.height, width=prepared.width,
      label_ids=np.array(item.label_ids, np.int64),
      unknown_label_ids=np.array(item.unknown_label_ids, np.int64),
      proposal_boxes=prepared.boxes, proposal_scores=prepared.scores,
      truth=truth)


def _add_up(notes, num_shards, source, problems):
  """Returns the `Counts` of all shards and all that was skipped."""
  total = cards.Counts.zeros(len(source.classes))
  in_shards = []
  for index in range(num_shards):
    counts, skipped = notes.read(index)
    total.add(counts)
    in_shards += skipped
  # First what the source skipped, then the images, skipped in any run.
  known = set(in_shards)
  skipped = [m for m in problems.messages if m not in known] + in_shards
  if not total.num_images:
    notes.discard(num_shards)
    raise errors.InputError(
        f"expected at least one image to convert. Received: {len(skipped)} "
        f"skipped, first {skipped[0]}")
  return total, skipped
