"""Images to check an export with."""

import numpy as np
import tensorflow as tf

from kdwsd.data import input_pipeline
from kdwsd.serving import examples
from tests.data import fake_records


def test_records_make_the_batches_of_evaluation(tmp_path):
  record_set = fake_records.write(str(tmp_path), "test", 5)
  chosen = examples.from_records(record_set, 3, num_proposals=4)
  assert len(chosen) == 3
  batch = examples.batch(chosen, 40)
  expected = next(iter(input_pipeline.evaluation_batches(
      record_set, size=40, num_proposals=4, batch_size=3)))
  for name in ("image", "proposals", "objectness", "valid"):
    np.testing.assert_array_equal(batch[name], expected[name], err_msg=name)


def test_fewer_proposals_are_padded():
  few, more = examples.drawn(2)
  few = examples.Example(few.encoded, few.proposals[:2], few.objectness[:2])
  batch = examples.batch([few, more], 40)
  assert batch["proposals"].shape == [2, 16, 4]
  np.testing.assert_array_equal(
      batch["valid"], [[True] * 2 + [False] * 14, [True] * 16])
  none = examples.Example(
      few.encoded, np.zeros([0, 4], np.float32), np.zeros([0], np.float32))
  assert examples.batch([none], 40)["proposals"].shape == [1, 1, 4]


def test_drawn_images_differ_but_not_from_run_to_run():
  chosen = examples.drawn(3)
  assert chosen[0].encoded != chosen[1].encoded
  assert [e.encoded for e in examples.drawn(3)] == [e.encoded for e in chosen]
  image = tf.io.decode_jpeg(chosen[0].encoded)
  assert max(image.shape[:2]) == 256
