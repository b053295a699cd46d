"""The one owner of the record format: what a TFRecord of kdwsd holds.

One `tf.train.Example` an image. Boxes are as `kdwsd.boxes` says: (ymin, xmin,
ymax, xmax) as fractions of the upright image.

| key | type | what |
|---|---|---|
| image/encoded | bytes | JPEG, upright, RGB or grey |
| image/id | bytes | unique in the data set, UTF-8 |
| image/height, image/width | int64 | pixels of the encoded image |
| labels/ids | int64 [L] | classes present, indices into the card's classes |
| labels/unknown_ids | int64 [U] | classes neither present nor absent |
| proposals/boxes | float [4 N] | best first |
| proposals/scores | float [N] | objectness, not increasing |
| truth/known | int64 | 1 if the source has boxes, else 0 |
| truth/boxes | float [4 M] | for evaluation only |
| truth/class_ids | int64 [M] | |
| truth/difficult, truth/crowd | int64 [M] | 0 or 1 |

A class is unknown in a VOC image whose only objects of it are difficult. What
must hold of the values is in `record_rules`. Training reads
`TRAINING_FEATURES`, which has no `truth/` key. Beside the shards
`SPLIT-00000-of-00004.tfrecord` lies the data set's card, `SPLIT.json`.
"""

import contextlib
import dataclasses
import glob
import os
import re

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.data import record_rules
from kdwsd.data import texts

FORMAT_VERSION = 1

_BYTES = tf.io.FixedLenFeature([], tf.string)
_INTEGER = tf.io.FixedLenFeature([], tf.int64)


def _integers():
  return tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)


def _floats():
  return tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)


TRAINING_FEATURES = {
    "image/encoded": _BYTES,
    "image/id": _BYTES,
    "image/height": _INTEGER,
    "image/width": _INTEGER,
    "labels/ids": _integers(),
    "labels/unknown_ids": _integers(),
    "proposals/boxes": _floats(),
    "proposals/scores": _floats(),
}

TRUTH_FEATURES = {
    "image/id": _BYTES,
    "image/height": _INTEGER,
    "image/width": _INTEGER,
    "labels/ids": _integers(),
    "labels/unknown_ids": _integers(),
    "truth/known": _INTEGER,
    "truth/boxes": _floats(),
    "truth/class_ids": _integers(),
    "truth/difficult": _integers(),
    "truth/crowd": _integers(),
}


def _no_integers():
  return np.zeros([0], np.int64)


@dataclasses.dataclass(frozen=True)
class Truth:
  """Annotated objects of one image; for evaluation only.

  Attributes:
    boxes: [M, 4] float32.
    class_ids: [M] int64.
    difficult: [M] bool; ignored by VOC's metrics.
    crowd: [M] bool; ignored by COCO's metrics.
  """
  boxes: np.ndarray
  class_ids: np.ndarray
  difficult: np.ndarray
  crowd: np.ndarray


@dataclasses.dataclass(frozen=True)
class Record:
  """One image with what is known about it.

  Attributes:
    image_id: unique in the data set.
    encoded: JPEG bytes, upright.
    height: of the JPEG, pixels.
    width: likewise.
    label_ids: [L] int64, classes present.
    unknown_label_ids: [U] int64.
    proposal_boxes: [N, 4] float32, best first.
    proposal_scores: [N] float32.
    truth: None where the source has no boxes.
  """
  image_id: str
  encoded: bytes
  height: int
  width: int
  label_ids: np.ndarray
  unknown_label_ids: np.ndarray = dataclasses.field(
      default_factory=_no_integers)
  proposal_boxes: np.ndarray = dataclasses.field(
      default_factory=lambda: np.zeros([0, 4], np.float32))
  proposal_scores: np.ndarray = dataclasses.field(
      default_factory=lambda: np.zeros([0], np.float32))
  truth: Truth = None


