"""A split of photographs of several sizes, for tests: noise, no two alike."""

import numpy as np
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

CLASSES = ("red", "green", "blue")

# Height and width: small and large, flat and tall, one pixel.
SIZES = ((20, 31), (64, 48), (33, 90), (1, 1), (48, 48), (7, 100), (61, 17))


def pixels(index):
  """[h, w, 3] uint8, smooth enough for a JPEG."""
  height, width = SIZES[index]
  random = np.random.RandomState(index)
  coarse = random.uniform(0, 255, [5, 6, 3]).astype(np.float32)
  image = tf.image.resize(coarse, [height, width], "bicubic")
  return np.clip(np.rint(image.numpy()), 0, 255).astype(np.uint8)


def write(directory, split):
  """Writes a split of one shard with an image of each of `SIZES`.

  Args:
    directory: where to.
    split: its name.

  Returns:
    The split, opened.
  """
  with tf.io.TFRecordWriter(
      record_files.shard_path(directory, split, 0, 1)) as writer:
    for index, (height, width) in enumerate(SIZES):
      random = np.random.RandomState(index)
      corners = np.sort(random.uniform(size=[5, 2, 2]), axis=1)
      writer.write(records.serialize(records.Record(
          image_id=f"{index:06d}",
          encoded=tf.io.encode_jpeg(pixels(index), quality=95).numpy(),
          height=height, width=width, label_ids=np.array([index % 3]),
          proposal_boxes=corners.reshape(-1, 4).astype(np.float32),
          proposal_scores=np.linspace(1, .5, 5, dtype=np.float32))))
  files.write_json(record_files.card_path(directory, split), {
      "format_version": records.FORMAT_VERSION, "classes": list(CLASSES),
      "num_images": len(SIZES), "num_shards": 1})
  return record_files.open_split(directory, split)
