"""Tests of tasks: the same bytes, however often and in whatever order."""

import glob
import json
import os
import threading
from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import preparation
from kdwsd.data import progress_notes
from kdwsd.data import proposal_files
from kdwsd.data import record_files
from kdwsd.data.runners import tasks
from tests.data import fake_sources
from tests.data.runners import case


def _backwards(job, unused_bar):
  """A runner that does every task twice, the last one first."""
  for task in reversed(tasks.stage(job) * 2):
    tasks.do(task)
  tasks.clear(job.notes.folder)


class TasksTest(case.RunnerTestCase, parameterized.TestCase):

  def _stopping_at(self, number):
    """A runner that stages all tasks, does some, and is killed."""
    def run(job, unused_bar):
      self.staged = tasks.stage(job)
      for task in self.staged[:number]:
        tasks.do(task)
      raise KeyboardInterrupt
    return run

  def _stop(self, name, number, **arguments):
    # A process that is killed tidies nothing up.
    with mock.patch.object(progress_notes.Notes, "__exit__",
                           lambda notes, *_: notes._lock.close()):
      with self.assertRaises(KeyboardInterrupt):
        self.convert(name, runner=self._stopping_at(number), **arguments)
    return self.staged

  @parameterized.parameters(sorted(fake_sources.KINDS))
  def test_every_source_gives_the_bytes_of_the_local_runner(self, kind):
    self.assertEqual(self.convert("tasks", kind, _backwards),
                     self.convert("local", kind))
    self.assertEqual(
        self.convert("tasks skip", kind, _backwards, "skip", damaged=True),
        self.convert("local skip", kind, on_error="skip", damaged=True))
    with open(os.path.join(self.output("tasks skip"), "train.skipped.txt"),
              encoding="utf-8") as file:
      self.assertIn(".tfrecord" if kind == "tfds" else fake_sources.DAMAGED,
                    file.read())

  def test_a_worker_gets_the_images_of_its_shard_alone(self):
    whole = self._stop("half", 0, kind="coco")
    listed = []
    for task in whole:
      content = files.read_json(
          os.path.join(task.folder, f"task-{task.index:05d}.json"))
      listed.append([item["image_id"] for item in content["items"]])
    self.assertEqual(sorted(sum(listed, [])), ["0", "1", "2", "3", "4"])
    self.assertEqual(list(map(len, listed)), [1, 2, 2])
    # The listing is not needed any more, and no other shard's.
    os.remove(os.path.join(self.root, "coco", "instances.json"))
    for task in whole[1:]:
      os.remove(os.path.join(task.folder, f"task-{task.index:05d}.json"))
    tasks.do(whole[0])
    self.assertEqual(tasks.done(whole), {0})

  def test_tasks_are_repeated_without_work(self):
    staged = self._stop("half", 2)
    before = case.hashes(self.output("half"))
    self.assertEqual(tasks.done(staged), {0, 1})
    with mock.patch.object(preparation, "prepare", side_effect=AssertionError):
      for task in staged[:2]:
        tasks.do(task)
    self.assertEqual(case.hashes(self.output("half")), before)

  @parameterized.parameters(0, 1, 2, 3)
  def test_an_interrupted_conversion_resumes_in_either_runner(self, number):
    whole = self.convert("whole")
    for runner in None, _backwards:
      name = f"half {runner}"
      self._stop(name, number)
      self.assertEqual(self.convert(name, runner=runner), whole)

  def test_a_shard_without_counts_is_written_again(self):
    staged = self._stop("half", 2)
    os.remove(os.path.join(staged[1].folder, "shard-00001.json"))
    self.assertEqual(tasks.done(staged), {0})
    tasks.do(staged[1])
    self.assertEqual(tasks.done(staged), {0, 1})

  def test_a_lost_shard_of_a_finished_split_comes_back(self):
    whole = self.convert("one")
    os.remove(record_files.shard_path(self.output("one"), "train", 1, 3))
    self.assertEqual(self.convert("one", runner=_backwards), whole)

  def test_a_worker_that_outlives_its_conversion_writes_nothing(self):
    staged = self._stop("half", 1)
    with self.assertRaises(errors.InputError):
      self.convert("half", max_proposals=7)  # Another conversion.
    whole = self.convert("half", runner=_backwards)
    for task in staged:
      tasks.do(task)
    # Nor where a conversion with other settings runs in its place.
    os.remove(os.path.join(self.output("half"), "train.json"))
    other = self._stop("half", 0, max_proposals=7)
    for path in glob.glob(os.path.join(self.output("half"), "*.tfrecord")):
      os.remove(path)
    tasks.do(staged[0])
    self.assertEmpty(glob.glob(os.path.join(self.output("half"), "*.tfrec*")))
    tasks.do(other[0])
    self.assertEqual(tasks.done(other), {0})
    self.assertLen(whole, 4)

  def test_a_conversion_that_ends_meanwhile_gets_no_shard(self):
    staged = self._stop("half", 0)
    prepare = preparation.prepare

    def ending(*args, **kwargs):
      tasks.clear(staged[0].folder)
      return prepare(*args, **kwargs)

    with mock.patch.object(preparation, "prepare", ending):
      tasks.do(staged[0])
    self.assertEmpty(glob.glob(os.path.join(
        self.output("half"), "*.tfrecord")))

  def test_the_first_bad_image_in_order_is_named(self):
    with self.assertRaises(errors.InputError) as local:
      self.convert("local", damaged=True, num_shards=5)
    staged = self._stop("half", 0, damaged=True, num_shards=5)
    names = [files.read_json(os.path.join(
        task.folder, f"task-{task.index:05d}.json"))["items"][0]["image_id"]
             for task in staged]
    bad = names.index(fake_sources.DAMAGED)
    for task in reversed(staged):
      tasks.do(task)
    self.assertEqual(tasks.first_fault(staged), str(local.exception))
    # Shards before it are done; one after it is not begun any more.
    self.assertNotIn(bad, tasks.done(staged))
    self.assertContainsSubset(range(bad), tasks.done(staged))
    if bad + 1 < len(staged):
      os.remove(record_files.shard_path(
          self.output("half"), "train", bad + 1, 5))
      tasks.do(staged[bad + 1])
      self.assertNotIn(bad + 1, tasks.done(staged))

  @parameterized.parameters("npz", "pkl", "folder")
  def test_a_file_of_proposals_is_read_by_the_launcher_alone(self, kind):
    path = self.file_of_proposals(kind)
    names = tuple(f"{i:06d}" for i in range(5)) if kind == "pkl" else None
    given = {"method": "file", "file": path, "min_side_pixels": 0,
             "order": "xyxy", "image_ids": names}
    local = self.convert("local", on_error="skip", **given)
    if kind != "pkl":
      self.assertIn("train.skipped.txt", local)

    def run(job, unused_bar):
      staged = tasks.stage(job)
      if kind != "folder":
        os.rename(path, path + ".gone")
      for task in staged:
        tasks.do(task)
      if kind != "folder":
        os.rename(path + ".gone", path)
      tasks.clear(job.notes.folder)

    with mock.patch.object(
        proposal_files, "open_file", wraps=proposal_files.open_file) as opened:
      self.assertEqual(
          self.convert("t", runner=run, on_error="skip", **given), local)
    self.assertEqual(opened.call_count, 1)

  def test_proposals_that_are_gone_end_a_task(self):
    staged = self._stop("half", 0, method="file", min_side_pixels=0,
                        file=self.file_of_proposals("npz"))
    os.remove(os.path.join(staged[0].folder, "proposals-00000.npz"))
    tasks.do(staged[0])
    tasks.do(staged[1])
    self.assertEqual(tasks.done(staged), {1})

  def test_threads_of_a_process_change_no_byte(self):
    def run(job, unused_bar):
      threads = [threading.Thread(target=tasks.do, args=[task])
                 for task in tasks.stage(job) * 2]
      for thread in threads:
        thread.start()
      for thread in threads:
        thread.join()
      tasks.clear(job.notes.folder)

    for settings in {}, {"method": "selective_search"}:
      name = f"threads {len(settings)}"
      self.assertEqual(self.convert(name, runner=run, **settings),
                       self.convert("local " + name, **settings))

  def test_relative_paths_start_from_the_folder_of_the_launcher(self):
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    os.chdir(self.root)
    self.root = ""
    whole = self.convert("local", on_error="skip", damaged=True)

    def run(job, unused_bar):
      staged = tasks.stage(job)
      os.chdir("/")
      for task in staged:
        tasks.do(task)
      tasks.clear(staged[0].folder)

    self.assertEqual(self.convert(
        "tasks", runner=run, on_error="skip", damaged=True), whole)
    self.root = os.getcwd()

  def test_a_full_disk_is_an_error_of_the_task(self):
    staged = self._stop("half", 0)
    with mock.patch.object(
        tasks.shard_writing.tf.io, "TFRecordWriter",
        side_effect=tf.errors.ResourceExhaustedError(
            None, None, "x; No space left on device")):
      with self.assertRaisesRegex(errors.InputError, "No space left"):
        tasks.do(staged[0])
    self.assertIsNone(tasks.first_fault(staged))
    tasks.do(staged[0])
    self.assertEqual(tasks.done(staged), {0})

  def test_the_staged_images_hold_json(self):
    staged = self._stop("half", 0, kind="openimages")
    with open(os.path.join(staged[0].folder, "task-00000.json"),
              encoding="utf-8") as file:
      item = json.load(file)["items"][0]
    # Not a list of all other classes.
    self.assertEqual(list(item["unknown_label_ids"]), ["all_but"])


if __name__ == "__main__":
  tf.test.main()