@dataclasses.dataclass(frozen=True)
class LabelledImage:
  """What evaluation needs of a record beside the pixels.

  Attributes: as `Record`; `truth` is None where the source has no boxes.
  """
  image_id: str
  height: int
  width: int
  label_ids: np.ndarray
  unknown_label_ids: np.ndarray
  truth: Truth


def serialize(record):
  """Serializes a `Record`; the same record always gives the same bytes."""
  truth = record.truth
  feature = {
      "image/encoded": _bytes_feature(record.encoded),
      "image/id": _bytes_feature(record.image_id.encode("utf-8")),
      "image/height": _int_feature([record.height]),
      "image/width": _int_feature([record.width]),
      "labels/ids": _int_feature(record.label_ids),
      "labels/unknown_ids": _int_feature(record.unknown_label_ids),
      "proposals/boxes": _float_feature(record.proposal_boxes),
      "proposals/scores": _float_feature(record.proposal_scores),
      "truth/known": _int_feature([truth is not None]),
      "truth/boxes": _float_feature([] if truth is None else truth.boxes),
      "truth/class_ids": _int_feature(
          [] if truth is None else truth.class_ids),
      "truth/difficult": _int_feature(
          [] if truth is None else truth.difficult),
      "truth/crowd": _int_feature([] if truth is None else truth.crowd),
  }
  example = tf.train.Example(features=tf.train.Features(feature=feature))
  return example.SerializeToString(deterministic=True)


def parse_for_training(serialized, num_classes=None):
  """Parses one record without its ground truth.

  Args:
    serialized: scalar string tensor.
    num_classes: C, that labels are checked against; None not to.

  Returns:
    Dict of tensors: `encoded` string, `image_id` string, `height` and `width`
    int64, `label_ids` [L] and `unknown_label_ids` [U] int64, `proposals` [N, 4]
    and `objectness` [N] float32.

  Raises:
    tf.errors.InvalidArgumentError: where it runs, over a record that breaks
      `record_rules`; `record_faults.named` tells the user which.
  """
  parsed = tf.io.parse_single_example(serialized, TRAINING_FEATURES)
  rules = record_rules.for_training(parsed, num_classes)
  with _after(record_rules.require(rules, parsed["image/id"])):
    parsed = {key: tf.identity(value) for key, value in parsed.items()}
  return {
      "encoded": parsed["image/encoded"],
      "image_id": parsed["image/id"],
      "height": parsed["image/height"],
      "width": parsed["image/width"],
      "label_ids": parsed["labels/ids"],
      "unknown_label_ids": parsed["labels/unknown_ids"],
      "proposals": tf.reshape(parsed["proposals/boxes"], [-1, 4]),
      "objectness": parsed["proposals/scores"],
  }


def parse_truth(serialized, num_classes=None):
  """Parses one record without its image and proposals; for evaluation only.

  Args:
    serialized: scalar string tensor.
    num_classes: as `parse_for_training`.

  Returns:
    Dict of tensors under the keys of `TRUTH_FEATURES`.

  Raises:
    tf.errors.InvalidArgumentError: as `parse_for_training`.
  """
  parsed = tf.io.parse_single_example(serialized, TRUTH_FEATURES)
  rules = record_rules.for_truth(parsed, num_classes)
  with _after(record_rules.require(rules, parsed["image/id"])):
    return {key: tf.identity(value) for key, value in parsed.items()}


