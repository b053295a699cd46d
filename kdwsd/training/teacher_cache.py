"""Outputs of a frozen teacher for every image, cached on disk.

A student can then be trained without running its teacher. Stage 2 uses the
image scores, stage 1 the features of the best RoIs. With dropout in the teacher
there is no cache, because its outputs are random. If the teacher was trained on
cached maps (see `frozen_maps`) of the size at which it teaches, its outputs are
computed from these maps.
"""

import functools
import glob
import hashlib

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import places
from kdwsd.evaluation import device_batches
from kdwsd.training import cached_arrays
from kdwsd.training import folds
from kdwsd.training import frozen_maps
from kdwsd.training import teacher as teacher_lib

# Fields of the teacher's config that determine its outputs.
_SHAPING = ("classes", "backbone", "backbone_width", "fc_units", "roi_pooling",
            "score_scale", "score_bias", "class_temperature",
            "detection_temperature")


def image_scores(teacher, record_set, *, size, num_proposals, temperature,
                 sizes=()):
  """The teacher's image scores over a split.

  Args:
    teacher: a `teacher.Teacher`, or `folds.Teachers`; runs without dropout.
    record_set: a `record_files.RecordSet`.
    size: side S of the image, pixels, as in the batches to join with.
    num_proposals: R, as in the batches to join with.
    temperature: as for `teacher.image_scores`.
    sizes: other sides; the scores are then the mean over these, upright and
      mirrored.

  Returns:
    `CachedArray` [num_images, 2, C] float32, or `cached_arrays.Mean`;
    `teacher_image_scores` [B, C] in batches.

  Raises:
    errors.InputError: see `CachedArray`.
  """
  def compute_by(member):
    @tf.function(autograph=False)
    def compute(batch):
      return teacher_lib.image_scores(member, batch, temperature=temperature)
    return compute

  def add(scores):
    return {"teacher_image_scores": scores}

  arrays = [_keep(
      teacher, record_set, "image_scores", compute_by, one, num_proposals,
      {"temperature": float(temperature)}, shape=(len(record_set.classes),),
      dtype=np.float32, add=add, in_memory=True) for one in sizes or (size,)]
  return cached_arrays.Mean(arrays, add) if sizes else arrays[0]


def roi_features(teacher, record_set, *, size, num_proposals, top_k,
                 layers=("fc7",)):
  """Features of the RoIs that the teacher scores highest.

  An RoI's score is that of its best class; ties keep their order.

  Args, besides those of `image_scores`:
    top_k: RoIs per image; k is the smaller of this and R.
    layers: names of layers of `wsddn.WSDDN.call`.

  Returns:
    `CachedArray` [num_images, 2]. It adds to batches `teacher_layers`, a dict
    of [B, k, ...] by layer, float32 with the precision of float16, 0 where not
    valid; `roi_indices` [B, k] int32, indices into `proposals`; `roi_scores`
    [B, k] float32, descending; `roi_valid` [B, k] bool, False where an image
    has fewer than k proposals.

  Raises:
    errors.InputError: no such layer, or see `CachedArray`.
  """
  k, units = min(top_k, num_proposals), teacher.config.fc_units
  shapes = {"pool": (7, 7, teacher.model.backbone.num_channels),
            "fc6": (units,), "fc7": (units,)}
  unknown = [name for name in layers if name not in shapes]
  if unknown:
    raise errors.InputError(
        f"teacher: expected layers out of {', '.join(sorted(shapes))}. "
        f"Received: {', '.join(unknown)}.")

  def compute_by(member):
    @tf.function(autograph=False)
    def compute(batch):
      outputs = teacher_lib.run(member, batch)
      scores = tf.reduce_max(outputs["proposal_scores"], axis=2)  # [b, R]
      indices = teacher_lib.best_rois(scores, batch["valid"], k)  # [b, k]
      found = {"indices": indices, **{
          name: tf.gather(values, indices, batch_dims=1) for name, values in (
              ("scores", scores), ("valid", batch["valid"]),
              *((name, outputs["layers"][name]) for name in layers))}}
      for name in layers:
        valid = tf.reshape(found["valid"], [-1, k] + [1] * len(shapes[name]))
        found[name] = tf.where(valid, tf.cast(found[name], tf.float16), 0)
      return found
    return compute

  return _keep(
      teacher, record_set, "roi_features", compute_by, size, num_proposals,
      {"top_k": k, "layers": list(layers)}, dtype=[
          ("indices", np.int32, (k,)), ("scores", np.float32, (k,)),
          ("valid", np.bool_, (k,)),
          *((name, np.float16, (k, *shapes[name])) for name in layers)],
      add=lambda indices, scores, valid, *features: {
          "roi_indices": indices, "roi_scores": scores, "roi_valid": valid,
          "teacher_layers": dict(zip(layers, features))})


