"""Tests of kdwsd.data.input_pipeline."""

import os

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import boxes
from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import records
from tests.data import input_pipeline_case as case
from tests.data import marked_records

_NUM_IMAGES = marked_records.NUM_IMAGES

_take, _train = case.take, case.train


def _join(parts):
  """Batches of replicas -> the global batch."""
  return {key: np.concatenate([part[key] for part in parts])
          for key in parts[0]}


class InputPipelineTest(case.InputPipelineCase):

  def _source(self, batch):
    """Index of the record behind each image: labels and scores tell."""
    found = []
    for row in range(len(batch["image"])):
      matches = []
      for index, record in enumerate(self.records):
        scores = record.proposal_scores[:batch["valid"].shape[1]]
        bright = 120 + 10 * index
        image = batch["image"][row]
        pixel = max(image[-1, 0, 0], image[-1, -1, 0])
        if (np.sum(batch["valid"][row]) == len(scores)
            and np.array_equal(batch["objectness"][row][:len(scores)], scores)
            and abs(pixel - bright) < 5):
          matches.append(index)
      self.assertLen(matches, 1)
      found += matches
    return found

  def test_shapes_and_types(self):
    for batch in _take(_train(self.record_set), 6):
      side = batch["image"].shape[1]
      self.assertIn(side, case.SETTINGS["sizes"])
      expected = {
          "image": ((4, side, side, 3), np.float32),
          "proposals": ((4, 4, 4), np.float32),
          "objectness": ((4, 4), np.float32),
          "valid": ((4, 4), np.bool_),
          "labels": ((4, 3), np.float32),
          "label_weights": ((4, 3), np.float32),
          "example_index": ((4,), np.int64),
          "record_index": ((4,), np.int64),
          "mirrored": ((4,), np.bool_),
      }
      self.assertEqual(
          {key: (value.shape, value.dtype.type)
           for key, value in batch.items()}, expected)

  def test_every_image_once_an_epoch_in_a_new_order(self):
    joined = [self._source(b) for b in _take(_train(self.record_set), 11)]
    run = sum(joined, [])  # 44 images, 4 epochs
    epochs = [run[i:i + _NUM_IMAGES] for i in range(0, 44, _NUM_IMAGES)]
    for epoch in epochs:
      self.assertEqual(sorted(epoch), list(range(_NUM_IMAGES)))
    self.assertLen({tuple(epoch) for epoch in epochs}, 4)

  @parameterized.product(
      cache=["none", "memory", "disk"], start_step=[0, 4], worker=[None, 1])
  def test_record_index_and_mirrored_say_where_an_image_came_from(
      self, cache, start_step, worker):
    context = None if worker is None else tf.distribute.InputContext(
        num_input_pipelines=2, input_pipeline_id=worker,
        num_replicas_in_sync=2)
    batches = _take(_train(
        self.record_set, cache=cache, start_step=start_step,
        cache_directory=os.path.join(self.directory, "cache"),
        input_context=context), 9)
    for batch in batches:
      self.assertAllEqual(batch["record_index"], self._source(batch))
      self.assertAllEqual(batch["mirrored"], marked_records.is_mirrored(batch))
    self.assertLen(
        {flip for batch in batches for flip in batch["mirrored"]}, 2)

  def test_fingerprint_is_that_of_the_content(self):
    same = os.path.join(self.directory, "same")
    os.makedirs(same)
    self.assertEqual(input_pipeline.fingerprint(self.record_set),
                     input_pipeline.fingerprint(
                         marked_records.write(same, self.serialized)))
    for other in (self.serialized[:-1], self.serialized[::-1]):
      self.assertNotEqual(
          input_pipeline.fingerprint(self.record_set),
          input_pipeline.fingerprint(marked_records.write(same, other)))

  def test_same_seed_same_batches(self):
    self._assert_same(_take(_train(self.record_set), 8),
                      _take(_train(self.record_set), 8))

  def test_iterating_again_gives_the_same_batches(self):
    dataset = _train(self.record_set)
    self._assert_same(_take(dataset, 4), _take(dataset, 4))

  def test_global_seed_of_tensorflow_changes_nothing(self):
    tf.random.set_seed(0)
    first = _take(_train(self.record_set), 4)
    tf.random.set_seed(1234)
    self._assert_same(first, _take(_train(self.record_set), 4))

  def test_other_seed_other_order_sides_and_mirrors(self):
    first, second = [
        _take(_train(self.record_set, seed=seed), 16) for seed in (3, 4)]
    self.assertNotEqual([self._source(b) for b in first],
                        [self._source(b) for b in second])
    self.assertNotEqual([b["image"].shape[1] for b in first],
                        [b["image"].shape[1] for b in second])
    self.assertNotEqual([marked_records.is_mirrored(b) for b in first],
                        [marked_records.is_mirrored(b) for b in second])

  @parameterized.parameters(0, 2 ** 31, 2 ** 40)
  def test_any_seed_will_do(self, seed):
    self.assertLen(_take(_train(self.record_set, seed=seed), 2), 2)

  @parameterized.product(
      start_step=[1, 2, 3, 7, 11], cache=["none", "memory"])
  def test_resumed_run_sees_what_an_undisturbed_one_does(
      self, start_step, cache):
    undisturbed = _take(_train(self.record_set), start_step + 3)
    resumed = _take(
        _train(self.record_set, start_step=start_step, cache=cache), 3)
    self._assert_same(undisturbed[start_step:], resumed)

  def test_resume_after_more_than_two_to_the_31_images(self):
    batch, = _take(_train(self.record_set, start_step=2 ** 30), 1)
    self.assertAllEqual(batch["example_index"], 2 ** 32 + np.arange(4))

  def test_sides_are_drawn_per_global_batch(self):
    parts = _take(_train(self.record_set, num_replicas=2), 60)
    sides = [part["image"].shape[1] for part in parts]
    self.assertEqual(sides[::2], sides[1::2])
    counts = [sides[::2].count(side) for side in case.SETTINGS["sizes"]]
    self.assertEqual(sum(counts), 30)
    self.assertAllGreater(counts, 3)

  @parameterized.parameters(1, 2, 4)
  def test_replicas_share_the_global_batch(self, num_replicas):
    whole = _take(_train(self.record_set), 5)
    parts = _take(
        _train(self.record_set, num_replicas=num_replicas), 5 * num_replicas)
    self._assert_same(whole, [
        _join(parts[i:i + num_replicas])
        for i in range(0, len(parts), num_replicas)])

  @parameterized.product(num_replicas=[2, 4], start_step=[0, 3])
  def test_two_workers_share_the_global_batch(self, num_replicas, start_step):
    whole = _take(_train(self.record_set, start_step=start_step), 5)
    per_worker = num_replicas // 2
    workers = [
        _take(_train(self.record_set, start_step=start_step,
                     input_context=tf.distribute.InputContext(
                         num_input_pipelines=2, input_pipeline_id=worker,
                         num_replicas_in_sync=num_replicas)),
              5 * per_worker)
        for worker in range(2)]
    self._assert_same(whole, [
        _join([part for worker in workers
               for part in worker[i:i + per_worker]])
        for i in range(0, 5 * per_worker, per_worker)])

  def test_batch_larger_than_the_split(self):
    batch, = _take(_train(self.record_set, global_batch_size=25), 1)
    counts = np.bincount(self._source(batch))
    self.assertEqual((min(counts), max(counts)), (2, 3))

  def test_mirror_flips_image_and_boxes(self):
    plain = _take(_train(self.record_set, mirror=False), 12)
    mirrored = _take(_train(self.record_set), 12)
    flips = 0
    # Each image for itself, not the batch as a whole.
    self.assertGreater(sum(
        len(set(marked_records.is_mirrored(batch))) == 2
        for batch in mirrored), 6)  # of 12
    for before, after in zip(plain, mirrored):
      self.assertFalse(any(marked_records.is_mirrored(before)))
      for row, flipped in enumerate(marked_records.is_mirrored(after)):
        flips += flipped
        image, proposals = before["image"][row], before["proposals"][row]
        if flipped:
          image = image[:, ::-1]
          proposals = np.where(before["valid"][row][:, np.newaxis],
                               boxes.flip_left_right(proposals), 0)
        self.assertAllClose(after["image"][row], image)
        self.assertAllClose(after["proposals"][row], proposals)
      for key in set(before) - {"image", "proposals", "mirrored"}:
        self.assertAllEqual(before[key], after[key])
    self.assertBetween(flips, 12, 36)  # of 48

  def test_thousands_of_unknown_labels_are_marked(self):
    ids = np.delete(np.arange(9600), [3, 9000])
    found = input_pipeline._multi_hot(tf.constant(ids), 9600).numpy()
    self.assertEqual(found.dtype, np.float32)
    self.assertAllEqual(np.flatnonzero(found == 0), [3, 9000])
    self.assertAllEqual(np.unique(found), [0, 1])
    self.assertAllEqual(  # A label that is listed twice is one.
        input_pipeline._multi_hot(tf.constant([1, 1], tf.int64), 3), [0, 1, 0])

  def test_labels_and_what_is_unknown(self):
    for batch in _take(_train(self.record_set), 3):
      for row, index in enumerate(self._source(batch)):
        record = self.records[index]
        self.assertAllEqual(
            np.flatnonzero(batch["labels"][row]), record.label_ids)
        self.assertAllEqual(np.flatnonzero(batch["label_weights"][row] == 0),
                            record.unknown_label_ids)

  def test_best_proposals_are_kept_and_the_rest_is_padding(self):
    batches = _take(input_pipeline.evaluation_batches(
        self.record_set, size=8, num_proposals=4), _NUM_IMAGES)
    for record, batch in zip(self.records, batches):
      kept = min(4, len(record.proposal_boxes))
      self.assertAllEqual(batch["valid"][0], np.arange(4) < kept)
      self.assertAllEqual(
          batch["proposals"][0, :kept], record.proposal_boxes[:kept])
      self.assertAllEqual(
          batch["objectness"][0, :kept], record.proposal_scores[:kept])
      self.assertAllEqual(batch["proposals"][0, kept:], np.zeros([4 - kept, 4]))
      self.assertAllEqual(batch["objectness"][0, kept:], np.zeros(4 - kept))

  def test_evaluation_sees_every_image_once_in_order(self):
    batches = _take(input_pipeline.evaluation_batches(
        self.record_set, size=8, num_proposals=4, batch_size=3), 100)
    self.assertEqual([len(b["image"]) for b in batches], [3, 3, 3, 2])
    joined = _join(batches)
    self.assertAllEqual(joined["example_index"], np.arange(_NUM_IMAGES))
    self.assertAllEqual(joined["record_index"], np.arange(_NUM_IMAGES))
    self.assertFalse(any(joined["mirrored"]))
    self.assertEqual(self._source(joined), list(range(_NUM_IMAGES)))
    self.assertFalse(any(marked_records.is_mirrored(joined)))

  def test_evaluation_mirrors_when_asked(self):
    batches = input_pipeline.evaluation_batches(
        self.record_set, size=8, num_proposals=4)
    plain, mirrored = [_join(_take(dataset, 100)) for dataset in (
        batches, batches.map(input_pipeline.mirrored))]
    self.assertTrue(all(marked_records.is_mirrored(mirrored)))
    self.assertTrue(all(mirrored["mirrored"]))
    self.assertAllEqual(mirrored["record_index"], np.arange(_NUM_IMAGES))
    self.assertAllClose(plain["image"][:, :, ::-1], mirrored["image"])
    valid = plain["valid"]
    self.assertAllClose(boxes.flip_left_right(plain["proposals"][valid]),
                        mirrored["proposals"][valid])
    self.assertAllEqual(mirrored["proposals"][~valid], np.zeros([
        np.sum(~valid), 4]))

  def test_mirrored_batches_are_those_of_training_bit_by_bit(self):
    batches = input_pipeline.evaluation_batches(
        self.record_set, size=8, num_proposals=4)
    both = {False: _join(_take(batches, 100)), True: _join(_take(
        batches.map(input_pipeline.mirrored), 100))}
    flips = []
    for batch in _take(_train(self.record_set, sizes=(8,)), 6):
      for row, index in enumerate(batch["record_index"]):
        flips.append(bool(batch["mirrored"][row]))
        for key in ("image", "proposals", "objectness", "valid", "mirrored"):
          self.assertAllEqual(batch[key][row], both[flips[-1]][key][index])
    self.assertBetween(sum(flips), 4, 20)  # Of 24.

  def test_warp_is_bilinear_with_half_pixel_centres(self):
    record = self.records[10]
    batch = _take(input_pipeline.evaluation_batches(
        self.record_set, size=9, num_proposals=4), _NUM_IMAGES)[10]
    image = tf.io.decode_jpeg(
        record.encoded, dct_method="INTEGER_ACCURATE").numpy()
    self.assertAllClose(
        batch["image"][0], marked_records.warp(image, 9), atol=1e-3)

  def test_grey_jpeg_has_three_equal_channels(self):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 3
    record = records.Record(
        image_id="grey", encoded=tf.io.encode_jpeg(grey, format="grayscale")
        .numpy(), height=8, width=8, label_ids=np.array([0]))
    record_set = marked_records.write(
        self.directory, [records.serialize(record)], "grey", 1)
    batch, = _take(input_pipeline.evaluation_batches(
        record_set, size=8, num_proposals=4), 2)
    self.assertAllEqual(batch["image"][..., :1].repeat(3, -1), batch["image"])
    self.assertAllClose(batch["image"][0, ..., :1], grey, atol=6)

  def test_ground_truth_is_never_read(self):
    without, garbage = [], []
    for serialized in self.serialized:
      example = tf.train.Example.FromString(serialized)
      truth = [key for key in example.features.feature
               if key.startswith("truth/")]
      self.assertLen(truth, 5)
      for key in truth:
        del example.features.feature[key]
      without.append(example.SerializeToString())
      for key in truth:
        # Not even of a type that could be parsed.
        example.features.feature[key].bytes_list.value[:] = [b"!", b"?"]
      garbage.append(example.SerializeToString())
    directory = os.path.join(self.directory, "other")
    os.makedirs(directory, exist_ok=True)
    for other in (without, garbage):
      record_set = marked_records.write(directory, other)
      self._assert_same(_take(_train(self.record_set), 6),
                        _take(_train(record_set), 6))
      self._assert_same(*[
          _take(input_pipeline.evaluation_batches(
              which, size=8, num_proposals=4), 100)
          for which in (self.record_set, record_set)])

  @parameterized.parameters(
      ({"num_replicas": 3}, "multiple of the number of replicas, 3"),
      ({"cache": "ram"}, "none, memory, disk.*'ram'"),
      ({"cache": "disk"}, "expected a directory"))
  def test_bad_settings_are_named(self, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      _train(self.record_set, **settings)

  def test_empty_split(self):
    empty = marked_records.write(self.directory, [], "empty", 1)
    with self.assertRaisesRegex(errors.InputError, "empty split"):
      _train(empty)
    self.assertEmpty(_take(input_pipeline.evaluation_batches(
        empty, size=8, num_proposals=4), 1))


if __name__ == "__main__":
  tf.test.main()
