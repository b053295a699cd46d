"""Tests of kdwsd.training.cached_arrays."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import threading
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import record_files
from kdwsd.training import cached_arrays
from kdwsd.training import strategies
from tests import file_limit

_COUNTS = (3, 0, 2, 4)
_RECORD = [("score", np.float32, (3,)), ("valid", np.bool_)]


def _disk(free):
  return mock.patch.object(shutil, "disk_usage", return_value=(
      types.SimpleNamespace(total=10 ** 12, used=0, free=free)))


class _Array(cached_arrays.CachedArray):
  """Computes a shard by its number: the records hold no images."""

  def _rows(self, shard):
    return self._compute(shard)


class CachedArrayTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.root = directory.name
    self.directory = os.path.join(self.root, "caches")
    self.records = self._write_records(self.root, "train", _COUNTS)
    self.computed = []

  def _write_records(self, directory, split, counts):
    paths = []
    for shard, count in enumerate(counts):
      paths.append(
          record_files.shard_path(directory, split, shard, len(counts)))
      with tf.io.TFRecordWriter(paths[-1]) as writer:
        for index in range(count):
          writer.write(b"x" * (100 * index))
    return record_files.RecordSet(
        directory, split, tuple(paths), {"num_images": sum(counts)})

  def _array(self, settings="a", *, kind="scores", record_set=None,
             shape=(), dtype=_RECORD, compute=None):
    return _Array(
        record_set or self.records, "caches", kind, {"settings": settings},
        shape=shape, dtype=dtype, compute=compute or self._compute,
        batches={"size": 32}, source="a test", add=None)

  def _row(self, index):
    """Image's number in the scores; mirrored is negative."""
    row = np.zeros([2], _RECORD)
    row["score"] = [[index, index + 0.25, index + 0.5]]
    row["score"][1] *= -1
    row["valid"] = [index % 2 == 0, True]
    return row

  def _compute(self, shard):
    self.computed.append(shard)
    first = sum(_COUNTS[:shard])
    for index in range(first, first + _COUNTS[shard]):
      yield self._row(index)

  def _assert_whole(self, array):
    np.testing.assert_array_equal(
        array.read(), np.stack([self._row(i) for i in range(sum(_COUNTS))]))

  def test_gives_back_what_was_computed(self):
    self._assert_whole(self._array().fill())
    self.assertEqual(self.computed, [0, 1, 2, 3])

  def test_plain_numbers_are_kept_too(self):
    array = self._array(shape=(3,), dtype=np.float32, compute=lambda shard: (
        np.full([2, 3], shard, np.float32) for _ in range(_COUNTS[shard])))
    array.fill()
    self.assertEqual(array.read().dtype, np.float32)
    np.testing.assert_array_equal(
        array.read()[:, 1, 2], [0, 0, 0, 2, 2, 3, 3, 3, 3])

  def test_split_without_images(self):
    array = self._array(
        record_set=self._write_records(self.root, "none", [0]),
        compute=lambda shard: iter(())).fill()
    self.assertEqual(array.read().shape, (0, 2))

  def test_files_are_numpy_files_that_anyone_can_read(self):
    array = self._array().fill()
    loaded = np.load(array.path(2), allow_pickle=False)
    np.testing.assert_array_equal(
        loaded, np.stack([self._row(3), self._row(4)]))

  def test_take_finds_rows_by_place_and_mirror(self):
    index = np.array([8, 0, 3, 2, 3])
    mirrored = np.array([True, False, True, True, False])
    taken = self._array().fill().take(index, mirrored)
    np.testing.assert_array_equal(
        taken["score"][:, 0], np.where(mirrored, -index, index))

  def test_take_reads_by_memory_map(self):
    array = self._array().fill()
    with mock.patch.object(np, "load", wraps=np.load) as load:
      array.take([0, 5], [False, True])
    self.assertNotEmpty(load.call_args_list)
    for call in load.call_args_list:
      self.assertEqual(call.kwargs, {"mmap_mode": "r", "allow_pickle": False})

  def test_what_is_there_is_not_computed_again(self):
    self._array().fill()
    self.computed.clear()
    with self.assertLogs("absl", level="INFO") as logs:
      self._assert_whole(self._array().fill())
    self.assertEmpty(self.computed)
    self.assertIn("Found complete", logs.output[-1])

  def test_stopped_computation_goes_on_at_the_first_missing_shard(self):
    def stopped(shard):
      for count, row in enumerate(self._compute(shard)):
        if shard == 2 and count == 1:
          raise KeyboardInterrupt
        yield row
    with self.assertRaises(KeyboardInterrupt):
      self._array(compute=stopped).fill()
    self.assertEqual(self.computed, [0, 1, 2])
    self.assertLen(os.listdir(self._array().folder), 3)  # about.json, 2 shards.
    self.computed.clear()
    self._assert_whole(self._array().fill())
    self.assertEqual(self.computed, [2, 3])

  def test_a_full_disk_at_the_last_shard_loses_nothing(self):
    with file_limit.none() as limit:
      def filling(shard):
        if shard == 3:
          limit(100)
        return self._compute(shard)
      with contextlib.redirect_stderr(io.StringIO()):  # It may be a file.
        with self.assertRaisesRegex(errors.InputError, "00003-of-00004.npy: "):
          self._array(compute=filling).fill()
    self.assertLen(os.listdir(self._array().folder), 4)  # about.json, 3 shards.
    self.computed.clear()
    self._assert_whole(self._array().fill())
    self.assertEqual(self.computed, [3])

  @parameterized.named_parameters(
      ("cut_short", lambda path, content: content[:-1]),
      ("too_long", lambda path, content: content + b"x"),
      ("empty", lambda path, content: b""),
      ("header_only", lambda path, content: content[:128]),
      ("no_header", lambda path, content: b"?" * len(content)))
  def test_broken_shard_is_computed_again(self, spoil):
    array = self._array().fill()
    with open(array.path(2), "rb") as file:
      content = file.read()
    with open(array.path(2), "wb") as file:
      file.write(spoil(array.path(2), content))
    self._assert_computed_again(array)

  @parameterized.named_parameters(
      ("shape", np.zeros([2, 5], _RECORD)),
      ("dtype", np.zeros([2, 2], np.float64)),
      ("pickle", np.array([[None, None], [1, 2]], object)))
  def test_shard_with_other_content_is_computed_again(self, content):
    array = self._array().fill()
    np.save(array.path(2), content)
    self._assert_computed_again(array)

  def _assert_computed_again(self, array):
    self.computed.clear()
    with self.assertLogs("absl", level="WARNING") as logs:
      self._assert_whole(self._array().fill())
    self.assertEqual(self.computed, [2])
    self.assertLen(logs.output, 1)
    self.assertIn(array.path(2), logs.output[0])

  def test_other_settings_have_another_folder(self):
    one, same, other = map(self._array, ("a", "a", "b"))
    self.assertEqual(one.folder, same.folder)
    self.assertNotEqual(one.folder, other.folder)
    self.assertStartsWith(os.path.basename(one.folder), "train-scores-")

  def test_folder_says_what_made_it(self):
    array = self._array().fill()
    with open(os.path.join(array.folder, "about.json")) as file:
      about = json.load(file)
    self.assertEqual(about["source"], "a test")
    self.assertEqual(about["settings"], array.settings)
    self.assertEqual(about["settings"]["settings"], "a")
    self.assertEqual((about["split"], about["num_images"]), ("train", 9))

  def test_others_of_the_split_are_named_and_left_alone(self):
    stale = self._array("stale").fill()
    nearly = self._write_records(self.root, "train-scores", _COUNTS)
    for unrelated in (self._array(kind="features"),
                      self._array(record_set=nearly)):
      unrelated.fill()
    with self.assertLogs("absl", level="INFO") as logs:
      self._array("new").fill()
    lines = [line for line in logs.output if "There are also arrays" in line]
    self.assertLen(lines, 1)
    self.assertEndsWith(lines[0], f"rm -r {stale.folder}")
    self._assert_whole(self._array("stale"))

  def test_size_is_said_before_anything_is_computed(self):
    array = self._array(shape=(1000, 100), dtype=np.float16,
                        compute=lambda shard: 1 / 0)
    with self.assertLogs("absl", level="INFO") as logs, _disk(free=5 * 10 ** 9):
      with self.assertRaises(ZeroDivisionError):
        array.fill()
    # 9 images of 2 * 1000 * 100 numbers of 2 bytes: 3.6 MB.
    self.assertRegex(logs.output[0],
                     "scores of train takes 0.004 GB in .*5.000 GB free")

  def test_too_little_space_is_told_before_anything_is_computed(self):
    array = self._array()
    needed = 9 * 2 * (3 * 4 + 1)
    with _disk(free=needed - 1), self.assertRaisesRegex(
        errors.InputError, "expected .* of free disk. Received: "):
      array.fill()
    self.assertEmpty(self.computed)
    with _disk(free=needed):
      self._assert_whole(array.fill())

  def test_only_what_is_missing_needs_space(self):
    array = self._array().fill()
    os.remove(array.path(0))
    with _disk(free=3 * 2 * (3 * 4 + 1)):
      self._assert_whole(array.fill())

  def test_two_workers_share_the_shards(self):
    errors_seen, this = [], threading.local()

    def work(worker):
      this.worker = worker
      try:
        self._assert_whole(self._array().fill())
      except BaseException as error:
        errors_seen.append(error)
        raise

    with mock.patch.object(cached_arrays, "_POLL_INTERVAL", 0.01):
      with mock.patch.object(
          strategies, "sharing", lambda: (2, this.worker)):
        _run_threads(work, 2)
    self.assertEmpty(errors_seen)
    self.assertCountEqual(self.computed, [0, 1, 2, 3])

  def test_late_workers_end_the_wait(self):
    seconds = [0.0]
    clock = types.SimpleNamespace(
        monotonic=lambda: seconds[0], time=lambda: seconds[0],
        sleep=lambda _: seconds.__setitem__(0, seconds[0] + 10.0))
    with mock.patch.object(cached_arrays, "time", clock), mock.patch.object(
        strategies, "sharing", return_value=(2, 0)), self.assertLogs(
            "absl", level="INFO") as logs, self.assertRaisesRegex(
                errors.InputError, "no new shard for 1.0 hours; 2 are missing"):
      self._array().fill()
    self.assertEqual(self.computed, [0, 2])
    self.assertBetween(seconds[0], 3600, 3700)
    notes = [line for line in logs.output if "Waiting for 2 shards" in line]
    self.assertBetween(len(notes), 45, 60)  # About one each minute.

  def test_two_that_make_the_same_array_at_once_share_the_work(self):
    first_is_in_shard_0, other_is_in_shard_2 = (
        threading.Event(), threading.Event())

    def compute(shard):
      for row in self._compute(shard):
        if shard == 0:
          first_is_in_shard_0.set()
          self.assertTrue(other_is_in_shard_2.wait(300))
        if shard == 2:
          other_is_in_shard_2.set()
        yield row

    def work(number):
      if number:
        self.assertTrue(first_is_in_shard_0.wait(300))
      self._array(compute=compute).fill()

    _run_threads(work, 2)
    # The shard that is left to both may be computed by both.
    self.assertEqual(self.computed[:3], [0, 1, 2])
    self.assertLessEqual(len(self.computed), 5)
    self._assert_whole(self._array())
    self.assertLen(os.listdir(self._array().folder), 5)  # Nothing partial.

  def test_the_last_shard_is_computed_even_if_another_process_is_at_it(self):
    array = self._array()
    with files.atomic_path(array.path(0)) as temporary:
      self._assert_whole(array.fill())
      self.assertEqual(self.computed, [1, 2, 3, 0])
      shutil.copyfile(array.path(0), temporary)

  def test_what_a_killed_process_left_goes(self):
    array = self._array().fill()
    os.remove(array.path(0))
    left = os.path.join(
        array.folder, ".partial-x-" + os.path.basename(array.path(0)))
    with open(left, "w"):
      pass
    array.fill()
    self.assertFalse(os.path.exists(left))

  @parameterized.named_parameters(
      ("shape", lambda row: [row[:1]] * 3, "shape"),
      ("few", lambda row: [row] * 2, "Expected 3. Received: 2"),
      ("many", lambda row: [row] * 4, "Expected 3. Received: 4"))
  def test_wrong_rows_are_an_error_and_leave_nothing(self, rows, message):
    with self.assertRaisesRegex(ValueError, message):
      self._array(compute=lambda shard: rows(self._row(0))).fill()
    self.assertEqual(os.listdir(self._array().folder), ["about.json"])

  def test_shards_that_do_not_fit_their_card(self):
    other = record_files.RecordSet(
        self.records.directory, "train", self.records.paths[:1],
        self.records.card)
    with self.assertRaisesRegex(
        errors.InputError, "expected 9 images .* Received: 3;"):
      self._array(record_set=other)

  def test_folder_that_cannot_be_written(self):
    with open(self.directory, "w"):
      pass
    with self.assertRaisesRegex(errors.InputError, "can be written"):
      self._array().fill()


def _run_threads(work, count):
  threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(300)


if __name__ == "__main__":
  absltest.main()
