"""From records to batches, by tf.data.

The order is a function of the seed alone. Shards are read in their order; each
epoch passes through a shuffle buffer seeded by (seed, epoch); the n-th image of
the run is mirrored according to (seed, n), and its batch has the side drawn for
(seed, n // global batch size). There is no other state, so a run resumed at
step N gets the batches of an uninterrupted one, and each of several workers
gets its slice of the same global batches. Within an epoch the buffer moves an
image forward by at most its own length; the converter therefore writes the
records in shuffled order.

A batch is a dictionary:

| key | type and shape | what |
|---|---|---|
| image | float32 [B, S, S, 3] | RGB, 0..255, warped to a square |
| proposals | float32 [B, R, 4] | as `kdwsd.boxes`; zeros where padded |
| objectness | float32 [B, R] | scores of the proposal method |
| valid | bool [B, R] | False where padded |
| labels | float32 [B, C] | 1 where the class is present |
| label_weights | float32 [B, C] | 0 where presence is unknown, else 1 |
| example_index | int64 [B] | position in the run, or in the split |
| record_index | int64 [B] | position of the record in its split |
| mirrored | bool [B] | whether image and proposals are mirrored |

With `resize=False` the batch is as above except for the image, which
`device_resize.warp` then warps and mirrors on the device:

| key | type and shape | what |
|---|---|---|
| image | uint8 [B, H, W, 3] | as decoded; zeros below and to the right |
| image_size | int32 [B, 2] | height and width without these zeros |
| side | int32 [B] | S of the whole batch |

Sources: the release's data layer for the warp (bilinear, no antialiasing), the
side drawn for each batch and the mirroring; WSDDN for several scales.
"""

import hashlib
import json
import os

import tensorflow as tf

from kdwsd import boxes
from kdwsd import errors
from kdwsd import places
from kdwsd.data import decoded_cache
from kdwsd.data import records
from kdwsd.data import tuning

CACHES = ("none", "memory", "disk")

_SHUFFLE, _MIRROR, _SIDE = range(3)  # streams of random numbers


