"""Throughput of the converter and of the input pipeline."""

import os
import time

from benchmarks import processes


def convert(paths, output, num_proposals, num_cores):
  """Converts images; returns the time in seconds."""
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
        item.image_id: ([[0.0, 0.0, 1.0, 1.0]], [1.0]) for item in items})
    settings = proposals.Settings(
        method="file", file=given, min_side_pixels=0)
  start = time.perf_counter()
  conversion.convert(
      sources.Source(("thing",), items, {"format": "benchmark"}),
      output=output, split="train", proposal_settings=settings,
      problems=sources.Problems(), num_workers=num_cores, progress=False)
  return time.perf_counter() - start


def read(directory, cache, size, num_proposals, num_images):
  """Reads training batches; returns images/s after the first epoch."""
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import input_pipeline
  from kdwsd.data import record_files
  # pylint: enable=import-outside-toplevel
  batch_size = 4
  batches = iter(input_pipeline.training_batches(
      record_files.open_split(directory, "train"), global_batch_size=batch_size,
      sizes=(size,), num_proposals=num_proposals, seed=0, cache=cache,
      shuffle_buffer=64))
  steps = num_images // batch_size + 1
  for _ in range(steps):
    next(batches)
  start = time.perf_counter()
  for _ in range(steps):
    next(batches)
  return steps * batch_size / (time.perf_counter() - start)
