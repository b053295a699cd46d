"""Records of MS-COCO's number and kind, from few photographs.

No two images are equal: two entries of a photograph's quantization table are
raised, other ones in each copy, so that the same coefficients stand for other
pixels. That takes no decoding and no encoding, and an image still costs as much
to decode as the photograph.

Classes and objects are drawn: 80 classes, of which one is in half of the
images, 2.9 classes and 7.3 objects an image as in train2017, two fifths of the
objects smaller than 32 x 32 pixels of 640 x 480. So labels have nothing to do
with the pixels: these records are for time, memory and disk.
"""

import glob
import io
import itertools
import math
import os
import struct

import numpy as np
import PIL.Image
import tensorflow as tf

from benchmarks import drawn_records
from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import records

NUM_CLASSES = 80

# Entries of a table in zigzag order, from the second on: coefficients that are
# not zero in a photograph.
_ENTRIES = tuple(itertools.combinations(range(1, 29), 2))
_TABLE, _SCAN = 0xDB, 0xDA  # JPEG's markers.

# Images by their number of classes, from 0 on.
_CLASSES_OF_IMAGE = (.01, .23, .26, .20, .13, .08, .05, .02, .01, .005, .005)
_OBJECTS_OF_CLASS = 2.5
_SHORTEST, _LONGEST = 0.02, 0.9  # Side of an object, of the image's.
_CROWD = 0.01


def photographs(folders, number):
  """JPEG bytes of photographs.

  Args:
    folders: folders of .jpg files, read in order.
    number: how many are enough.

  Returns:
    List of bytes.

  Raises:
    errors.InputError: there is none.
  """
  paths = [path for folder in folders for path in sorted(
      glob.glob(os.path.join(glob.escape(folder), "*.jpg")))][:number]
  if not paths:
    raise errors.InputError(
        f"--photographs: expected folders of .jpg files. Received: "
        f"{', '.join(folders) or 'none'}.")
  found = []
  for path in paths:
    with open(path, "rb") as file:
      found.append(file.read())
  return found


def draw(folder, number=16):
  """Draws images, as costly to decode as photographs, into a folder."""
  os.makedirs(folder)
  random = np.random.default_rng(0)
  for index in range(number):
    with open(os.path.join(folder, f"{index}.jpg"), "wb") as file:
      file.write(drawn_records.image(random))


def copy_of(photograph, number):
  """A JPEG like another one, with other pixels for every number.

  Args:
    photograph: bytes of a JPEG with 8-bit quantization tables.
    number: from 0 on; 0 is another image than the photograph, too.

  Returns:
    Bytes.
  """
  first, second = _ENTRIES[number % len(_ENTRIES)]
  further = 1 + number // len(_ENTRIES)
  made, position = bytearray(photograph), 2
  while made[position + 1] != _SCAN:
    length, = struct.unpack_from(">H", made, position + 2)
    if made[position + 1] == _TABLE:
      start = position + 5  # After the marker, the length and the table's id.
      for entry in (first, second):
        made[start + entry] = min(255, made[start + entry] + further)
      return bytes(made)
    position += 2 + length
  raise ValueError("Invalid `photograph`. Expected a quantization table.")


def write_from(directory, split, num_images, folders, seed):
  """`write` from the photographs of folders."""
  return write(directory, split, num_images, photographs(folders, 1000),
               seed=seed)


def write(directory, split, num_images, originals, *, num_proposals=500,
          seed=0):
  """Writes a split of as many shards as the converter would.

  Args:
    directory: where to; made if missing.
    split: its name.
    num_images: how many.
    originals: list of JPEG bytes, see `photographs`.
    num_proposals: proposals of each image.
    seed: of labels and boxes; splits of other seeds have other images, too.

  Returns:
    Bytes written.
  """
  os.makedirs(directory, exist_ok=True)
  random = np.random.default_rng(seed)
  sizes = [PIL.Image.open(io.BytesIO(one)).size for one in originals]
  num_shards = min(max(1, math.ceil(num_images / 128)), 256)
  edges = np.linspace(0, num_images, num_shards + 1).astype(int)
  positive = np.zeros([NUM_CLASSES], np.int64)
  num_objects, shard_bytes = 0, []
  for shard, (first, last) in enumerate(zip(edges[:-1], edges[1:])):
    path = record_files.shard_path(directory, split, shard, num_shards)
    with tf.io.TFRecordWriter(path) as writer:
      for index in range(first, last):
        number, which = divmod(seed * 41_000 + index, len(originals))
        width, height = sizes[which]
        truth = _objects(random)
        labels = np.unique(truth.class_ids)
        boxes, scores = _proposals(random, truth.boxes, num_proposals)
        writer.write(records.serialize(records.Record(
            image_id=f"{split}-{index:07d}", height=height, width=width,
            encoded=copy_of(originals[which], number), label_ids=labels,
            proposal_boxes=boxes, proposal_scores=scores, truth=truth)))
        positive[labels] += 1
        num_objects += len(truth.class_ids)
    shard_bytes.append(os.path.getsize(path))
  classes = [f"class {number}" for number in range(NUM_CLASSES)]
  files.write_json(record_files.card_path(directory, split), {
      "format_version": records.FORMAT_VERSION, "classes": classes,
      "num_images": num_images, "num_shards": num_shards,
      "shard_bytes": shard_bytes, "num_objects": num_objects,
      "images_per_class": dict(zip(classes, positive.tolist()))})
  return sum(shard_bytes)


def _objects(random):
  """`records.Truth` of an image."""
  number = random.choice(len(_CLASSES_OF_IMAGE), p=_CLASSES_OF_IMAGE)
  # Of each class a random number; the largest are drawn with these odds.
  odds = np.log(random.uniform(size=NUM_CLASSES)) / _ODDS
  class_ids = np.argsort(-odds)[:number]
  class_ids = np.repeat(
      class_ids, random.geometric(1 / _OBJECTS_OF_CLASS, number))
  sides = np.exp(random.uniform(
      math.log(_SHORTEST), math.log(_LONGEST), [len(class_ids), 2]))
  corners = random.uniform(size=sides.shape) * (1 - sides)
  return records.Truth(
      boxes=np.hstack([corners, corners + sides]).astype(np.float32),
      class_ids=class_ids, difficult=np.zeros(len(class_ids), bool),
      crowd=random.uniform(size=len(class_ids)) < _CROWD)


def _proposals(random, objects, number):
  """Boxes [number, 4] float32 about objects and elsewhere, and their scores."""
  centres = np.vstack([objects, random.uniform(size=[12, 4])])
  boxes = centres[random.integers(len(centres), size=number)]
  boxes = boxes + random.normal(0, 0.04, boxes.shape)
  low = np.clip(np.minimum(boxes[:, :2], boxes[:, 2:]), 0, 0.98)
  high = np.clip(np.maximum(boxes[:, :2], boxes[:, 2:]), low + 0.02, 1)
  scores = np.sort(random.uniform(0, 0.5, number))[::-1]
  return (np.hstack([low, high]).astype(np.float32),
          scores.astype(np.float32))


# The first class is in half of the images, the last in one of some hundreds.
_ODDS = 1 / (1 + np.arange(NUM_CLASSES)) ** 0.8
_ODDS[0] *= 3
