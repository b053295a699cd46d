"""What the frozen stages of a backbone make of every image, computed once.

Frozen stages give the same map each time they see an image, or its mirror
image, at one side. Both maps of each image lie in a folder beside the records,
see `cached_arrays`, and are joined with the batches by `record_index` and
`mirrored`; a step then begins behind the frozen stages. That suits small data:
990 photographs of 320 pixels take 0.8 GB behind VGG16's fourth stage.
"""

import dataclasses
import hashlib
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.modeling import student as student_lib
from kdwsd.training import cached_arrays

_FORMAT = 1
_BATCH_SIZE = 8


def directory(data):
  """Where the maps for the records of a folder are kept."""
  return os.path.join(data, "frozen_maps")


def check(config, sizes):
  """Checks that the maps of a run can be kept.

  Args:
    config: `config.Config`.
    sizes: image sides of the run's training batches.

  Raises:
    errors.InputError: nothing is frozen, there are several sides, or images
      are changed at random.
  """
  checks = (
      ("--frozen_stages of 1 or more", config.frozen_stages > 0,
       f"{config.frozen_stages}"),
      ("one image side (--train_sizes)", len(sizes) == 1,
       ", ".join(map(str, sizes))),
      ("images that are mirrored but not changed otherwise",
       config.stage == "kd_feature" or not (
           config.randaugment_layers or config.cutout_size),
       "--randaugment_layers or --cutout_size"))
  for expected, holds, received in checks:
    if not holds:
      raise errors.InputError(
          f"--frozen_cache: expected {expected}. Received: {received}.")


def keep(model, record_set, config, *, size, directory, num_workers=1,
         worker=0, progress=True):
  """Computes what is missing of the maps of a split.

  Call it when the backbone has its weights.

  Args:
    model: that of `models.build`, its backbone with frozen stages.
    record_set: a `records.RecordSet`.
    config: `config.Config` that the model was built by.
    size: side of the images, pixels, as in the batches to join with.
    directory: where to keep them; float16.
    num_workers: processes that share the work and the directory.
    worker: which of them this is.
    progress: whether to show a progress bar.

  Returns:
    `CachedArray` [num_images, 2, h, w, channels], not in memory; the second
    axis is upright, mirrored.

  Raises:
    errors.InputError: a feature is not finite in float16, or see
      `CachedArray.fill`.
  """
  backbone, detector = model.backbone, config.stage == "wsd"

  @tf.function
  def see(images):
    if not detector:
      images = student_lib.resize(images, config.student_size)
    return backbone.frozen(images)

  shape = see(tf.zeros([1, size, size, 3])).shape[1:]
  array = cached_arrays.CachedArray(directory, record_set, "frozen_maps", {
      "format": _FORMAT,
      "backbone": config.backbone, "width": config.backbone_width,
      "frozen_stages": config.frozen_stages,
      "weights": _digest(backbone.frozen_variables),
      "dtype": backbone.compute_dtype,
      "student_size": None if detector else config.student_size,
      "size": int(size),
      "records": input_pipeline.fingerprint(record_set),
  }, shape=(2, *shape), dtype=np.float16)

  def compute(shard):
    one = dataclasses.replace(record_set, paths=(record_set.paths[shard],))
    index = array.starts[shard]
    for batches in zip(*(
        input_pipeline.evaluation_batches(
            one, size=size, num_proposals=1, batch_size=_BATCH_SIZE,
            mirror=mirror) for mirror in (False, True))):
      maps = np.stack(
          [see(batch["image"]).numpy() for batch in batches],
          axis=1)                                  # [b, 2, h, w, channels]
      for rows in maps:
        with np.errstate(over="ignore"):
          rows = rows.astype(np.float16)
        if not np.isfinite(rows).all():
          raise errors.InputError(
              "--frozen_cache: expected features that float16 can hold. "
              f"Received: NaN, infinity or beyond 65504 for image {index} of "
              "the split (counted from 0).")
        index += 1
        yield rows

  array.fill(
      compute,
      about={"records_directory": os.path.abspath(record_set.directory)},
      num_workers=num_workers, worker=worker, progress=progress)
  return array


def join(dataset, array, key="frozen_map"):
  """Gives batches the maps of their images.

  They are read in Python, so the data set cannot go to another process.

  Args:
    dataset: `tf.data.Dataset` of batches of `input_pipeline`.
    array: of `keep`, for the same split and side.
    key: what the maps are called in the batches.

  Returns:
    The data set, with float32 maps [B, h, w, channels] in its batches.
  """
  def read(record_index, mirrored):
    return array.take(record_index, mirrored).astype(np.float32)

  def attach(batch):
    maps = tf.numpy_function(
        read, [batch["record_index"], batch["mirrored"]], tf.float32)
    maps.set_shape(batch["record_index"].shape + array.shape[1:])
    return {**batch, key: maps}

  return dataset.map(
      attach, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _digest(variables):
  digest = hashlib.sha256()
  for variable in variables:
    digest.update(variable.numpy().tobytes())
  return digest.hexdigest()
