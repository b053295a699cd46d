"""Small converted splits for tests: coloured squares on grey."""

import numpy as np
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

CLASSES = ("red", "green", "blue")
SIDE = 48


def write(directory, split, num_images, *, seed=0, objectness=1.0):
  """Writes a split of one shard, one square of one class an image.

  Args:
    directory: where to.
    split: its name.
    num_images: how many.
    seed: of the squares and proposals.
    objectness: score of every proposal.

  Returns:
    The split, opened.
  """
  random = np.random.RandomState(seed)
  with tf.io.TFRecordWriter(
      record_files.shard_path(directory, split, 0, 1)) as writer:
    for index in range(num_images):
      writer.write(records.serialize(_record(random, index, objectness)))
  files.write_json(record_files.card_path(directory, split), {
      "format_version": records.FORMAT_VERSION, "classes": list(CLASSES),
      "num_images": num_images, "num_shards": 1})
  return record_files.open_split(directory, split)


def _record(random, index, objectness):
  label = index % len(CLASSES)
  top, left = random.randint(0, SIDE // 2, 2)
  image = np.full([SIDE, SIDE, 3], 128, np.uint8)
  image[top:top + SIDE // 2, left:left + SIDE // 2] = 40
  image[top:top + SIDE // 2, left:left + SIDE // 2, label] = 220
  truth = np.array(
      [[top, left, top + SIDE // 2, left + SIDE // 2]], np.float32) / SIDE
  corners = np.sort(random.uniform(size=[5, 2, 2]), axis=1)
  boxes = np.concatenate([corners.reshape(-1, 4).astype(np.float32), truth])
  return records.Record(
      image_id=f"{index:06d}",
      encoded=tf.io.encode_jpeg(image, quality=95).numpy(),
      height=SIDE, width=SIDE, label_ids=np.array([label]),
      proposal_boxes=boxes,
      proposal_scores=np.full(len(boxes), objectness, np.float32),
      truth=records.Truth(truth, np.array([label]), np.zeros(1, bool),
                          np.zeros(1, bool)))
