"""Iterators without the thread that tunes parallel calls."""

import os

import tensorflow as tf

from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.data import tuning
from tests.data import fake_records


def _tunes(dataset):
  return dataset.options().autotune.enabled


def test_elements_stay_and_the_option_survives_later_steps():
  plain = tf.data.Dataset.range(5).map(lambda one: 2 * one, tf.data.AUTOTUNE)
  assert _tunes(plain) is None  # TensorFlow's default is to tune.
  untuned = tuning.untuned(plain)
  assert list(untuned.as_numpy_iterator()) == [0, 2, 4, 6, 8]
  assert _tunes(untuned.map(lambda one: one).batch(2).prefetch(1)) is False


def test_calls_are_as_many_as_processors_for_this_process():
  everything = os.sched_getaffinity(0)
  try:
    os.sched_setaffinity(0, {min(everything)})
    assert tuning.num_calls() == 1
  finally:
    os.sched_setaffinity(0, everything)
  assert tuning.num_calls() == len(everything)


def test_both_pipelines_are_not_tuned(tmp_path):
  fake_records.write(str(tmp_path), "train", 2)
  record_set = record_files.open_split(str(tmp_path), "train")
  assert _tunes(input_pipeline.evaluation_batches(
      record_set, size=32, num_proposals=2)) is False
  assert _tunes(input_pipeline.training_batches(
      record_set, global_batch_size=1, sizes=(32,), num_proposals=2,
      seed=0)) is False
