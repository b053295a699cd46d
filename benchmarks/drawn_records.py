"""Records of random images with random proposals, which need no OpenCV.

The images are as costly to decode as photographs: of their size, smooth with
some noise, some 100 kB each.
"""

import io

import numpy as np
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

_HEIGHT, _WIDTH, _NUM_CLASSES = 375, 500, 20
_DIFFERENT = 16  # Images; they are repeated with other proposals.


def write(directory, split, num_images, num_proposals, num_shards=1):
  """Writes a split.

  Args:
    directory: where to.
    split: its name.
    num_images: how many.
    num_proposals: proposals of each image.
    num_shards: files, of nearly the same number of images.
  """
  random = np.random.default_rng(0)
  images = [image(random) for _ in range(min(_DIFFERENT, num_images))]
  for shard in range(num_shards):
    with tf.io.TFRecordWriter(record_files.shard_path(
        directory, split, shard, num_shards)) as writer:
      for index in range(shard, num_images, num_shards):
        writer.write(records.serialize(_record(
            random, index, images[index % len(images)], num_proposals)))
  files.write_json(record_files.card_path(directory, split), {
      "format_version": records.FORMAT_VERSION,
      "classes": [f"class {number}" for number in range(_NUM_CLASSES)],
      "num_images": num_images, "num_shards": num_shards})


def image(random):
  """JPEG bytes of a smooth image with some noise."""
  import PIL.Image  # pylint: disable=import-outside-toplevel
  coarse = PIL.Image.fromarray(random.integers(
      0, 256, [12, 16, 3], dtype=np.uint8))
  smooth = np.asarray(coarse.resize(
      (_WIDTH, _HEIGHT), PIL.Image.BICUBIC), np.float32)
  noisy = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255)
  file = io.BytesIO()
  PIL.Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=90)
  return file.getvalue()


def _record(random, index, encoded, num_proposals):
  boxes = random_boxes(random, num_proposals)
  truth = random_boxes(random, 2)
  label_ids = np.unique(random.integers(0, _NUM_CLASSES, 2))
  return records.Record(
      image_id=f"{index:06d}", encoded=encoded, height=_HEIGHT, width=_WIDTH,
      label_ids=label_ids, proposal_boxes=boxes,
      proposal_scores=np.sort(random.uniform(size=num_proposals))[::-1],
      truth=records.Truth(
          truth[:len(label_ids)], label_ids, np.zeros(len(label_ids), bool),
          np.zeros(len(label_ids), bool)))


def random_boxes(random, count):
  """[count, 4] float32, at least a tenth of the image wide and high."""
  corners = random.uniform(0, 0.9, [count, 2])
  sizes = random.uniform(0.1, 1 - corners)
  return np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