def training_batches(record_set, *, global_batch_size, sizes, num_proposals,
                     seed, start_step=0, num_replicas=1, input_context=None,
                     mirror=True, resize=True, cache="none",
                     cache_directory=None, shuffle_buffer=2048, kept=None):
  """Endless training batches, one per replica and step.

  Args:
    record_set: a `record_files.RecordSet`.
    global_batch_size: images per step over all replicas.
    sizes: image sides in pixels, one drawn for each global batch.
    num_proposals: R; the best are kept, missing ones are padded.
    seed: int, of order, sides and mirrors.
    start_step: the step whose batch comes first.
    num_replicas: over all workers; ignored when `input_context` is given.
    input_context: `tf.distribute.InputContext` of one worker of several.
    mirror: whether half of the images are mirrored.
    resize: whether to warp and mirror the images here.
    cache: `none` decodes an image each time; `memory` and `disk` keep decoded
      images (3 bytes a pixel).
    cache_directory: folder of the `disk` cache; one per worker.
    shuffle_buffer: images.
    kept: [num_images] bool, the images to train on; None for all.

  Returns:
    `tf.data.Dataset` of batches of global_batch_size / num_replicas images.
    With several replicas, consecutive elements are the parts of one batch.

  Raises:
    errors.InputError: the batch cannot be divided, there are no images, or the
      cache has no room.
  """
  num_workers, worker = 1, 0
  if input_context is not None:
    num_replicas = input_context.num_replicas_in_sync
    num_workers = input_context.num_input_pipelines
    worker = input_context.input_pipeline_id
  _check(record_set, global_batch_size, num_replicas, cache)
  num_images = record_set.num_images if kept is None else int(sum(kept))

  @tf.autograph.experimental.do_not_convert
  def decode(serialized):
    return _parse_and_decode(serialized, len(record_set.classes))

  decoded = cache != "none"
  dataset = tf.data.TFRecordDataset(list(record_set.paths))
  if decoded:
    dataset = dataset.map(decode, tuning.num_calls())
    if cache == "memory":
      decoded_cache.check_memory(record_set)
      dataset = dataset.cache()
    else:
      dataset = dataset.cache(decoded_cache.prefix(
          cache_directory, record_set, fingerprint(record_set), worker))
  # After the cache, which holds the records in order without their positions.
  dataset = dataset.enumerate()
  if kept is not None:
    with tf.device("CPU:0"):
      table = tf.constant(kept, tf.bool)
    dataset = dataset.filter(lambda record_index, _: table[record_index])

  start = start_step * global_batch_size
  first_epoch = start // num_images

  @tf.autograph.experimental.do_not_convert
  def epoch_images(epoch):
    # The seed of this function's graph only: `shuffle` combines it with its
    # own seed, and fails on a seed tensor where the graph's seed is 0.
    tf.random.set_seed(1)
    epoch_seed = _random_integer(_seed(seed, _SHUFFLE, epoch))
    return dataset.shuffle(
        shuffle_buffer, seed=epoch_seed, reshuffle_each_iteration=False)

  images = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(
      epoch_images)
  images = images.skip(start % num_images).enumerate(start)
  if num_workers > 1:
    share = global_batch_size // num_workers
    images = images.filter(
        lambda index, _: (index // share) % num_workers == worker)

  @tf.autograph.experimental.do_not_convert
  def make_example(index, numbered):
    record_index, element = numbered
    parsed = element if decoded else decode(element)
    side = _side(seed, sizes, index // global_batch_size)
    mirrored = tf.constant(False)
    if mirror:
      mirrored = tf.random.stateless_uniform(
          [], _seed(seed, _MIRROR, index)) < 0.5
    example = _example(
        parsed, side if resize else None, mirrored, num_proposals,
        len(record_set.classes))
    if not resize:
      example["image_size"] = tf.shape(parsed["image"])[:2]
      example["side"] = side
    return {**example, "example_index": index, "record_index": record_index}

  images = images.map(make_example, tuning.num_calls(), deterministic=True)
  into_batches = images.batch if resize else images.padded_batch
  return tuning.untuned(into_batches(
      global_batch_size // num_replicas, drop_remainder=True).prefetch(2))


def _check(record_set, global_batch_size, num_replicas, cache):
  """Checks arguments of `training_batches`, which names the errors."""
  if global_batch_size % num_replicas:
    raise errors.InputError(
        "--global_batch_size: expected a multiple of the number of replicas, "
        f"{num_replicas}. Received: {global_batch_size}.")
  if not record_set.num_images:
    raise errors.InputError(
        f"{record_set.card_path}: expected images to train on. Received: an "
        "empty split.")
  if cache not in CACHES:
    raise errors.InputError(
        f"--cache: expected one of {', '.join(CACHES)}. Received: {cache!r}.")


def training_side(seed, sizes, step):
  """Side in pixels of the images of a training step.

  Args:
    seed: as in `training_batches`.
    sizes: as in `training_batches`.
    step: int, counted from 0.

  Returns:
    int, one of `sizes`.
  """
  if len(sizes) == 1:
    return sizes[0]
  with tf.device("CPU:0"):
    return int(_side(seed, sizes, step).numpy())


def evaluation_batches(record_set, *, size, num_proposals, batch_size=1):
  """Batches of every image once, in record order, at one side.

  Args:
    record_set: a `record_files.RecordSet`.
    size: image side in pixels.
    num_proposals: R; the best are kept, missing ones are padded.
    batch_size: the last batch may be smaller.

  Returns:
    `tf.data.Dataset` of batches, not mirrored; `example_index` is
    `record_index`.
  """
  num_classes = len(record_set.classes)

  @tf.autograph.experimental.do_not_convert
  def make_example(index, serialized):
    example = _example(
        _parse_and_decode(serialized, num_classes), size, tf.constant(False),
        num_proposals, num_classes)
    return {**example, "example_index": index, "record_index": index}

  dataset = tf.data.TFRecordDataset(list(record_set.paths)).enumerate()
  dataset = dataset.map(make_example, tuning.num_calls(), deterministic=True)
  return tuning.untuned(dataset.batch(batch_size).prefetch(2))


def mirrored(batch):
  """The batch with all images and proposals mirrored, as in training."""
  return {
      **batch,
      "image": tf.reverse(batch["image"], [2]),
      "proposals": tf.where(
          batch["valid"][..., tf.newaxis],
          boxes.flip_left_right_tensor(batch["proposals"]), 0.0),
      "mirrored": ~batch["mirrored"]}


def fingerprint(record_set):
  """Identifies a split on disk by its card and the sizes of its shards.

  Args:
    record_set: a `record_files.RecordSet`.

  Returns:
    16 hexadecimal digits; the same for a copy of the split.
  """
  # The sizes of the card have been compared with those on disk.
  sizes = record_set.card.get("shard_bytes") or map(
      places.getsize, record_set.paths)
  return hashlib.sha256(json.dumps(
      [record_set.card, [(os.path.basename(path), size)
                         for path, size in zip(record_set.paths, sizes)]],
      sort_keys=True).encode()).hexdigest()[:16]


def _parse_and_decode(serialized, num_classes):
  parsed = records.parse_for_training(serialized, num_classes)
  image = tf.io.decode_jpeg(parsed["encoded"], channels=3,
                            dct_method="INTEGER_ACCURATE")
  return {
      "image": image,
      "proposals": parsed["proposals"],
      "objectness": parsed["objectness"],
      "label_ids": parsed["label_ids"],
      "unknown_label_ids": parsed["unknown_label_ids"],
  }


def _example(parsed, side, mirrored, num_proposals, num_classes):
  """One image of a batch; the image stays as decoded if `side` is None."""
  image = parsed["image"]                                         # [h, w, 3]
  if side is not None:
    image = tf.image.resize(image, [side, side], "bilinear",
                            antialias=False)                      # [S, S, 3]
    # `tf.where` would take longer than all else, and a slice from the end half
    # as long.
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    image.set_shape([side if isinstance(side, int) else None] * 2 + [3])
  proposals = parsed["proposals"][:num_proposals]                 # [N, 4]
  proposals = tf.where(
      mirrored, boxes.flip_left_right_tensor(proposals), proposals)
  num_valid = tf.shape(proposals)[0]
  padding = num_proposals - num_valid
  objectness = tf.pad(
      parsed["objectness"][:num_proposals], [[0, padding]])       # [R]
  proposals = tf.pad(proposals, [[0, padding], [0, 0]])           # [R, 4]
  objectness.set_shape([num_proposals])
  proposals.set_shape([num_proposals, 4])
  return {
      "image": image,
      "proposals": proposals,
      "objectness": objectness,
      "valid": tf.range(num_proposals) < num_valid,
      "labels": _multi_hot(parsed["label_ids"], num_classes),
      "label_weights": 1.0 - _multi_hot(
          parsed["unknown_label_ids"], num_classes),
      "mirrored": mirrored,
  }


def _side(seed, sizes, step):
  """Scalar int32, the side drawn for a step."""
  return tf.constant(sizes, tf.int32)[tf.random.stateless_uniform(
      [], _seed(seed, _SIDE, step), 0, len(sizes), tf.int32)]


def _multi_hot(ids, num_classes):
  # Not by a comparison with every class: a record may list thousands.
  hits = tf.scatter_nd(ids[:, tf.newaxis], tf.ones_like(ids, tf.float32),
                       tf.constant([num_classes], tf.int64))
  return tf.minimum(hits, 1.0)                                    # [C]


def _seed(seed, stream, counter):
  """Seed [2] of one draw, from the run's seed, a stream and a counter."""
  return tf.random.experimental.stateless_fold_in(
      tf.constant([seed, stream], tf.int64), tf.cast(counter, tf.int64))


def _random_integer(seed):
  return tf.random.stateless_uniform([], seed, 0, tf.int64.max, tf.int64)
