"""The local runner: processes prepare images, this one writes the shards."""

import collections
from concurrent import futures
from concurrent.futures import process
import contextlib
import multiprocessing

from kdwsd import errors
from kdwsd.data import preparation
from kdwsd.data import proposal_files
from kdwsd.data import record_files
from kdwsd.data import shard_writing

_IN_FLIGHT = 8  # Images queued for each worker; bounds the memory.


def run(job, bar, *, num_workers):
  """Writes the missing shards of a job, one after the other.

  Args:
    job: a `runners.Job`.
    bar: progress bar of images; `update()` counts one.
    num_workers: processes that decode images and compute proposals; 0 for this
      process alone.

  Raises:
    errors.InputError: a bad image that is not to be skipped, a full disk, or a
      worker process that was killed.
  """
  work = [item for i in job.todo for item in job.shards[i]]
  with _prepared(work, job, num_workers) as results:
    for index in job.todo:
      path = record_files.shard_path(
          job.notes.output, job.notes.split, index, len(job.shards))
      job.notes.finish(index, *shard_writing.write(
          path, job.shards[index], results, num_classes=job.num_classes,
          problems=job.problems, tick=bar.update))


@contextlib.contextmanager
def _prepared(items, job, num_workers):
  """Yields an iterator over the `Prepared` of the items, in order."""
  arguments = job.proposal_settings, job.max_pixels
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
      yield _in_order(
          pool, _with_proposals(items, job.proposal_settings),
          num_workers * _IN_FLIGHT)
    except process.BrokenProcessPool as error:
      raise errors.InputError(
          "--workers: expected the worker processes to run to their end. "
          "Received: one was killed, probably because memory ran out; try "
          "fewer --workers or a smaller --max_pixels; the same command then "
          "resumes.") from error
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


def _with_proposals(items, settings):
  """Yields the arguments of `prepare_here`, the proposals of a file with them.

  So that the file is in the memory of this process alone.
  """
  given = proposal_files.open_whole(settings)
  for item in items:
    yield (item,) if given is None else (item, given.extract(item.image_id))


def _in_order(pool, arguments, in_flight):
  waiting = collections.deque()
  for one in arguments:
    waiting.append(pool.submit(preparation.prepare_here, *one))
    if len(waiting) >= in_flight:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()
