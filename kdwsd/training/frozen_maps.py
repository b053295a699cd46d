"""What the frozen stages of a backbone make of every image, computed once.

Frozen stages give the same map each time they see an image, or its mirror
image, at one side. Both maps of each image lie in a folder beside the records,
see `cached_arrays`, and are joined with the batches by `record_index` and
`mirrored`; a step then begins behind the frozen stages. That suits small data:
990 photographs of 320 pixels take 1.6 GB behind VGG16's fifth stage.
"""

import dataclasses
import hashlib
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.training import cached_arrays
from kdwsd.training import strategies

_FORMAT = 1
_BATCH_SIZE = 8


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


def join(dataset, backbone, record_set, config, *, key="frozen_map", size,
         view):
  """Gives batches the maps of their images, having computed what is missing.

  Call it when the backbone has its weights. The maps are read in Python, so the
  data set cannot go to another process.

  Args:
    dataset: `tf.data.Dataset` of batches of `input_pipeline`.
    backbone: `backbones.Backbone` with frozen stages.
    record_set: the `records.RecordSet` that the batches come from.
    config: `config.Config` of the run.
    key: what the maps are called in the batches.
    size: image side of the batches.
    view: function of a batch to the images that the backbone sees.

  Returns:
    The data set, with float32 maps [B, h, w, channels] in its batches.

  Raises:
    errors.InputError: a feature is not finite in float16, or see
      `CachedArray.fill`.
  """
  array = _fill(backbone, record_set, config, size, view)

  def read(record_index, mirrored):
    return array.take(record_index, mirrored).astype(np.float32)

  def attach(batch):
    maps = tf.numpy_function(
        read, [batch["record_index"], batch["mirrored"]], tf.float32)
    maps.set_shape(batch["record_index"].shape + array.shape[1:])
    return {**batch, key: maps}

  return dataset.map(
      attach, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _fill(backbone, record_set, config, size, view):
  """The maps of a split as a `CachedArray` [num_images, 2, h, w, channels]."""
  @tf.function
  def see(batch):
    return backbone.frozen(view(batch))

  shape = see({"image": tf.zeros([1, size, size, 3])}).shape[1:]
  array = cached_arrays.CachedArray(
      os.path.join(config.data, "frozen_maps"), record_set, "frozen_maps", {
          "format": _FORMAT,
          "backbone": config.backbone, "width": config.backbone_width,
          "frozen_stages": config.frozen_stages,
          "weights": _digest(backbone.frozen_variables),
          "dtype": backbone.compute_dtype,
          "student_size": (
              None if config.stage == "wsd" else config.student_size),
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
          [see({"image": batch["image"]}).numpy() for batch in batches],
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

  num_workers, worker = strategies.worker(tf.distribute.get_strategy())
  array.fill(compute, about={
      "records_directory": os.path.abspath(record_set.directory)},
             num_workers=num_workers, worker=worker)
  return array


def _digest(variables):
  digest = hashlib.sha256()
  for variable in variables:
    digest.update(variable.numpy().tobytes())
  return digest.hexdigest()
