"""Speed of what runs a model over a split: evaluation, caches, kept maps.

Beside them the speed of the model alone, which they cannot exceed.
"""

import dataclasses
import shutil
import time
from typing import Optional

import tensorflow as tf

from benchmarks import compute as compute_lib
from benchmarks import step_rates
from kdwsd import errors
from kdwsd.data import record_files
from kdwsd.evaluation import device_batches
from kdwsd.evaluation import summary
from kdwsd.training import config as config_lib
from kdwsd.training import frozen_maps
from kdwsd.training import models
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import teacher_cache


@dataclasses.dataclass(frozen=True)
class Rates:
  """Images per second; a mirrored view of an image counts as one.

  Attributes:
    device: what computed.
    batch_size: images in a forward pass of inference and evaluation.
    inference: of the whole model on one batch.
    frozen: of its frozen stages on one batch.
    evaluation: with non-maximum suppression of all boxes, and metrics.
    teacher_cache: of image scores.
    frozen_maps: of the frozen stages.
    gpu_mib: memory of the GPU; None on a CPU.
  """
  device: str
  batch_size: int
  inference: float
  frozen: float
  evaluation: float
  teacher_cache: float
  frozen_maps: float
  gpu_mib: Optional[float]


def measure(compute, directory, splits, *, size, num_proposals, fc_units,
            batch_size, backbone, frozen_stages):
  """Measures a teacher with random weights.

  Args:
    compute: a `compute.Compute`.
    directory: records, which the caches are written beside.
    splits: names of a short split and of one that is longer.
    size: side of images, pixels.
    num_proposals: R.
    fc_units: width of fc6 and fc7.
    batch_size: images in a forward pass of inference and evaluation; None for
      that of `device_batches`, which caches have in any case.
    backbone: as `compute.backbone` reads it.
    frozen_stages: how many stages are frozen.

  Returns:
    `Rates`.
  """
  device = compute.begin()
  batch_size = batch_size or device_batches.default_size(size, num_proposals)
  sets = [record_files.open_split(directory, split) for split in splits]
  config = config_lib.Config(
      classes=sets[0].classes, stage="wsd", fc_units=fc_units,
      train_sizes=(size,), eval_size=size, num_proposals=num_proposals,
      frozen_stages=frozen_stages, roi_pooling=compute.roi_pooling,
      **compute_lib.backbone(backbone))
  model = models.build(config)
  batch = step_rates.random_batch(size, num_proposals, batch_size)
  teacher = teacher_lib.Teacher(model, config, "")

  def scores(inputs):
    outputs = models.scorer(model)(inputs)
    return outputs["image_scores"], outputs["proposal_scores"]

  def evaluate(record_set):
    summary.measure(
        models.scorer(model), record_set, sizes=(size,), score_threshold=0.0,
        num_proposals=num_proposals, batch_size=batch_size, progress=False)

  def keep_scores(record_set):
    _forget(teacher_cache.image_scores(
        teacher, record_set, size=size, num_proposals=num_proposals,
        temperature=1.0).folder)

  def keep_maps(record_set):
    _forget(frozen_maps.keep(model, record_set, config, size).folder)

  return Rates(
      device=device,
      batch_size=batch_size,
      inference=_on_batch(scores, batch, batch_size),
      frozen=_on_batch(
          lambda inputs: model.backbone.frozen(inputs["image"]), batch,
          batch_size),
      evaluation=_on_splits(evaluate, sets),
      teacher_cache=2 * _on_splits(keep_scores, sets),
      frozen_maps=2 * _on_splits(keep_maps, sets),
      gpu_mib=compute_lib.gpu_mib())


def infer_student(compute, batch_size, student):
  """Measures inference of a student.

  Returns:
    The device, images per second, memory of the GPU in MiB or None.
  """
  device = compute.begin()
  model = step_rates.student(student)
  side = model.config.image_size
  images = tf.random.uniform([batch_size, side, side, 3], 0, 255)
  return device, _on_batch(model, images, batch_size), compute_lib.gpu_mib()


def _on_batch(model, batch, batch_size, seconds=3.0):
  """Images per second of a model on one batch, for about `seconds`."""
  infer = tf.function(model, autograph=False)

  def run(count):
    start = time.perf_counter()
    for _ in range(count):
      outputs = infer(batch)
    for output in tf.nest.flatten(outputs):
      output.numpy()  # Waits for the device.
    return (time.perf_counter() - start) / count

  run(1)  # Traces.
  count = max(1, int(seconds / run(1)))
  return batch_size / run(count)


def _on_splits(run, sets):
  """Images per second of a function of a split."""
  short, long = sets
  seconds = []
  for record_set in (short, short, long):  # The first one loads kernels.
    start = time.perf_counter()
    run(record_set)
    seconds.append(time.perf_counter() - start)
  if seconds[2] <= seconds[1]:
    raise errors.InputError(
        f"--num_images: expected enough images that {long.num_images} take "
        f"longer than {short.num_images}. Received: {seconds[2]:.2f} and "
        f"{seconds[1]:.2f} seconds; the machine may be busy.")
  return (long.num_images - short.num_images) / (seconds[2] - seconds[1])


def _forget(folder):
  """Removes a cache, so that the next one is not found complete."""
  shutil.rmtree(folder)
