"""Decoded images kept in memory or on disk: `input_pipeline`'s `cache`."""

import os
from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import decoded_cache
from kdwsd.data import record_files
from kdwsd.data import records
from tests.data import input_pipeline_case as case
from tests.data import marked_records

_take, _train = case.take, case.train


class InputCacheTest(case.InputPipelineCase):

  @parameterized.parameters("memory", "disk")
  def test_cache_changes_nothing(self, cache):
    plain = _take(_train(self.record_set), 12)
    for _ in range(2):  # The second run finds the first one's cache.
      cached = _train(self.record_set, cache=cache,
                      cache_directory=os.path.join(self.directory, "cache"))
      self._assert_same(plain, _take(cached, 12))

  @parameterized.parameters("memory", "disk")
  def test_cache_spares_the_second_epoch_the_records(self, cache):
    plain = _take(_train(self.record_set), 16)
    iterator = _train(
        self.record_set, cache=cache,
        cache_directory=os.path.join(self.directory, "cache")
    ).as_numpy_iterator()
    seen = [next(iterator) for _ in range(6)]  # Into the third epoch.
    for path in self.record_set.paths:
      os.remove(path)
    seen += [next(iterator) for _ in range(10)]
    self._assert_same(plain, seen)

  @mock.patch.object(decoded_cache, "num_bytes", return_value=10 ** 18)
  def test_images_that_do_not_fit_are_refused_at_once(self, _):
    with self.assertRaisesRegex(
        errors.InputError, r"--cache=memory: .*about 1e\+09 GB. Received: a"):
      _train(self.record_set, cache="memory")
    with self.assertRaisesRegex(
        errors.InputError, r"--cache=disk: .*about 1e\+09 GB. Received: "):
      _train(self.record_set, cache="disk", cache_directory=self.directory)

  def test_their_size_is_that_of_the_pixels(self):
    images = records.read_labelled_images(list(self.record_set.paths))
    sizes = [3 * image.height * image.width for image in images]
    size = decoded_cache.num_bytes(self.record_set)
    self.assertBetween(size, len(sizes) * min(sizes), len(sizes) * max(sizes))
    for path in self.record_set.paths:
      os.truncate(path, 0)
    self.assertEqual(decoded_cache.num_bytes(self.record_set), 0)

  def test_half_written_disk_cache_is_no_hindrance(self):
    # So many that the first epoch does not end while its files are copied.
    many = marked_records.write(self.directory, self.serialized * 200)
    cache = os.path.join(self.directory, "cache")
    plain = _take(_train(many), 12)
    # Killed in the first epoch: what its iterator leaves behind.
    iterator = iter(_train(many, cache="disk", cache_directory=cache,
                           shuffle_buffer=1))
    next(iterator)
    copies = {name: _content(os.path.join(cache, name))
              for name in os.listdir(cache)}
    del iterator
    self.assertNotEmpty([name for name in copies if ".data-" in name])
    self.assertEmpty([name for name in copies if name.endswith(".index")])
    for name, content in copies.items():
      files.write_bytes(os.path.join(cache, name), content)
    self._assert_same(plain, _take(
        _train(many, cache="disk", cache_directory=cache), 12))

  @parameterized.parameters(0, 30)
  def test_disk_cache_whose_index_was_cut_off_is_made_anew(self, length):
    cache = os.path.join(self.directory, "cache")
    _take(_train(self.record_set, cache="disk", cache_directory=cache), 12)
    (index,) = [name for name in os.listdir(cache) if name.endswith(".index")]
    with open(os.path.join(cache, index), "rb+") as file:
      file.truncate(length)
    self._assert_same(_take(_train(self.record_set), 12), _take(
        _train(self.record_set, cache="disk", cache_directory=cache), 12))

  def test_damaged_disk_cache_goes_and_is_made_anew(self):
    cache = os.path.join(self.directory, "cache")

    def read():
      with decoded_cache.mended(cache):
        with record_files.naming_faults(self.record_set):
          return _take(_train(
              self.record_set, cache="disk", cache_directory=cache), 12)

    plain = read()
    (name,) = [name for name in os.listdir(cache) if ".data-" in name]
    path = os.path.join(cache, name)
    content = bytearray(_content(path))
    content[len(content) // 2] ^= 1
    files.write_bytes(path, bytes(content))
    with self.assertRaisesRegex(
        errors.InputError, f"{cache}: expected the decoded images.*removed"):
      read()
    self.assertEmpty(os.listdir(cache))
    self._assert_same(plain, read())

  def test_disk_cache_of_other_records_is_not_used(self):
    cache = os.path.join(self.directory, "cache")
    _take(_train(self.record_set, cache="disk", cache_directory=cache), 12)
    other = marked_records.write(self.directory, self.serialized[::-1])
    self._assert_same(
        _take(_train(other), 12),
        _take(_train(other, cache="disk", cache_directory=cache), 12))


def _content(path):
  with open(path, "rb") as file:
    return file.read()

if __name__ == "__main__":
  tf.test.main()