def _keep(teacher, record_set, kind, compute_by, size, num_proposals, settings,
          **values):
  """Fills a `CachedArray`.

  Args:
    teacher: a `teacher.Teacher`, or `folds.Teachers`.
    record_set: a `record_files.RecordSet`.
    kind: see `CachedArray`.
    compute_by: function of a `teacher.Teacher` that returns `compute`.
    size: side of the images, pixels.
    num_proposals: R.
    settings: see `CachedArray`; this adds what is of the teacher.
    **values: the other arguments of `CachedArray`.

  Returns:
    The `CachedArray`.
  """
  batch_size = device_batches.default_size(size, num_proposals)
  if isinstance(teacher, folds.Teachers):
    members = teacher.members
    compute = folds.ByFold(
        [_from_maps(member, record_set, size, compute_by(member))
         for member in members], teacher.fold_of, batch_size)
    of_teacher = {
        "teachers": [_described(member) for member in members],
        "folds": hashlib.sha256(teacher.fold_of.tobytes()).hexdigest()}
  else:
    members = [teacher]
    compute = _from_maps(teacher, record_set, size, compute_by(teacher))
    of_teacher = {"teacher": _described(teacher)}
  return cached_arrays.CachedArray(
      record_set, "teacher_cache", kind, {
          **of_teacher, "num_proposals": int(num_proposals),
          "from_maps": _has_maps(teacher.config, size), **settings},
      compute=compute, batches={
          "size": size, "num_proposals": num_proposals,
          "batch_size": batch_size},
      source=", ".join(places.abspath(member.origin or member.checkpoint)
                       for member in members), **values).fill()


def _has_maps(config, size):
  return config.frozen_cache and config.train_sizes == (size,)


def _from_maps(teacher, record_set, size, compute):
  """`compute`, from the maps of the frozen stages where there are any."""
  if not _has_maps(teacher.config, size):
    return compute

  @functools.lru_cache
  def maps():
    return frozen_maps.keep(teacher.model, record_set, teacher.config, size)

  def compute_from_maps(batch):
    return compute({**batch, "frozen_map": tf.constant(maps().take(
        batch["record_index"].numpy(), batch["mirrored"].numpy()),
                                                      tf.float32)})

  return compute_from_maps


def _described(teacher):
  """JSON dict of what determines a teacher's outputs."""
  digest = hashlib.sha256()
  checkpoint = glob.escape(teacher.checkpoint)
  for path in sorted(glob.glob(checkpoint + ".index")
                     + glob.glob(checkpoint + ".data-*")):
    with open(path, "rb") as file:
      while block := file.read(1 << 20):
        digest.update(block)
  config = teacher.config
  return {
      "sha256": digest.hexdigest(),
      "dtype": teacher.model.compute_dtype,
      **{name: getattr(config, name) for name in _SHAPING},
      # Older caches of `max` hold other features: they are from before it
      # truncated pixels as the release does.
      **({"max_pool": 2} if config.roi_pooling == "max" else {}),
      # Caches of a teacher without branches keep their names.
      **({"refinement_branches": config.refinement_branches}
         if config.refinement_branches else {})}
