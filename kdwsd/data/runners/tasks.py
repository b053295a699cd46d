"""Shards as tasks that any process can do, at any time and more than once.

The launcher writes each missing shard as a file of JSON into the folder of the
progress (see `progress_notes`), and the shard's part of a file of proposals
beside it (see `staged_proposals`). A worker reads only the files of its shard:
the listing of the data set and the proposals are read by the launcher alone,
and no description of a million images travels through the engine that runs the
workers.

`do` makes a task safe to repeat. A shard that is in place is left alone. Others
are written under a temporary name and renamed, so that of two workers with the
same task the second replaces the shard of the first by the same bytes. A worker
that outlives its conversion finds other settings, or none, and writes nothing.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import threading
import typing

import cv2
import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.data import preparation
from kdwsd.data import progress_notes
from kdwsd.data import proposal_files
from kdwsd.data import proposals
from kdwsd.data import record_files
from kdwsd.data import shard_writing
from kdwsd.data import sources
from kdwsd.data.runners import staged_proposals
from kdwsd.data.sources import label_ids

_JOB, _TASK, _FAULT = "job.json", "task-{:05d}.json", "fault-{:05d}.json"
_PROPOSALS = "proposals-{:05d}.npz"
_ARRAYS = {"boxes": np.float32, "class_ids": np.int64, "difficult": bool,
           "crowd": bool}


class Task(typing.NamedTuple):
  """A shard to write.

  Attributes:
    folder: folder of the progress, absolute.
    index: number of the shard.
    fingerprint: of the conversion's settings.
  """
  folder: str
  index: int
  fingerprint: str


class _StoppedError(Exception):
  """Ends the writing of a shard; holds the message on a bad image, if any."""


# Of this process, several threads of which may do tasks.
_lock = threading.Lock()
_opened = {}


def stage(job):
  """Writes the tasks of a job.

  Args:
    job: a `runners.Job`.

  Returns:
    A list of `Task`, in the order of the shards.
  """
  notes = job.notes
  folder = places.abspath(notes.folder)
  clear(folder)
  tasks = [Task(folder, index, notes.fingerprint) for index in job.todo]
  settings = dataclasses.asdict(job.proposal_settings)
  given = proposal_files.open_whole(job.proposal_settings) if tasks else None
  if given:  # The names serve to find an entry, which is staged.
    settings["image_ids"] = None
  for task in tasks:
    if given:
      staged_proposals.write(
          os.path.join(folder, _PROPOSALS.format(task.index)),
          [given.extract(item.image_id) for item in job.shards[task.index]])
    _write(folder, _TASK.format(task.index), {
        "fingerprint": notes.fingerprint,
        "items": [_item_to_json(item) for item in job.shards[task.index]]})
  _write(folder, _JOB, {
      "fingerprint": notes.fingerprint, "split": notes.split,
      "num_shards": len(job.shards), "num_classes": job.num_classes,
      "counted": notes.card is None, "on_error": job.problems.on_error,
      "proposals": settings, "staged": given is not None,
      "max_pixels": job.max_pixels, "directory": os.getcwd()})
  return tasks


def clear(folder):
  """Removes the tasks of a folder, and what was found about them."""
  for name in places.listdir(folder):
    if name == _JOB or name.startswith(
        ("task-", "fault-", "proposals-")):
      places.remove(os.path.join(folder, name))


def done(tasks):
  """Which tasks are done, as a set of numbers of shards."""
  if not tasks:
    return set()
  job = _job(tasks[0])
  return {task.index for task in tasks if job and _is_done(job, task)}


def first_fault(tasks):
  """The message on the first bad image that stops the conversion, or None."""
  for name in _faults(tasks[0].folder) if tasks else ():
    return files.read_json(os.path.join(tasks[0].folder, name))["message"]
  return None


def do(task):
  """Writes a shard, unless it is in place.

  With --on_error=stop, the message on the first bad image is stored for
  `first_fault`, and no later shard is begun. Shards before it are, because they
  may have one, too: the first in the order of the images is found, as by the
  local runner.

  Args:
    task: a `Task`.

  Raises:
    errors.InputError: the shard cannot be written, or this process cannot read
      the task.
  """
  job = _job(task)
  if job is None or _is_done(job, task) or any(
      fault < _FAULT.format(task.index) for fault in _faults(task.folder)):
    return
  # Paths may be relative; messages name them as the launcher would.
  with contextlib.suppress(OSError):
    if os.getcwd() != job["directory"]:
      os.chdir(job["directory"])
  content = _read(task, _TASK.format(task.index))
  if content is None:
    return
  items = [_item_from_json(values) for values in content["items"]]
  try:
    counts, skipped = shard_writing.write(
        _shard_path(job, task), items, _prepared(items, task, job),
        num_classes=job["num_classes"], problems=sources.Problems("skip"),
        tick=lambda: None)
  except _StoppedError as stopped:
    if stopped.args:
      _write(task.folder, _FAULT.format(task.index),
             {"message": stopped.args[0]})
    return
  if job["counted"] and _job(task):
    progress_notes.write_counts(task.folder, task.index, counts, skipped)


def _prepared(items, task, job):
  """Yields what `shard_writing.write` takes, or raises `_StoppedError`."""
  cv2.setNumThreads(1)  # The engine uses the cores.
  settings = proposals.Settings(**job["proposals"])
  for number, (item, given) in enumerate(
      zip(items, _given(len(items), settings, task, job)), 1):
    prepared = preparation.prepare_or_error(
        item, settings, max_pixels=job["max_pixels"], proposal_file=given)
    if isinstance(prepared, errors.InputError) and job["on_error"] == "stop":
      raise _StoppedError(str(prepared))
    if number == len(items) and _job(task) is None:
      raise _StoppedError()  # Nobody waits for this shard any more.
    yield prepared


def _given(number, settings, task, job):
  """The `proposal_file` of `preparation.prepare` for each of some items."""
  if job["staged"]:
    path = os.path.join(task.folder, _PROPOSALS.format(task.index))
    if not places.exists(path):
      raise _StoppedError()
    return staged_proposals.read(path)
  if settings.method != "file":
    return itertools.repeat(None, number)
  with _lock:  # A folder: only its list of files is in memory.
    key = task.folder, task.fingerprint
    if key not in _opened:
      _opened.clear()
      _opened[key] = proposal_files.open_file(
          settings.file, order=settings.order, image_ids=settings.image_ids)
    return itertools.repeat(_opened[key], number)


def _faults(folder):
  """Names of the stored messages, in the order of the shards."""
  return sorted(
      name for name in places.listdir(folder) if name.startswith("fault-"))


def _job(task):
  return _read(task, _JOB)


def _read(task, name):
  """Content of a file of a conversion; None if that conversion has ended."""
  path = os.path.join(task.folder, name)
  if not places.exists(path):
    return None
  content = files.read_json(path)
  return content if content["fingerprint"] == task.fingerprint else None


def _write(folder, name, content):
  files.write_text(os.path.join(folder, name), json.dumps(
      content, default=lambda scalar: scalar.item()))  # Of NumPy.


def _is_done(job, task):
  if not places.exists(_shard_path(job, task)):
    return False
  return not job["counted"] or places.exists(
      progress_notes.counts_path(task.folder, task.index))


def _shard_path(job, task):
  return record_files.shard_path(
      os.path.dirname(task.folder), job["split"], task.index,
      job["num_shards"])


def _item_to_json(item):
  """A dict that JSON can hold; float32 is exact as JSON's float64."""
  values = vars(item).copy()
  unknown = item.unknown_label_ids
  if isinstance(unknown, label_ids.AllBut):  # Perhaps thousands an image.
    values["unknown_label_ids"] = {"all_but": unknown.arguments}
  if item.objects is not None:
    values["objects"] = {
        **vars(item.objects), **{name: getattr(item.objects, name).tolist()
                                 for name in _ARRAYS}}
  if item.proposals is not None:
    values["proposals"] = vars(item.proposals)
  return values


def _item_from_json(values):
  """The inverse of `_item_to_json`."""
  values = {key: _tuple(value) for key, value in values.items()}
  objects, line = values["objects"], values["proposals"]
  unknown = values["unknown_label_ids"]
  if isinstance(unknown, dict):
    values["unknown_label_ids"] = label_ids.AllBut(*unknown["all_but"])
  if objects is not None:
    arrays = {name: np.array(objects[name], kind)
              for name, kind in _ARRAYS.items()}
    arrays["boxes"] = arrays["boxes"].reshape(-1, 4)
    values["objects"] = sources.Objects(**{
        **objects, "frame": _tuple(objects["frame"]), **arrays})
  if line is not None:
    values["proposals"] = sources.Line(**{
        **line, "frame": _tuple(line["frame"])})
  return sources.Item(**values)


def _tuple(value):
  return tuple(value) if isinstance(value, list) else value
