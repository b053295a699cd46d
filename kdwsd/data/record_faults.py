"""Names the record behind a failure of the input pipeline.

tf.data meets a damaged record wherever it happens to read ahead, and says
neither which shard nor which record it is. So when reading fails, the shards
are gone through once more, and the user is told shard, record and image.
"""

import contextlib

from absl import logging
from google.protobuf import message as protobuf
import tensorflow as tf

from kdwsd import errors
from kdwsd import system_errors
from kdwsd.data import record_rules
from kdwsd.data import records

# What damaged bytes (the first), and a record that is none of ours, end in. The
# last comes where TensorFlow's message quotes bytes that are no UTF-8.
_SYMPTOMS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError,
             UnicodeDecodeError)

@contextlib.contextmanager
def named(*record_sets):
  """Makes a failure over a damaged record an error that names the record.

  Args:
    *record_sets: `records.RecordSet`s that the block reads; None is left out.

  Yields:
    None.

  Raises:
    errors.InputError: the block failed, and this record is why. Another failure
      passes unchanged.
  """
  try:
    yield
  except _SYMPTOMS as error:
    logging.info("Reading failed; looking for the record that is at fault.")
    for record_set in record_sets:
      problem = record_set and find(record_set)
      if problem:
        raise errors.InputError(problem) from error
    raise


def find(record_set):
  """Finds the first record that cannot be used.

  Args:
    record_set: a `records.RecordSet`.

  Returns:
    A message for the user, or None where all records are good.
  """
  num_classes = len(record_set.classes)

  def inspect(serialized):
    parsed = records.parse_for_training(serialized, num_classes)
    truth = records.parse_truth(serialized, num_classes)
    with tf.control_dependencies(list(truth.values())):
      pixels = tf.io.decode_jpeg(parsed["encoded"], channels=3)
    # Given back, or TensorFlow would spare itself the decoding.
    return serialized, tf.shape(pixels)

  for path in record_set.paths:
    number = 0
    shard = tf.data.TFRecordDataset(path)
    try:
      for serialized, _ in shard.map(
          inspect, tf.data.AUTOTUNE, deterministic=True):
        if _odd_key(serialized.numpy()):
          break
        number += 1
      else:
        continue
    except _SYMPTOMS:
      pass
    return f"{path}: record {number} (counted from 0)" + _problem(
        shard.skip(number), num_classes)
  return None


def _problem(rest, num_classes):
  """What is wrong with the first record of a dataset, in words."""
  try:
    serialized = next(iter(rest))
  except tf.errors.OpError as error:
    return (": expected bytes that fit their checksum. Received: "
            f"{system_errors.first_line(error)}; convert the data again.")
  encoded = serialized.numpy()
  try:
    example = tf.train.Example.FromString(encoded)
  except protobuf.DecodeError:
    return (": expected a tf.train.Example. Received: "
            f"{len(encoded)} bytes that are none.")
  image_id = b" ".join(
      example.features.feature["image/id"].bytes_list.value)
  image = f", image {image_id.decode('utf-8', 'replace')!r}" if image_id else ""
  expected, received = _expectation(encoded, num_classes)
  return f"{image}: expected {expected}. Received: {received}."


def _odd_key(encoded):
  """(expected, received) of a key that is missing or of another type."""
  example = tf.train.Example.FromString(encoded)
  return record_rules.odd_key(example, {
      **records.TRAINING_FEATURES, **records.TRUTH_FEATURES})


def _expectation(encoded, num_classes):
  """(expected, received) of a record that cannot be used."""
  odd = _odd_key(encoded)
  if odd:
    return odd
  for features, rules in (
      (records.TRAINING_FEATURES, record_rules.for_training),
      (records.TRUTH_FEATURES, record_rules.for_truth)):
    parsed = tf.io.parse_single_example(encoded, features)
    for rule in rules(parsed, num_classes):
      if not rule.holds:
        return rule.expected, rule.received()
  example = tf.train.Example.FromString(encoded)
  try:
    tf.io.decode_jpeg(example.features.feature["image/encoded"].bytes_list
                      .value[0])
  except tf.errors.OpError as error:
    return ("a JPEG image under image/encoded",
            system_errors.first_line(error))
  return "a record as kdwsd.data.records says", "another"
