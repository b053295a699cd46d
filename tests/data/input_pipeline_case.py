"""What the tests of the input pipeline share."""

import os

from absl.testing import parameterized
import tensorflow as tf

from kdwsd.data import input_pipeline
from kdwsd.data import records
from tests.data import marked_records

SETTINGS = {"global_batch_size": 4, "sizes": (8, 12, 16), "num_proposals": 4,
            "seed": 3, "shuffle_buffer": 5}


def take(dataset, count):
  return list(dataset.take(count).as_numpy_iterator())


def train(record_set, **settings):
  return input_pipeline.training_batches(
      record_set, **{**SETTINGS, **settings})


class InputPipelineCase(tf.test.TestCase, parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.records = [marked_records.record(index)
                   for index in range(marked_records.NUM_IMAGES)]
    cls.serialized = [records.serialize(r) for r in cls.records]

  def setUp(self):
    super().setUp()
    self.directory = os.path.join(self.get_temp_dir(), self.id())
    os.makedirs(self.directory, exist_ok=True)
    self.record_set = marked_records.write(self.directory, self.serialized)

  def _assert_same(self, first, second):
    self.assertEqual(len(first), len(second))
    for step, (one, other) in enumerate(zip(first, second)):
      self.assertEqual(set(one), set(other))
      for key in one:
        self.assertAllEqual(one[key], other[key], msg=f"{key}, step {step}")
