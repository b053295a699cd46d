"""Shards of records: damaged frames, and records that never were sound."""

import os
import struct

from hypothesis import strategies as st
import numpy as np
import tensorflow as tf

from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.data import records
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import cards

PLACES = r"train-\d+-of-\d+\.tfrecord|^train\.json"
_SHARD = "train-00000-of-00001.tfrecord"


def examples():
  """A small split."""
  return [cards.sound()[0]]


def _records(content):
  found, at = [], 0
  while at < len(content):
    (length,) = struct.unpack_from("<Q", content, at)
    found.append(content[at + 12:at + 12 + length])
    at += 16 + length
  return found


def _crc(content):
  """Masked CRC-32C, as TFRecord has it; the sum is TensorFlow's."""
  path = os.path.join(cards.tempfile.gettempdir(), f"crc-{os.getpid()}")
  with tf.io.TFRecordWriter(path) as writer:
    writer.write(content)
  with open(path, "rb") as file:
    framed = file.read()
  os.remove(path)
  return framed


def _write(parts):
  return b"".join(map(_crc, parts))


@st.composite
def _shards(draw):
  """Frames are right, what is in them may not be."""
  case, _ = cards.sound()
  parts = _records(case[_SHARD])
  index = draw(st.integers(0, len(parts) - 1))
  example = tf.train.Example.FromString(parts[index])
  feature = example.features.feature
  for _ in range(draw(st.integers(0, 2))):
    key = draw(st.sampled_from(sorted(feature)))
    what = draw(st.integers(0, 4))
    if what == 0:
      del feature[key]
    elif what == 1:
      feature[key].float_list.value[:] = draw(st.lists(
          st.floats(width=32), max_size=9))
    elif what == 2:
      feature[key].int64_list.value[:] = draw(st.lists(
          st.integers(-2 ** 63, 2 ** 63 - 1), max_size=5))
    elif what == 3:
      feature[key].bytes_list.value[:] = draw(st.lists(
          st.binary(max_size=20), max_size=2))
    else:
      feature[key].Clear()
    if not feature:
      break
  parts[index] = example.SerializeToString(deterministic=True)
  if draw(st.booleans()):
    parts[index] = draw(g.mostly(st.just(parts[index]), st.binary(
        max_size=30)))
  content = draw(g.mostly(st.just(_write(parts)), st.sampled_from([
      struct.pack("<Q", 2 ** 63) + b"\0" * 20,
      struct.pack("<Q", 2 ** 40) + b"\0" * 20,
      _write(parts[:1])[:8] + b"\0" * 4 + _write(parts)[12:], b"",
      _write(parts) + b"\0", _write(parts)[:-1], _write(parts[:2]),
      _write(parts * 2)])))
  return {**case, _SHARD: content}


def grammar():
  """Splits whose one shard holds what no converter wrote."""
  return _shards()


def check(folder):
  """Batches of the shapes promised, and as many truths as images."""
  found = record_files.open_split(folder, "train")
  with record_files.naming_faults(found):
    _check(found)


def _check(found):
  truths = records.read_labelled_images(found.paths, len(found.classes))
  oracle.demand(len(truths) == found.num_images,
                f"records lost: {len(truths)} of {found.num_images}")
  count = 0
  for batch in input_pipeline.evaluation_batches(
      found, size=32, num_proposals=4, batch_size=2).as_numpy_iterator():
    count += len(batch["image"])
    oracle.demand(batch["image"].shape[1:] == (32, 32, 3),
                  f"an image of {batch['image'].shape}")
    for key in ("image", "proposals", "objectness", "labels"):
      oracle.demand(np.isfinite(batch[key]).all(), f"{key} not finite")
    boxes = batch["proposals"]
    oracle.demand((boxes[..., 2:] >= boxes[..., :2]).all(),
                  "proposals not in order")
  oracle.demand(count == found.num_images, f"images lost: {count}")
