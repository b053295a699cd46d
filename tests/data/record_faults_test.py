"""Tests of faults in records: the record is named, wherever reading fails."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.data import records
from tests.data import fake_records
from tests.data import odd_records


@pytest.fixture(name="record_set")
def fixture_record_set(tmp_path):
  return fake_records.write(str(tmp_path), "train", 6)


def _train(record_set, **settings):
  return list(input_pipeline.training_batches(
      record_set, global_batch_size=2, sizes=(32,), num_proposals=4, seed=0,
      **settings).take(6))


def _evaluate(record_set):
  return list(input_pipeline.evaluation_batches(
      record_set, size=32, num_proposals=4))


def _truth(record_set):
  return records.read_labelled_images(record_set.paths, 3)


def _assert_named(record_set, number, words, read):
  with pytest.raises(errors.InputError) as caught:
    with record_files.naming_faults(record_set):
      read(record_set)
  message = str(caught.value)
  assert re.search(
      rf"{re.escape(record_set.paths[0])}: record {number} \(counted from 0\)",
      message), message
  assert re.search(words, message, re.DOTALL), message
  assert "\n" not in message
  return message


@pytest.mark.parametrize("what", odd_records.IN_TRAINING)
def test_record_that_training_cannot_use_is_named(record_set, what):
  change, words = odd_records.IN_TRAINING[what]
  odd_records.spoil(record_set, 3, change)

  def read(record_set):  # As the input pipeline does, without its traces.
    for serialized in tf.data.TFRecordDataset(record_set.paths):
      parsed = records.parse_for_training(serialized, 3)
      tf.io.decode_jpeg(parsed["encoded"], channels=3)
    if what == "no labels":  # Which TensorFlow reads as an empty list.
      raise tf.errors.DataLossError(None, None, "")

  message = _assert_named(record_set, 3, words, read)
  assert "image '000003'" in message


@pytest.mark.parametrize("read", [_train, _evaluate])
@pytest.mark.parametrize("what", ["NaN score", "label out of range"])
def test_input_pipeline_checks_every_record(record_set, what, read):
  change, words = odd_records.IN_TRAINING[what]
  odd_records.spoil(record_set, 3, change)
  _assert_named(record_set, 3, words, read)


@pytest.mark.parametrize("what", odd_records.IN_TRUTH)
def test_truth_that_evaluation_cannot_use_is_named(record_set, what):
  change, words = odd_records.IN_TRUTH[what]
  odd_records.spoil(record_set, 3, change)
  _assert_named(record_set, 3, words, _truth)
  for serialized in tf.data.TFRecordDataset(record_set.paths):
    records.parse_for_training(serialized, 3)  # Which does not read it.


@pytest.mark.parametrize("number, read", [
    (0, _truth), (5, _truth), (2, _evaluate), (2, _train),
    (5, functools.partial(_train, cache="memory"))])
def test_flipped_bit_names_the_record(record_set, number, read):
  odd_records.flip(record_set, number)
  _assert_named(record_set, number, "expected bytes that fit their checksum",
                read)


def test_frame_that_holds_no_example_is_named(record_set):
  path, = record_set.paths
  contents = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
  with tf.io.TFRecordWriter(path) as writer:
    for content in (*contents[:2], b"\xff\xff\xff no example", *contents[2:]):
      writer.write(content)
  _assert_named(record_set, 2, "expected a tf.train.Example", _truth)


def test_first_of_several_sets_is_gone_through_first(record_set, tmp_path):
  other = fake_records.write(str(tmp_path), "test", 4, seed=1)
  odd_records.flip(other, 1)
  with pytest.raises(errors.InputError, match="test-00000.*: record 1 "):
    with record_files.naming_faults(record_set, None, other):
      _truth(other)


def test_failure_that_is_no_records_passes(record_set):
  with pytest.raises(tf.errors.InvalidArgumentError, match="mine"):
    with record_files.naming_faults(record_set):
      tf.debugging.Assert(False, ["mine"])


def test_odd_but_usable_values_are_left_as_they_are(record_set):
  def change(feature):
    feature["proposals/scores"].float_list.value[:] = [9, 0, 0, 0, -1, -5]
    feature["proposals/boxes"].float_list.value[:4] = [.5, .5, .5, .5]
    feature["labels/ids"].int64_list.value[:] = []
  odd_records.spoil(record_set, 3, change)
  assert record_files.find_fault(record_set) is None
  batch = _evaluate(record_set)[3]
  np.testing.assert_array_equal(batch["objectness"][0], [9, 0, 0, 0])
  np.testing.assert_array_equal(batch["proposals"][0, 0], [.5] * 4)
  np.testing.assert_array_equal(batch["labels"][0], [0, 0, 0])
