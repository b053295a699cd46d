"""Records that break a rule, and shards with damaged bytes, for tests."""

import numpy as np
import tensorflow as tf

from kdwsd.data import record_files

_NAN, _INF = float("nan"), float("inf")


def _numbers(key, values):
  def change(feature):
    list_ = feature[key].float_list if feature[key].WhichOneof(
        "kind") == "float_list" else feature[key].int64_list
    list_.value[:] = values
  return change


def _first_numbers(key, values):
  def change(feature):
    feature[key].float_list.value[:len(values)] = values
  return change


def _without(key):
  def change(feature):
    del feature[key]
  return change


def _kind(key):
  def change(feature):
    feature[key].bytes_list.value[:] = [b"?"]
  return change


def _jpeg(feature):
  content = feature["image/encoded"].bytes_list.value[0]
  feature["image/encoded"].bytes_list.value[0] = content[:len(content) // 2]


def _not_a_jpeg(feature):
  feature["image/encoded"].bytes_list.value[0] = b"GIF no more"


# {what: (change of a record's features, the words that name the fault)}. Box 0
# of the proposals comes first in both lists.
IN_TRAINING = {
    "no image": (_without("image/encoded"), "one value of bytes under image/"),
    "no labels": (_without("labels/ids"), "int64 under labels/ids"),
    "labels of another type": (
        _kind("labels/ids"), "int64 under labels/ids. Received: 1 bytes"),
    "label out of range": (
        _numbers("labels/ids", [1, 3]), "labels/ids from 0 to 2.*Received: 3"),
    "negative label": (
        _numbers("labels/unknown_ids", [-1]), "labels/unknown_ids from 0 to 2"),
    "boxes not of 4 numbers": (
        _numbers("proposals/boxes", np.linspace(0, 1, 23)), "23 for 6"),
    "fewer scores than boxes": (
        _numbers("proposals/scores", [1, .5]), "Received: 24 for 2"),
    "NaN in a box": (
        _first_numbers("proposals/boxes", [0, _NAN]), "finite numbers in "
        "proposals/boxes.*box 0"),
    "infinite score": (
        _first_numbers("proposals/scores", [1, _INF]),
        "finite numbers in proposals/scores. Received: inf, score 1"),
    "NaN score": (
        _first_numbers("proposals/scores", [_NAN]), "Received: nan, score 0"),
    "pixels for fractions": (
        _first_numbers("proposals/boxes", [0, 0, 31, 47]),
        r"within \[0, 1\]. Received: \[0.0, 0.0, 31.0, 47.0\], box 0"),
    "box turned over": (
        _first_numbers("proposals/boxes", [.5, 0, .25, 1]), "box 0"),
    "half a JPEG": (_jpeg, "a JPEG image under image/encoded"),
    "another format": (_not_a_jpeg, "a JPEG image under image/encoded"),
}

IN_TRUTH = {
    "truth not of 4 numbers": (
        _numbers("truth/boxes", [0, 0, 1]), "Received: 3 for 1"),
    "NaN in truth": (
        _numbers("truth/boxes", [0, 0, 1, _NAN]), "finite numbers in truth"),
    "object of no class": (
        _numbers("truth/class_ids", [3]), "truth/class_ids from 0 to 2"),
    "flags missing": (
        _numbers("truth/difficult", []), "truth/difficult for each"),
}


def spoil(record_set, number, change):
  """Changes the features of one record of the first shard."""
  path = record_set.paths[0]
  contents = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
  example = tf.train.Example.FromString(contents[number])
  change(example.features.feature)
  contents[number] = example.SerializeToString()
  with tf.io.TFRecordWriter(path) as writer:
    for content in contents:
      writer.write(content)


def flip(record_set, number, place=0.5):
  """Flips a bit in the data of one record of the first shard.

  Args:
    record_set: whose.
    number: of the record, from 0.
    place: where in its data, 0 to 1.
  """
  with open(record_set.paths[0], "r+b") as file:
    for _ in range(number):
      length = int.from_bytes(file.read(8), "little")
      file.seek(length + 8, 1)
    length = int.from_bytes(file.read(8), "little")
    position = file.tell() + 4 + int(place * (length - 1))
    file.seek(position)
    byte = file.read(1)[0]
    file.seek(position)
    file.write(bytes([byte ^ 4]))


def reopened(record_set):
  """The split anew, whose card is still right."""
  return record_files.open_split(record_set.directory, record_set.split)
