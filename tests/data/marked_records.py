"""Records that tell images and their mirrors apart, and a warp in NumPy."""

import numpy as np
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

NUM_IMAGES = 11
CLASSES = ("cat", "dog", "sheep")
HEIGHT, WIDTH = 12, 20


def record(index):
  """Left half dark, right half bright; no two records alike."""
  random = np.random.RandomState(index)
  image = np.zeros([HEIGHT, WIDTH, 3], np.uint8)
  image[:, WIDTH // 2:] = 120 + 10 * index
  image[:4, :4] = random.randint(256, size=3)
  corners = np.sort(random.uniform(size=[index % 7, 2, 2]), axis=1)
  return records.Record(
      image_id=f"image{index}",
      encoded=tf.io.encode_jpeg(image, quality=95).numpy(),
      height=HEIGHT, width=WIDTH,
      label_ids=np.flatnonzero(random.uniform(size=3) < 0.5),
      unknown_label_ids=np.array([2] if index == 4 else [], np.int64),
      proposal_boxes=corners.reshape(-1, 4).astype(np.float32),
      proposal_scores=np.sort(
          random.uniform(size=index % 7))[::-1].astype(np.float32))


def write(directory, serialized, split="train", num_shards=2):
  parts = np.array_split(np.arange(len(serialized)), num_shards)
  for shard, part in enumerate(parts):
    path = record_files.shard_path(directory, split, shard, num_shards)
    with tf.io.TFRecordWriter(path) as writer:
      for index in part:
        writer.write(serialized[index])
  files.write_json(record_files.card_path(directory, split), {
      "format_version": records.FORMAT_VERSION, "classes": list(CLASSES),
      "num_images": len(serialized), "num_shards": num_shards})
  return record_files.open_split(directory, split)


def is_mirrored(batch):
  """Whether the bright half of each image is on the left."""
  image = batch["image"]
  return list(image[:, -1, 0, 0] > image[:, -1, -1, 0])


def warp(image, side):
  """Bilinear, no antialiasing; pixel centres at half integers. [S, S, 3]."""
  image = image.astype(np.float64)
  for axis in (0, 1):
    length = image.shape[axis]
    place = np.clip((np.arange(side) + 0.5) * length / side - 0.5,
                    0, length - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, length - 1)
    share = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
    image = (image.take(low, axis) * (1 - share)
             + image.take(high, axis) * share)
  return image
