"""What the frozen teacher says of every image, computed once and kept.

For a given side of the image the teacher's answer depends on nothing but the
image and whether it is mirrored. So a student can be trained without running
the teacher: both answers of each image lie in a folder beside the records, see
`cached_arrays`, and are joined with the batches by `record_index` and
`mirrored`. A teacher that drops units has no fixed answer and no cache.

Stage 2 takes the image scores, stage 1 the features of the best RoIs.
A teacher whose frozen stages' maps are kept, see `frozen_maps`, begins behind
them.
"""

import dataclasses
import glob
import hashlib
import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.training import cached_arrays
from kdwsd.training import teacher as teacher_lib

_FORMAT = 1

# Fields of the teacher's config that decide what it answers.
_SHAPING = ("classes", "backbone", "backbone_width", "fc_units", "roi_pooling",
            "score_scale", "score_bias", "class_temperature",
            "detection_temperature")

_READ = ("image", "proposals", "objectness", "valid")


def directory(data):
  """Where the answers for the records of a folder are kept."""
  return os.path.join(data, "teacher_cache")


@dataclasses.dataclass(frozen=True)
class RoiFeatures:
  """Features of the teacher's best RoIs, on disk.

  Attributes:
    array: `cached_arrays.CachedArray` [num_images, 2], second axis upright and
      mirrored, with the fields `indices` [k] int32, `scores` [k] float32,
      `valid` [k] bool, and one float16 [k, ...] for each layer.
    layers: their names.
  """
  array: cached_arrays.CachedArray
  layers: tuple


def image_scores(teacher, record_set, *, size, num_proposals, temperature,
                 directory, maps=None, num_workers=1, worker=0, progress=True):
  """The teacher's image scores over a split, both mirrors.

  Args:
    teacher: a `teacher.Teacher` that drops no units.
    record_set: a `records.RecordSet`.
    size: side S of the image, pixels, as in the batches to join with.
    num_proposals: R, likewise.
    temperature: as for `teacher.image_scores`.
    directory: where to keep them.
    maps: function without arguments that gives what `frozen_maps.keep` does for
      the teacher and the split, from which it then answers; None for nothing.
      Called if an answer is missing.
    num_workers: processes that share the work and the directory.
    worker: which of them this is.
    progress: whether to show a progress bar.

  Returns:
    [num_images, 2, C] float32; the second axis is upright, mirrored.

  Raises:
    errors.InputError: a score is not finite, or see `CachedArray.fill`.
  """
  array = cached_arrays.CachedArray(
      directory, record_set, "image_scores",
      _settings(teacher, record_set, size, num_proposals,
                temperature=float(temperature), from_maps=bool(maps)),
      shape=(2, len(record_set.classes)), dtype=np.float32)

  @tf.function
  def score(batch):
    return teacher_lib.image_scores(teacher, batch, temperature=temperature)

  def compute(shard):
    views = _views(record_set, shard, size, num_proposals,
                   array.starts[shard], maps)
    for index, batches in enumerate(views, array.starts[shard]):
      scores = np.concatenate([score(b).numpy() for b in batches])  # [2, C]
      _check_finite(np.isfinite(scores).all(), index, teacher)
      yield scores

  array.fill(compute, about=_about(teacher, record_set),
             num_workers=num_workers, worker=worker, progress=progress)
  return array.read()


def roi_features(teacher, record_set, *, size, num_proposals, top_k,
                 layers=("fc7",), directory, maps=None, num_workers=1,
                 worker=0, progress=True):
  """Features of the RoIs that the teacher scores highest, both mirrors.

  An RoI's score is that of its best class; of equal ones the first is taken.

  Args:
    teacher: a `teacher.Teacher` that drops no units.
    record_set: a `records.RecordSet`.
    size: side S of the image, pixels, as in the batches to join with.
    num_proposals: R, likewise.
    top_k: RoIs of each image; k, at most R.
    layers: names of layers of `wsddn.WSDDN.call`.
    directory: where to keep them; float16, 2 * k values a unit and image.
    maps: as `image_scores`.
    num_workers: processes that share the work and the directory.
    worker: which of them this is.
    progress: whether to show a progress bar.

  Returns:
    `RoiFeatures`, not in memory.

  Raises:
    errors.InputError: no such layer, a feature is not finite in float16, or
      see `CachedArray.fill`.
  """
  layers, k = tuple(layers), min(top_k, num_proposals)
  array = cached_arrays.CachedArray(
      directory, record_set, "roi_features",
      _settings(teacher, record_set, size, num_proposals, top_k=k,
                layers=list(layers), from_maps=bool(maps)),
      shape=(2,), dtype=[
          ("indices", np.int32, (k,)), ("scores", np.float32, (k,)),
          ("valid", np.bool_, (k,)),
          *((name, np.float16, (k, *shape))
            for name, shape in _layer_shapes(teacher, layers).items())])

  @tf.function
  def best(batch):
    outputs = teacher.model(batch, training=False)
    scores = tf.reduce_max(outputs["proposal_scores"], axis=2)    # [1, R]
    # Below every score, for padding has 0, which a proposal may have too.
    ranks = tf.where(batch["valid"], scores, -1.0)
    indices = tf.math.top_k(ranks, k).indices                     # [1, k]
    valid = tf.gather(batch["valid"], indices, batch_dims=1)      # [1, k]
    found = {"indices": indices, "valid": valid,
             "scores": tf.gather(scores, indices, batch_dims=1)}
    for name in layers:
      chosen = tf.gather(outputs["layers"][name], indices, batch_dims=1)
      keep = tf.reshape(valid, [1, k] + [1] * (chosen.shape.rank - 2))
      found[name] = tf.cast(tf.where(keep, chosen, 0), tf.float16)
    finite = [tf.reduce_all(tf.math.is_finite(values))
              for values in (scores, *(found[name] for name in layers))]
    return found, tf.reduce_all(finite)

  def compute(shard):
    views = _views(record_set, shard, size, num_proposals,
                   array.starts[shard], maps)
    for index, batches in enumerate(views, array.starts[shard]):
      row = np.empty([2], array.dtype)
      for side, batch in enumerate(batches):
        found, finite = best(batch)
        _check_finite(finite, index, teacher)
        for name, values in found.items():
          row[name][side] = values[0].numpy()
      yield row

  array.fill(compute, about=_about(teacher, record_set),
             num_workers=num_workers, worker=worker, progress=progress)
  return RoiFeatures(array, layers)


