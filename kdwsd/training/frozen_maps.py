"""Outputs of the frozen stages of a backbone, cached on disk.

Training steps then start after the frozen stages. This suits small data: for
990 images of 320 x 320 pixels, the output of VGG16's fourth stage takes 0.8 GB.
"""

import hashlib

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.evaluation import device_batches
from kdwsd.modeling import student as student_lib
from kdwsd.training import cached_arrays

_BATCH_SIZE_ON_CPU = 8


def check(config, sizes):
  """Checks that the maps of a run can be cached.

  Args:
    config: `config.Config`.
    sizes: image sizes of the run's training batches.

  Raises:
    errors.InputError: no stage is frozen, there are several image sizes, or
      images are augmented at random.
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


def keep(model, record_set, config, size, key="frozen_map"):
  """Computes the maps of a split that are not cached yet.

  Args:
    model: from `models.build`, with loaded weights and frozen stages.
    record_set: a `record_files.RecordSet`.
    config: `config.Config` that the model was built from.
    size: side of the images, pixels.
    key: name of the maps in batches.

  Returns:
    `CachedArray` [num_images, 2, h, w, channels] float16, float32 in batches.

  Raises:
    errors.InputError: see `CachedArray`.
  """
  backbone = model.backbone
  side = None if config.stage == "wsd" else config.student_size

  @tf.function(autograph=False)
  def compute(batch):
    images = batch["image"]
    maps = backbone.frozen(student_lib.resize(images, side) if side else images)
    return tf.cast(maps, tf.float16)  # Half as much to copy from a GPU.

  digest = hashlib.sha256()
  for variable in backbone.frozen_variables:
    digest.update(variable.numpy().tobytes())
  return cached_arrays.CachedArray(
      record_set, "frozen_maps", "frozen_maps", {
          "backbone": config.backbone, "width": config.backbone_width,
          "frozen_stages": config.frozen_stages, "student_size": side,
          "weights": digest.hexdigest(), "dtype": backbone.compute_dtype},
      shape=compute.get_concrete_function({
          "image": tf.TensorSpec([1, size, size, 3])}
      ).structured_outputs.shape[1:],
      dtype=np.float16, compute=compute, batches={
          "size": size, "num_proposals": 1,
          "batch_size": device_batches.default_size(
              size, on_cpu=_BATCH_SIZE_ON_CPU)},
      source="--frozen_cache", add=lambda maps: {key: maps}).fill()
