"""Converts a source into shards of records, in parallel and resumably.

Every shard is written atomically, and the card last; `progress_notes` stores
the progress in between. After a crash, the same command resumes at the first
missing shard. The resulting bytes are the same for any number of workers and
for every runner (see `runners`).
"""

import contextlib
import functools
import hashlib
import logging
import math
import os
import sys

import numpy as np
import tqdm

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.data import cards
from kdwsd.data import image_listing
from kdwsd.data import images
from kdwsd.data import progress_notes
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import runners
from kdwsd.data import texts
from kdwsd.data.runners import local

_IMAGES_PER_SHARD = 128
_MOST_SHARDS = 256


def convert(source, *, split, problems, **options):
  """Converts one split, as `convert_all` does.

  Args:
    source: a `sources.Source`.
    split: name of the split, the beginning of the shards' names.
    problems: the `sources.Problems` that the source was read with.
    **options: see `convert_all`.

  Returns:
    The card, a dict; see `cards`.
  """
  (_, card), = convert_all({split: (source, problems)}, **options)
  return card


def convert_all(parts, *, output, proposal_settings, num_shards=0,
                num_workers=1, shuffle_seed=0,
                max_pixels=images.DEFAULT_MAX_PIXELS, progress=True,
                runner=None):
  """Converts splits, one after the other, and writes their cards.

  What speaks against any of them is told before the first is converted.

  Args:
    parts: {split: (source, problems)}: the name of the split, the beginning of
      the shards' names; a `sources.Source`; and the `sources.Problems` that it
      was read with, which decides what happens to bad images.
    output: directory of the shards; made if missing.
    proposal_settings: a `proposals.Settings`.
    num_shards: 0 for one shard for every 128 images, at most 256.
    num_workers: processes of the local runner; 0 for this process alone.
    shuffle_seed: seed of the order of the records, which are shuffled because
      training shuffles only within a buffer; a negative seed keeps the source's
      order.
    max_pixels: larger images are refused.
    progress: whether to show a progress bar on stderr.
    runner: what writes the shards, see `runners`; None for the local runner.

  Yields:
    (split, card), when the split is there; see `cards`.

  Raises:
    errors.InputError: a bad image that is not to be skipped, no image left to
      convert, files of another conversion in `output`, or a full disk.
  """
  if num_shards < 0 or num_workers < 0:
    raise errors.InputError(
        "--num_shards and --workers: expected 0 or more. Received: "
        f"{num_shards} and {num_workers}.")
  made = {"proposal_settings": proposal_settings,
          "shuffle_seed": shuffle_seed, "max_pixels": max_pixels}
  runner = runner or functools.partial(local.run, num_workers=num_workers)
  with contextlib.ExitStack() as stack:
    begun = []
    for split, (source, problems) in parts.items():
      notes, shards = _plan(source, problems, output=output, split=split,
                            num_shards=num_shards, **made)
      held = stack.enter_context(contextlib.ExitStack())
      held.enter_context(notes)
      begun.append((held, notes, shards, source, problems))
    for held, notes, shards, source, problems in begun:
      with held:
        _convert(notes, shards, source, problems, runner, progress, made)
      yield notes.split, notes.card


def _plan(source, problems, *, output, split, num_shards, proposal_settings,
          shuffle_seed, max_pixels):
  """Returns the `progress_notes.Notes` of a split and the items of shards."""
  if not split or split.startswith(".") or os.path.basename(split) != split:
    raise errors.InputError(
        "--split and --validation_split: expected names without folders. "
        f"Received: {split!r}.")
  items = image_listing.present(source, problems)
  num_shards = num_shards or min(
      max(1, math.ceil(len(items) / _IMAGES_PER_SHARD)), _MOST_SHARDS)
  if num_shards > len(items):
    raise errors.InputError(
        f"--num_shards: expected at most one for each of {len(items)} images "
        f"of split {split}. Received: {num_shards}.")
  if shuffle_seed >= 0:
    order = np.random.RandomState(shuffle_seed % 2**32).permutation(len(items))
    items = [items[i] for i in order]
  _check_neighbours(output, split, source.classes)
  edges = np.linspace(0, len(items), num_shards + 1).astype(int)
  return progress_notes.Notes(output, split, {
      "format_version": records.FORMAT_VERSION, **cards.versions(),
      "source": source.description, "classes": list(source.classes),
      "num_images": len(items), "images_and_labels": _digest(items),
      "proposals": _describe(proposal_settings), "num_shards": num_shards,
      "shuffle_seed": shuffle_seed, "max_pixels": max_pixels,
  }), [items[a:b] for a, b in zip(edges[:-1], edges[1:])]


def _convert(notes, shards, source, problems, runner, progress, made):
  """Converts a planned split, unless that is done, and sets `notes.card`."""
  output, split, num_shards = notes.output, notes.split, len(shards)
  _write_missing_shards(runners.Job(
      notes=notes, shards=shards, num_classes=len(source.classes),
      todo=[i for i in range(num_shards) if not notes.is_done(i, num_shards)],
      problems=problems, proposal_settings=made["proposal_settings"],
      max_pixels=made["max_pixels"]), runner, progress)
  if notes.card is not None:
    return
  counts, skipped = _add_up(notes, num_shards, source, problems)
  skipped_list = f"{split}.skipped.txt" if skipped else None
  if skipped:
    files.write_text(os.path.join(output, skipped_list),
                     "".join(message + "\n" for message in skipped))
  card = cards.make(
      source, split=split, counts=counts, num_shards=num_shards,
      skipped=len(skipped), skipped_list=skipped_list,
      fingerprint=notes.fingerprint, shard_bytes=[
          places.getsize(record_files.shard_path(output, split, i, num_shards))
          for i in range(num_shards)], **made)
  files.write_json(record_files.card_path(output, split), card)
  notes.card = card


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
    if path and places.isfile(path):
      described[name + "_bytes"] = places.getsize(path)
  return described


def _check_neighbours(output, split, classes):
  """Checks that the splits of one folder have the same classes."""
  names = []
  with contextlib.suppress(OSError):
    names = places.listdir(output)
  for path in sorted(os.path.join(output, name) for name in names
                     if name.endswith(".json") and not name.startswith(".")):
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


def _write_missing_shards(job, runner, progress):
  """Runs a `runners.Job` and shows its progress."""
  total = sum(map(len, job.shards))
  left = sum(len(job.shards[i]) for i in job.todo)
  if not left:
    return
  if left < total:
    logging.info("%s: %d of %d shards exist; resuming.", job.notes.split,
                 len(job.shards) - len(job.todo), len(job.shards))
  with tqdm.tqdm(
      total=total, initial=total - left, desc=job.notes.split, unit="img",
      smoothing=0.05, mininterval=0.5 if sys.stderr.isatty() else 30,
      disable=not progress) as bar:
    runner(job, bar)


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
        f"{notes.split}: expected at least one image to convert. Received: "
        f"{len(skipped)} skipped, first {skipped[0]}")
  return total, skipped