def attach_image_scores(dataset, table):
  """Joins batches with the teacher's image scores.

  Args:
    dataset: `tf.data.Dataset` of batches of `input_pipeline`.
    table: [num_images, 2, C], from `image_scores` for the same split.

  Returns:
    The data set, with `teacher_image_scores` [B, C] float32 in its batches.
  """
  with tf.device("CPU:0"):
    table = tf.constant(table, tf.float32)

  def attach(batch):
    places = tf.stack([batch["record_index"],
                       tf.cast(batch["mirrored"], tf.int64)], axis=1)
    return {**batch, "teacher_image_scores": tf.gather_nd(table, places)}

  return dataset.map(attach, tf.data.AUTOTUNE, deterministic=True)


def attach_roi_features(dataset, features):
  """Joins batches with features of the teacher's best RoIs.

  They are read in Python, so the data set cannot go to another process.

  Args:
    dataset: `tf.data.Dataset` of batches of `input_pipeline`.
    features: from `roi_features` for the same split, side and R.

  Returns:
    The data set, with these in its batches: `teacher_layers`, a dict of
    [B, k, ...] float32 by layer, 0 where not valid; `roi_indices` [B, k] int32,
    places in `proposals`; `roi_scores` [B, k] float32, falling; `roi_valid`
    [B, k] bool, False where an image has fewer than k proposals.
  """
  dtype = features.array.dtype
  names = ("indices", "scores", "valid", *features.layers)
  types = (tf.int32, tf.float32, tf.bool) + (tf.float32,) * len(features.layers)

  def read(record_index, mirrored):
    rows = features.array.take(record_index, mirrored)            # [B]
    return [rows[name].astype(kind.as_numpy_dtype)
            for name, kind in zip(names, types)]

  def attach(batch):
    found = dict(zip(names, tf.numpy_function(
        read, [batch["record_index"], batch["mirrored"]], types)))
    for name in names:
      found[name].set_shape(batch["record_index"].shape + dtype[name].shape)
    return {
        **batch, "teacher_layers": {n: found[n] for n in features.layers},
        **{f"roi_{n}": found[n] for n in ("indices", "scores", "valid")}}

  return dataset.map(
      attach, tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _views(record_set, shard, size, num_proposals, start, maps):
  """Yields for each image of a shard its batches of one, upright, mirrored."""
  one = dataclasses.replace(record_set, paths=(record_set.paths[shard],))
  array = maps() if maps else None
  for index, batches in enumerate(zip(*(
      input_pipeline.evaluation_batches(
          one, size=size, num_proposals=num_proposals, mirror=mirror)
      for mirror in (False, True))), start):
    batches = [{key: batch[key] for key in _READ} for batch in batches]
    if array is not None:
      for mirrored, batch in enumerate(batches):
        batch["frozen_map"] = tf.constant(
            array.take([index], [mirrored]), tf.float32)
    yield batches


def _layer_shapes(teacher, layers):
  """Shapes of one RoI's features, of which the image's side decides nothing."""
  there = teacher.model({
      "image": tf.zeros([1, 32, 32, 3]), "objectness": tf.ones([1, 1]),
      "proposals": tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
      "valid": tf.ones([1, 1], tf.bool)}, training=False)["layers"]
  unknown = [name for name in layers if name not in there]
  if unknown:
    raise errors.InputError(
        f"teacher: expected layers out of {', '.join(sorted(there))}. "
        f"Received: {', '.join(unknown)}.")
  return {name: tuple(there[name].shape[2:]) for name in layers}


def _settings(teacher, record_set, size, num_proposals, **more):
  """All that decides the answers; hashed into the name of their folder."""
  return {
      "format": _FORMAT,
      "teacher": {
          "sha256": _digest(teacher.checkpoint),
          "dtype": teacher.model.compute_dtype,
          **{name: getattr(teacher.config, name) for name in _SHAPING}},
      "records": input_pipeline.fingerprint(record_set),
      "size": int(size), "num_proposals": int(num_proposals), **more}


def _about(teacher, record_set):
  return {"teacher_checkpoint": os.path.abspath(teacher.checkpoint),
          "records_directory": os.path.abspath(record_set.directory)}


def _digest(checkpoint):
  """Hash of a checkpoint's files, `.index` and all `.data-*`."""
  digest = hashlib.sha256()
  prefix = glob.escape(checkpoint)
  for path in sorted(glob.glob(prefix + ".index")
                     + glob.glob(prefix + ".data-*")):
    with open(path, "rb") as file:
      while block := file.read(1 << 20):
        digest.update(block)
  return digest.hexdigest()


def _check_finite(finite, index, teacher):
  if not finite:
    raise errors.InputError(
        f"{teacher.checkpoint}: expected finite scores, and features within "
        "float16; the teacher's training has probably diverged. Received: NaN "
        f"or infinity for image {index} of the split (counted from 0).")
