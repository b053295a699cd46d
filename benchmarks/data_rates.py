"""Throughput of the converter and of the input pipeline."""

import os
import time

from absl import logging
import numpy as np

from benchmarks import processes
from benchmarks import rows

_INPUT = "input pipeline"
_SECONDS = 2.0


def convert(paths, output, num_proposals, num_cores, num_given=1):
  """Converts images.

  Args:
    paths: of the images.
    output: directory for the records.
    num_proposals: to compute in each image; 0 for given ones.
    num_cores: how many to use.
    num_given: proposals in a file, of each image.

  Returns:
    Seconds.
  """
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import conversion
  from kdwsd.data import proposal_npz
  from kdwsd.data import proposals
  from kdwsd.data import sources
  # pylint: enable=import-outside-toplevel
  processes.pin(num_cores)
  items = [sources.Item(image_path=path, image_id=str(number), label_ids=(0,))
           for number, path in enumerate(paths)]
  settings = proposals.Settings(max_proposals=num_proposals or 1)
  if not num_proposals:
    given = os.path.join(output, "given.npz")
    proposal_npz.write(given, {
        item.image_id: (np.tile([0.0, 0.0, 1.0, 1.0], [num_given, 1]),
                        np.linspace(1, 0, num_given)) for item in items})
    settings = proposals.Settings(
        method="file", file=given, min_side_pixels=0, max_proposals=num_given)
  start = time.perf_counter()
  conversion.convert(
      sources.Source(("thing",), items, {"format": "benchmark"}),
      output=output, split="train", proposal_settings=settings,
      problems=sources.Problems(), num_workers=num_cores, progress=False)
  return time.perf_counter() - start


def input_rows(paths, work, size, num_proposals):
  """Rows of the input pipeline: what is cached, and where images are warped.

  Args:
    paths: of the images.
    work: directory for the records.
    size: side that images are warped to, pixels.
    num_proposals: R.

  Returns:
    List of `rows.Row`.
  """
  output = os.path.join(work, "records")
  convert(paths, output, num_proposals, processes.num_cores())
  measured = []
  for cache in ("none", "memory"):
    for resize in (True, False):
      (rate, per_core), peak = processes.measure(
          read, output, cache, size, num_proposals, len(paths), resize)
      measured.append(rows.Row(
          f"{_INPUT}, {size} pixels, --cache={cache}"
          f"{'' if resize else ' --resize_on_device'}", rate,
          processes.num_cores(), peak,
          f"{per_core:.3g} per second of a core"))
      logging.info("%s", measured[-1])
  return measured


def read(directory, cache, size, num_proposals, num_images, resize=True):
  """Reads training batches, from the second epoch on.

  Args:
    directory: of the records.
    cache: as `input_pipeline.training_batches`.
    size: side that images are warped to, pixels.
    num_proposals: R.
    num_images: images in the records.
    resize: False hands them out as decoded, for `--resize_on_device`.

  Returns:
    Images/s, and images per second of processor time.
  """
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import input_pipeline
  from kdwsd.data import record_files
  # pylint: enable=import-outside-toplevel
  batch_size = 4
  batches = iter(input_pipeline.training_batches(
      record_files.open_split(directory, "train"), global_batch_size=batch_size,
      sizes=(size,), num_proposals=num_proposals, seed=0, cache=cache,
      shuffle_buffer=64, resize=resize))
  steps = num_images // batch_size + 1
  for _ in range(steps):
    next(batches)
  count, start, processor = 0, time.perf_counter(), time.process_time()
  # Images out of memory come too fast to be timed over one epoch.
  while count < steps or time.perf_counter() - start < _SECONDS:
    next(batches)
    count += 1
  images = count * batch_size
  return (images / (time.perf_counter() - start),
          images / (time.process_time() - processor))


def feeding(measured):
  """Says whether the input pipeline keeps up with the training step.

  Args:
    measured: list of `rows.Row`, of all parts.

  Returns:
    List with one text of a line for each pair; empty without one.
  """
  lines = [
      f"{step.what} takes {step.images_per_second:.3g} images/s; {one.what} "
      f"gives {one.images_per_second:.3g}: "
      f"{one.images_per_second / step.images_per_second:.2g} times as many."
      for step in measured if step.what.startswith("step of")
      for one in measured if one.what.startswith(_INPUT)]
  return ["\n".join(lines)] if lines else []
