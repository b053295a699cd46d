"""Tests of kdwsd.data.record_files, on files of bytes."""

import os

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from tests.data import fake_records


def _shard(path, lengths):
  with tf.io.TFRecordWriter(str(path)) as writer:
    for length in lengths:
      writer.write(b"x" * length)
  return str(path)


@pytest.mark.parametrize("lengths", [(), (0,), (5, 0, 300, 70000)])
def test_counts_what_tensorflow_wrote(tmp_path, lengths):
  assert record_files.count(_shard(tmp_path / "a", lengths)) == len(lengths)


# Two frames of 12 + 30 + 4 bytes.
@pytest.mark.parametrize("size", [47, 57, 58, 60, 88, 91])
def test_file_that_ends_within_a_record_names_it(tmp_path, size):
  path = _shard(tmp_path / "a", (30, 30))
  os.truncate(path, size)
  with pytest.raises(errors.InputError, match=r"a: record 1 \(counted from 0\)"
                     ".*ends within it"):
    record_files.count(path)


@pytest.mark.parametrize("byte", [0, 7, 8, 11])
def test_damaged_length_names_the_record(tmp_path, byte):
  path = _shard(tmp_path / "a", (30, 30))
  with open(path, "r+b") as file:
    file.seek(46 + byte)
    old = file.read(1)
    file.seek(46 + byte)
    file.write(bytes([old[0] ^ 1]))
  with pytest.raises(errors.InputError, match=r"record 1 .*wrong checksum"):
    record_files.count(path)


def _change_card(directory, **changes):
  path = record_files.card_path(directory, "train")
  files.write_json(path, {**files.read_json(path), **changes})


def test_whole_split_opens(tmp_path):
  fake_records.write(str(tmp_path), "train", 3)
  path = record_files.shard_path(str(tmp_path), "train", 0, 1)
  _change_card(str(tmp_path), shard_bytes=[os.path.getsize(path)])
  assert record_files.open_split(str(tmp_path), "train").num_images == 3


def test_where_the_card_has_the_sizes_no_record_is_looked_for(
    tmp_path, monkeypatch):
  fake_records.write(str(tmp_path), "train", 3)
  path = record_files.shard_path(str(tmp_path), "train", 0, 1)
  size = os.path.getsize(path)
  _change_card(str(tmp_path), shard_bytes=[size])
  monkeypatch.setattr(record_files, "count", None)
  assert record_files.open_split(str(tmp_path), "train").num_images == 3
  os.truncate(path, size - 1)
  with pytest.raises(errors.InputError, match="a truncated shard or one of an"):
    record_files.open_split(str(tmp_path), "train")


def test_a_damaged_length_is_left_to_reading(tmp_path):
  fake_records.write(str(tmp_path), "train", 3)
  path = record_files.shard_path(str(tmp_path), "train", 0, 1)
  _change_card(str(tmp_path), shard_bytes=[os.path.getsize(path)])
  with open(path, "rb+") as file:
    file.write(b"\xff" * 8)
  record_set = record_files.open_split(str(tmp_path), "train")
  with pytest.raises(
      errors.InputError, match=r"record 0 .*fit their checksum"
  ), record_files.naming_faults(record_set):
    list(tf.data.TFRecordDataset(list(record_set.paths)))


@pytest.mark.parametrize("changes, message", [
    ({"num_images": 4}, "expected 4 images in its 1 shards. Received: 3, 3 in"),
    ({"shard_bytes": [17]}, "expected the shard of 17 bytes"),
    ({"format_version": 7}, "expected records of format 1. Received: format 7"),
    ({"num_shards": 2}, "expected 2 shards. Received: 2 missing"),
    ({"num_shards": None}, "whole number from 1 on under 'num_shards'"),
    ({"num_images": "3"}, "whole number from 0 on under 'num_images'"),
    ({"num_images": True}, "whole number from 0 on under 'num_images'"),
    ({"classes": [1]}, r"expected names under 'classes'. Received: \[1\]"),
    ({"classes": None}, "expected names under 'classes'"),
    ({"classes": ["cat", "dog", "cat"]}, "expected each name once under 'cla"),
    ({"num_shards": 2 ** 40}, "expected 1099511627776 shards. Received: 10995"),
    ({"shard_bytes": 17}, "expected a list, or nothing, under 'shard_bytes'"),
])
def test_card_that_does_not_fit_is_refused(tmp_path, changes, message):
  fake_records.write(str(tmp_path), "train", 3)
  _change_card(str(tmp_path), **changes)
  with pytest.raises(errors.InputError, match=message):
    record_files.open_split(str(tmp_path), "train")


def test_shard_cut_off_between_records_is_noticed(tmp_path):
  fake_records.write(str(tmp_path), "train", 3)
  path = record_files.shard_path(str(tmp_path), "train", 0, 1)
  with open(path, "rb") as file:
    length = int.from_bytes(file.read(8), "little")
  os.truncate(path, length + 16)
  with pytest.raises(errors.InputError, match="Received: 1, 1 in train-00000"):
    record_files.open_split(str(tmp_path), "train")


def test_records_that_lack_a_list_are_refused(tmp_path):
  # TensorFlow would read an empty one, an image without proposals.
  record_set = fake_records.write(str(tmp_path), "train", 3)
  path, = record_set.paths
  contents = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
  with tf.io.TFRecordWriter(path) as writer:
    for content in contents:
      example = tf.train.Example.FromString(content)
      del example.features.feature["proposals/boxes"]
      writer.write(example.SerializeToString())
  with pytest.raises(errors.InputError, match="record 0 .*expected values of "
                     "float under proposals/boxes. Received: none"):
    record_files.open_split(str(tmp_path), "train")
