"""Throughput of the converter and of the input pipeline."""

import os
import time

from benchmarks import processes

_SECONDS = 2.0


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


def read(directory, cache, size, num_proposals, num_images, resize=True,
         num_cores=None):
  """Reads training batches; returns images/s after the first epoch.

  Args:
    directory: of the records.
    cache: as `input_pipeline.training_batches`.
    size: side that images are warped to, pixels.
    num_proposals: R.
    num_images: images in the records.
    resize: False hands them out as decoded, for `--resize_on_device`.
    num_cores: cores to use; None for all.
  """
  # pylint: disable=import-outside-toplevel
  if num_cores:
    processes.pin(num_cores)  # Before TensorFlow counts them.
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
  # Images out of memory come too fast to be timed over one epoch.
  steps_done, start = 0, time.perf_counter()
  while steps_done < steps or time.perf_counter() - start < _SECONDS:
    next(batches)
    steps_done += 1
  return steps_done * batch_size / (time.perf_counter() - start)


def feeding(rates, step_rate):
  """Says whether the pipeline keeps up with the training step.

  Args:
    rates: {what: images/s of the input pipeline on this machine}.
    step_rate: images/s of the training step.

  Returns:
    Text of a line for each rate.
  """
  return "\n".join(
      f"The step takes {step_rate:.3g} images/s; the pipeline gives {rate:.3g} "
      f"({what}): {rate / step_rate:.2g} times as many."
      for what, rate in rates.items())