def read_labelled_images(paths, num_classes=None):
  """Reads ids, sizes, labels and ground truth of whole shards.

  Args:
    paths: shard files, in the order wanted.
    num_classes: as `parse_for_training`.

  Returns:
    List of `LabelledImage`, in file order.
  """
  images = []
  dataset = tf.data.TFRecordDataset(paths).map(
      lambda serialized: parse_truth(serialized, num_classes),
      tf.data.AUTOTUNE, deterministic=True)
  for parsed in dataset.as_numpy_iterator():
    truth = None
    if parsed["truth/known"]:
      truth = Truth(
          boxes=parsed["truth/boxes"].reshape(-1, 4),
          class_ids=parsed["truth/class_ids"],
          difficult=parsed["truth/difficult"].astype(bool),
          crowd=parsed["truth/crowd"].astype(bool))
    images.append(LabelledImage(
        image_id=parsed["image/id"].decode("utf-8", "replace"),
        height=int(parsed["image/height"]),
        width=int(parsed["image/width"]),
        label_ids=parsed["labels/ids"],
        unknown_label_ids=parsed["labels/unknown_ids"],
        truth=truth))
  return images


def shard_path(directory, split, index, num_shards):
  """Path of one shard."""
  return os.path.join(
      directory, f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord")


def card_path(directory, split):
  """Path of the card that describes a split."""
  return os.path.join(directory, f"{split}.json")


@dataclasses.dataclass(frozen=True)
class RecordSet:
  """A converted split on disk.

  Attributes:
    directory: where shards and card lie.
    split: its name.
    paths: shard files, in order.
    card: the card's content; see `kdwsd.data.cards`.
  """
  directory: str
  split: str
  paths: tuple
  card: dict

  @property
  def classes(self):
    """Class names; their order gives the label ids."""
    return tuple(self.card["classes"])

  @property
  def num_images(self):
    """Number of records in all shards."""
    return int(self.card["num_images"])


def open_split(directory, split):
  """Opens a converted split, checking that it is whole.

  Args:
    directory: as given to the converter's `--output`.
    split: as given to the converter's `--split`.

  Returns:
    A `RecordSet`.

  Raises:
    errors.InputError: no such split, another format, or shards that are
      missing, cut short or another card's.
  """
  if not os.path.isdir(directory):
    raise errors.InputError(
        f"{directory}: expected a directory of records, as written by "
        "`python -m kdwsd.make_records`. Received: no such directory.")
  path = card_path(directory, split)
  if not os.path.exists(path):
    there = sorted(
        re.sub(r"\.json$", "", os.path.basename(p))
        for p in glob.glob(
            os.path.join(glob.escape(directory), "*.json")))
    raise errors.InputError(
        f"{path}: expected the card of a finished conversion. Received: no "
        f"such file; finished splits here: {', '.join(there) or 'none'}.")
  card = files.read_json(path)
  version = card.get("format_version") if isinstance(card, dict) else None
  if version != FORMAT_VERSION:
    raise errors.InputError(
        f"{path}: expected records of format {FORMAT_VERSION}. Received: "
        f"format {texts.quoted(version)}; convert the data again.")
  record_files.check_card(path, card)
  num_shards, paths = card["num_shards"], []
  # One by one, for a damaged card may speak of any number.
  for i in range(num_shards):
    paths.append(shard_path(directory, split, i, num_shards))
    if not os.path.exists(paths[-1]):
      there = glob.glob(os.path.join(
          glob.escape(directory),
          f"{glob.escape(split)}-*-of-{num_shards:05d}.tfrecord"))
      raise errors.InputError(
          f"{path}: expected {num_shards} shards. Received: "
          f"{num_shards - len(there)} missing, first {paths[-1]}.")
  paths = tuple(paths)
  record_files.check(path, card, paths, TRAINING_FEATURES)
  return RecordSet(directory=directory, split=split, paths=paths, card=card)


@contextlib.contextmanager
def _after(operation):
  """Lets what is made in the block wait; eagerly, it has happened already."""
  if operation is None:
    yield
  else:
    with tf.control_dependencies([operation]):
      yield


def _bytes_feature(value):
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(values):
  values = np.asarray(values, np.int64).reshape(-1)
  return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _float_feature(values):
  values = np.asarray(values, np.float32).reshape(-1)
  return tf.train.Feature(float_list=tf.train.FloatList(value=values))
