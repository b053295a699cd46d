"""Sources and records on a file system of TensorFlow's, here ram://.

It lives within a process, so the conversion has no worker processes.
"""

import os
import tempfile
from unittest import mock
import uuid

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.data import conversion
from kdwsd.data import input_pipeline
from kdwsd.data import preparation
from kdwsd.data import proposals
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import sources
from kdwsd.data.runners import tasks
from kdwsd.training import cached_arrays
from tests.data import fake_sources

_SETTINGS = {"max_proposals": 20, "min_side_pixels": 4, "min_box_area": 16.0}


def _contents(folder):
  """{path from the folder: bytes} of all files."""
  found = {}
  for where, _, names in places.walk(folder):
    for name in names:
      path = f"{where}/{name}"
      with places.open_bytes(path) as file:
        found[path[len(folder):].replace("//", "/")] = file.read()
  return found


def _new():
  return f"ram://{uuid.uuid4().hex}"


class RemoteRecordsTest(tf.test.TestCase, parameterized.TestCase):

  def _convert(self, root, output, kind="csv", on_error="stop", damaged=False,
               **arguments):
    problems = sources.Problems(on_error)
    method = {"method": "datalist"} if kind == "datalist" else {}
    conversion.convert(
        fake_sources.make(kind, root, problems, damaged), output=output,
        split="train", num_shards=3, num_workers=0, problems=problems,
        proposal_settings=proposals.Settings(**_SETTINGS, **method),
        progress=False, **arguments)
    return _contents(output)

  @parameterized.parameters(sorted(set(fake_sources.KINDS) - {"tfds"}))
  def test_every_source_gives_the_records_of_local_files(self, kind):
    # Of one name, which the card has.
    local = self._convert(
        os.path.join(tempfile.mkdtemp(), "data"), tempfile.mkdtemp(), kind)
    self.assertLen(local, 4)
    self.assertEqual(
        self._convert(_new() + "/data", _new() + "/a/b", kind), local)

  def test_skipped_images_are_listed(self):
    made = self._convert(_new(), _new(), on_error="skip", damaged=True)
    self.assertIn(fake_sources.DAMAGED, made["/train.skipped.txt"].decode())

  def test_a_missing_image_is_named_with_its_neighbour(self):
    root, problems = _new(), sources.Problems()
    source = fake_sources.make("csv", root, problems)
    places.rename(f"{root}/images/000001.jpg", f"{root}/images/000001.JPG")
    with self.assertRaisesRegex(
        errors.InputError, "csv:3: ram.*No such file.* there is 000001.JPG"):
      conversion.convert(
          source, output=_new(), split="train", problems=problems,
          proposal_settings=proposals.Settings(**_SETTINGS))

  @parameterized.parameters(1, 3)
  def test_an_interrupted_conversion_resumes(self, number):
    root, output = _new(), _new()
    whole = self._convert(root, _new())
    prepare, calls = preparation.prepare, []

    def stopping(*args, **kwargs):
      calls.append(args)
      if len(calls) > number:
        raise KeyboardInterrupt
      return prepare(*args, **kwargs)

    with mock.patch.object(preparation, "prepare", stopping):
      with self.assertRaises(KeyboardInterrupt):
        self._convert(root, output)
    left = _contents(output)
    self.assertLen([name for name in left if name.endswith(".tfrecord")],
                   {1: 1, 3: 2}[number])
    self.assertEmpty([name for name in left if ".partial-" in name])
    with mock.patch.object(preparation, "prepare", wraps=prepare) as again:
      self.assertEqual(self._convert(root, output), whole)
    self.assertEqual(again.call_count, {1: 4, 3: 2}[number])

  def test_that_there_are_no_locks_is_logged(self):
    with self.assertLogs(level="INFO") as logged:
      self._convert(_new(), _new())
    self.assertIn("no locks; do not run two conversions of train at once",
                  "".join(logged.output))

  def test_tasks_of_any_worker(self):
    def run(job, unused_bar):
      staged = tasks.stage(job)
      for task in staged * 2:
        tasks.do(task)
      self.assertLen(tasks.done(staged), 3)
      tasks.clear(staged[0].folder)

    root = _new()
    self.assertEqual(self._convert(root, _new(), runner=run),
                     self._convert(root, _new()))

  def test_a_file_system_that_fails_is_told(self):
    with mock.patch.object(
        tf.io.gfile, "rename", side_effect=tf.errors.
        UnavailableError(None, None, "the store is away")):
      with self.assertRaisesRegex(
          errors.InputError, "ram://.*: expected to write.*the store is away"):
        self._convert(tempfile.mkdtemp(), _new())

  def _records(self):
    output = _new()
    self._convert(_new(), output)
    return output

  def test_records_are_read(self):
    remote, local = self._records(), tempfile.mkdtemp()
    self._convert(tempfile.mkdtemp(), local)
    one, two = (record_files.open_split(folder, "train")
                for folder in (remote, local))
    self.assertEqual(one.card, two.card)
    self.assertEqual(input_pipeline.fingerprint(one),
                     input_pipeline.fingerprint(two))
    self.assertEqual(*(
        [image.image_id for image in records.read_labelled_images(split.paths)]
        for split in (one, two)))
    self.assertEqual(*(list(map(record_files.count, split.paths))
                       for split in (one, two)))
    first, second = (next(iter(input_pipeline.training_batches(
        split, global_batch_size=2, num_proposals=4, sizes=(32,), seed=1)))
                     for split in (one, two))
    for key in second:
      np.testing.assert_array_equal(first[key], second[key])

  def test_a_split_that_is_not_whole_is_refused(self):
    output = self._records()
    with self.assertRaisesRegex(errors.InputError, "no such directory"):
      record_files.open_split(output + "/none", "train")
    with self.assertRaisesRegex(errors.InputError, "splits here: train"):
      record_files.open_split(output, "test")
    path = record_files.shard_path(output, "train", 1, 3)
    with places.open_bytes(path) as file:
      content = file.read()
    files.write_bytes(path, content[:-7])
    with self.assertRaisesRegex(
        errors.InputError, f"00001-of-00003.*expected.*{len(content)} bytes"):
      record_files.open_split(output, "train")
    places.remove(path)
    with self.assertRaisesRegex(errors.InputError, "1 missing, first .*00001"):
      record_files.open_split(output, "train")

  def test_cached_arrays_are_on_a_local_disk(self):
    split = record_files.open_split(self._records(), "train")
    home = tempfile.mkdtemp()

    def make(fail=False):
      def compute(batch):
        self.assertFalse(fail, "computed again")
        return tf.cast(batch["record_index"][:, tf.newaxis], tf.float32)

      return cached_arrays.CachedArray(
          split, "cache", "things", {}, shape=(1,), dtype=np.float32,
          compute=compute, batches={"size": 32, "num_proposals": 4},
          source="a test", add=None)

    with mock.patch.dict(os.environ, XDG_CACHE_HOME=home):
      # Other machines do not see what this one computes.
      with mock.patch.object(
          cached_arrays.strategies, "sharing", return_value=(2, 1)):
        array = make().fill()
      again = make(fail=True).fill()
    self.assertTrue(array.folder.startswith(os.path.join(home, "kdwsd")))
    np.testing.assert_array_equal(
        again.read()[:, :, 0], np.repeat(np.arange(5)[:, np.newaxis], 2, 1))


if __name__ == "__main__":
  tf.test.main()
