"""Batches sized to the device, and always of the same size."""

from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import nvidia
from kdwsd.evaluation import device_batches

_GIB = 2 ** 30


def _gpu():
  return mock.patch.object(device_batches, "on_gpu", return_value=True)


class DefaultSizeTest(parameterized.TestCase):

  @parameterized.parameters(1, 8)
  def test_on_a_cpu_it_is_what_was_given(self, on_cpu):
    with mock.patch.object(device_batches, "on_gpu", return_value=False):
      self.assertEqual(
          device_batches.default_size(672, 500, on_cpu=on_cpu), on_cpu)
      self.assertEqual(device_batches.num_threads(), 0)

  @parameterized.parameters(
      # Enough pixels to keep it busy, and no more than 64 images.
      (672, 0, 80, 16), (480, 0, 80, 16), (832, 0, 80, 8), (224, 0, 80, 64),
      (32, 0, 80, 64),
      # A quarter of the memory: 441 MiB for the pixels, 1 for each proposal.
      (672, 500, 80, 16), (672, 500, 24, 4), (672, 500, 16, 4),
      (672, 500, 8, 2), (672, 2000, 16, 1), (672, 500, 1, 1))
  def test_on_a_gpu_it_goes_by_pixels_proposals_and_memory(
      self, size, num_proposals, gibibytes, expected):
    with _gpu():
      self.assertEqual(device_batches.default_size(
          size, num_proposals, memory=gibibytes * _GIB), expected)

  def test_a_limit_holds_on_a_gpu(self):
    with _gpu():
      self.assertEqual(device_batches.default_size(
          224, on_cpu=99, most=20, memory=80 * _GIB), 16)

  @parameterized.parameters(
      ((81559, 24576), 24), ((None, 15360), 15), ((None,), 16), ((), 16))
  def test_memory_is_that_of_the_smallest_gpu(self, mebibytes, gibibytes):
    device_batches._memory.cache_clear()
    self.addCleanup(device_batches._memory.cache_clear)
    with mock.patch.object(nvidia, "look", return_value=nvidia.Machine(
        names=("",) * len(mebibytes), mebibytes=mebibytes)):
      self.assertEqual(device_batches._memory(), gibibytes * _GIB)

  @parameterized.parameters(
      (20, 500, 128), (80, 500, 128), (9600, 500, 27), (20000, 5000, 4),
      (20, 0, 128))
  def test_few_predictions_of_many_classes_wait(
      self, num_classes, num_proposals, expected):
    # 500 x 9600 float32 are 19.2e6 bytes; 2**29 / 19.2e6 = 27.9.
    self.assertEqual(
        device_batches.most_waiting(num_classes, num_proposals), expected)

  def test_threads_leave_a_core_to_the_device(self):
    for cores, expected in ((1, 1), (2, 1), (3, 2), (64, 2)):
      with _gpu(), mock.patch.object(
          device_batches.os, "sched_getaffinity",
          return_value=set(range(cores))):
        self.assertEqual(device_batches.num_threads(), expected)

  def test_without_a_gpu_nothing_is_copied(self):
    dataset = tf.data.Dataset.range(3)
    self.assertIs(device_batches.copied_ahead(dataset), dataset)


class FilledTest(tf.test.TestCase, parameterized.TestCase):

  def _filled(self, num_rows, *, most=99, **options):
    """Doubles `x` and notes how many images come; `most` fit into memory."""
    self.calls = []

    def double(batch):
      self.calls.append(len(batch["x"]))
      if self.calls[-1] > most:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")
      return {"twice": 2 * batch["x"], "odd": batch["odd"]}

    return device_batches.Filled(double, num_rows, **options)

  def _batch(self, count, first=0):
    return {"x": tf.reshape(tf.range(first, first + 2 * count), [count, 2]),
            "odd": tf.range(count) % 2 == 1}

  def _assert_right(self, filled, count, first=0):
    outputs = filled(self._batch(count, first))
    self.assertIsInstance(outputs["twice"], np.ndarray)
    self.assertAllEqual(outputs["twice"], 2 * np.arange(
        first, first + 2 * count).reshape(count, 2))
    self.assertAllEqual(outputs["odd"], np.arange(count) % 2 == 1)

  @parameterized.parameters(
      (4, 4, [4]), (4, 3, [4]), (4, 1, [4]), (4, 9, [4, 4, 4]), (1, 1, [1]))
  def test_function_sees_one_size(self, num_rows, count, calls):
    self._assert_right(self._filled(num_rows), count)
    self.assertEqual(self.calls, calls)

  def test_the_last_image_fills_up(self):
    seen = []
    filled = device_batches.Filled(
        lambda batch: seen.append(batch["x"].numpy()) or batch["x"], 3)
    self.assertAllEqual(filled({"x": tf.constant([5.0, 7.0])}), [5.0, 7.0])
    self.assertAllEqual(seen, [[5.0, 7.0, 7.0]])

  def test_a_batch_may_stay_as_it_is(self):
    self._assert_right(self._filled(4, fill=False), 3)
    self.assertEqual(self.calls, [3])

  def test_what_does_not_fit_is_computed_in_halves_from_then_on(self):
    filled = self._filled(8, most=3)
    with self.assertLogs("absl", level="WARNING") as logs:
      self._assert_right(filled, 7)
    self.assertEqual(self.calls, [8, 4, 2, 2, 2, 2])
    self.assertLen(logs.output, 2)
    self.calls.clear()
    self._assert_right(filled, 8, first=5)
    self.assertEqual(self.calls, [2, 2, 2, 2])

  def test_memory_that_holds_no_image_is_an_error(self):
    with self.assertRaises(tf.errors.ResourceExhaustedError):
      self._filled(2, most=0)(self._batch(2))


if __name__ == "__main__":
  tf.test.main()
