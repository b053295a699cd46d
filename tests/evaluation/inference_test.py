import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd.evaluation import device_batches
from kdwsd.evaluation import inference
from tests.data import fake_records
from tests.data import odd_records


class _LeftModel:
  """Scores proposals by where their left edge is: mirroring changes it."""

  def __init__(self):
    self.traces = 0

  def __call__(self, batch):
    self.traces += 1
    left = batch["proposals"][..., 1:2]                           # [B, R, 1]
    side = tf.cast(tf.shape(batch["image"])[1], tf.float32)
    scores = left * tf.constant([1.0, 2.0, 3.0]) + side           # [B, R, 3]
    # Garbage where padded, which nobody may see.
    scores = tf.where(batch["valid"][..., tf.newaxis], scores, 1e6)
    means = tf.reduce_mean(batch["image"], axis=(1, 2)) / 255     # [B, 3]
    return {"image_scores": means, "proposal_scores": scores,
            "features": scores}


def _left_scores(boxes, side):
  return boxes[:, 1:2] * np.float32([1, 2, 3]) + side


class PredictTest(tf.test.TestCase, parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.records = fake_records.write(directory.name, "test", 7)

  def _predict(self, model=None, **options):
    return list(inference.predict(
        model or _LeftModel(), self.records, progress=False,
        **{"num_proposals": 9, "sizes": (32,), **options}))

  def test_padding_is_removed_and_order_kept(self):
    predictions = self._predict()
    self.assertLen(predictions, 7)
    for index, prediction in enumerate(predictions):
      self.assertEqual(prediction.boxes.shape, (6, 4))
      self.assertAllClose(
          prediction.proposal_scores, _left_scores(prediction.boxes, 32))
      # The fakes' only colour is that of their class.
      self.assertEqual(np.argmax(prediction.image_scores), index % 3)

  def test_only_the_best_proposals_are_scored(self):
    few, all_ = self._predict(num_proposals=4), self._predict()
    self.assertAllEqual(few[0].boxes, all_[0].boxes[:4])

  def test_mirroring_changes_nothing_for_a_model_that_sees_the_picture(self):
    def brightness(batch):
      """Scores a proposal by the mean of its pixels."""
      pixels = tf.image.crop_and_resize(
          batch["image"], tf.reshape(batch["proposals"], [-1, 4]),
          tf.repeat(tf.range(tf.shape(batch["image"])[0]),
                    tf.shape(batch["proposals"])[1]), [8, 8])
      scores = tf.reshape(tf.reduce_mean(pixels, axis=[1, 2]),
                          [*batch["proposals"].shape[:2], 3])     # [B, R, 3]
      return {"image_scores": tf.reduce_max(scores, axis=1),
              "proposal_scores": scores}
    for fused, upright in zip(
        self._predict(brightness, sizes=(48,), mirror=True),
        self._predict(brightness, sizes=(48,))):
      self.assertAllEqual(fused.boxes, upright.boxes)
      self.assertAllClose(
          fused.proposal_scores, upright.proposal_scores, atol=0.5)
      self.assertGreater(np.ptp(upright.proposal_scores), 10)

  @parameterized.parameters(1, 2, 3, 7, 8)
  def test_batch_size_changes_nothing(self, batch_size):
    for one, other in zip(self._predict(batch_size=batch_size),
                          self._predict()):
      self.assertAllClose(one.image_scores, other.image_scores)
      self.assertAllEqual(one.boxes, other.boxes)
      self.assertAllClose(one.proposal_scores, other.proposal_scores)

  def test_scores_are_means_over_sizes_and_mirror_images(self):
    for fused, upright in zip(
        self._predict(sizes=(32, 48), mirror=True), self._predict()):
      self.assertAllEqual(fused.boxes, upright.boxes)
      mirrored = box_ops.flip_left_right(fused.boxes)
      self.assertAllClose(fused.proposal_scores, np.mean(
          [_left_scores(boxes, side) for boxes in (fused.boxes, mirrored)
           for side in (32, 48)], axis=0))

  @parameterized.parameters(None, 1, 3, 8)
  def test_model_is_traced_once_for_each_side(self, batch_size):
    model = _LeftModel()
    # Of 7 images, the last batch is smaller.
    self.assertLen(self._predict(
        model, sizes=(32, 48), mirror=True, batch_size=batch_size), 7)
    self.assertEqual(model.traces, 2)

  def test_on_a_cpu_a_batch_is_one_image(self):
    seen = []

    def note(batch):
      seen.append(batch["image"].shape[0])
      return _LeftModel()(batch)

    self._predict(note)
    self.assertEqual(seen, [1])

  @parameterized.parameters(False, True)
  def test_batches_copied_ahead_are_the_same(self, mirror):
    expected = self._predict(sizes=(32, 48), mirror=mirror, batch_size=3)
    # Copied as to a GPU, to the second of the tests' two logical devices.
    with mock.patch.object(
        device_batches, "on_gpu", return_value=True), mock.patch.object(
            device_batches, "_GPU", tf.config.list_logical_devices()[-1].name):
      copied = self._predict(sizes=(32, 48), mirror=mirror, batch_size=3)
      odd_records.flip(self.records, 4)
      with self.assertRaisesRegex(errors.InputError, r"tfrecord: record 4 \("):
        self._predict(batch_size=3)
    for one, other in zip(copied, expected):
      for name in ("image_scores", "boxes", "proposal_scores", "objectness"):
        self.assertAllEqual(getattr(one, name), getattr(other, name))

  def test_the_default_goes_by_the_largest_side_and_the_proposals(self):
    with mock.patch.object(
        device_batches, "default_size", return_value=2) as default_size:
      self._predict(sizes=(32, 48))
    default_size.assert_called_once_with(48, 9)

  def test_predictions_come_one_at_a_time(self):
    predictions = inference.predict(
        _LeftModel(), self.records, sizes=(32,), num_proposals=9,
        progress=False)
    self.assertIsInstance(next(predictions), inference.Prediction)

  def test_scores_that_are_not_finite_name_the_image(self):
    def diverged(batch):
      scores = _LeftModel()(batch)
      bad = tf.reduce_max(batch["image"][..., 2]) > 200  # Blue: 2 and 5.
      scores["image_scores"] += tf.where(bad, np.nan, 0.0)
      return scores
    with self.assertRaisesRegex(errors.InputError, "infinity for image 2 of"):
      self._predict(diverged)

  def test_record_that_cannot_be_used_is_named(self):
    odd_records.flip(self.records, 4)
    with self.assertRaisesRegex(
        errors.InputError, r"test-00000-of-00001.tfrecord: record 4 \("):
      self._predict()


if __name__ == "__main__":
  tf.test.main()
