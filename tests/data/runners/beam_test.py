"""Tests of the Beam runner: every source, workers, retries, kills."""

import functools
import glob
import importlib.util
import os
import signal
import subprocess
import sys
import time
from unittest import mock

from absl.testing import parameterized
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.data.runners import beam
from kdwsd.data.runners import tasks
from tests import programs
from tests.data import fake_sets
from tests.data import fake_sources
from tests.data.runners import case

_needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="needs Apache Beam: pip install 'kdwsd[beam]'")
_PROCESSES = ("direct_num_workers=2", "direct_running_mode=multi_processing")
_THREADS = ("direct_num_workers=3", "direct_running_mode=multi_threading")
_do = tasks.do


class WithoutBeamTest(parameterized.TestCase):

  def test_what_is_missing_is_told_in_one_line(self):
    with mock.patch.dict(sys.modules, {"apache_beam": None}):
      with self.assertRaisesRegex(
          errors.InputError, r"^--runner=beam: .*pip install 'kdwsd\[beam\]'$"):
        beam.check([])

  @parameterized.parameters(
      ("Traceback ...\nkdwsd.errors.InputError: x: expected a. Received: b. "
       "[while running 'Write-ptransform-5']\n more", "x: expected a. "
       "Received: b"),
      ("one\nValueError: two [while running 'Write']\n", "ValueError: two"),
      ("", "RuntimeError('')"))
  def test_the_reason_of_a_failure_is_one_line(self, text, expected):
    self.assertEqual(beam._reason(RuntimeError(text)), expected)


@_needs_beam
class BeamTest(case.RunnerTestCase, parameterized.TestCase):

  def _runner(self, *options):
    return functools.partial(beam.run, options=beam.check(options))

  @parameterized.parameters(sorted(fake_sources.KINDS))
  def test_every_source_gives_the_bytes_of_the_local_runner(self, kind):
    whole = self.convert("local", kind, on_error="skip", damaged=True)
    for number, options in enumerate([(), _THREADS]):
      self.assertEqual(
          self.convert(f"beam {number}", kind, self._runner(*options), "skip",
                       damaged=True), whole)

  @parameterized.parameters(sorted(fake_sources.KINDS))
  @pytest.mark.slow
  def test_every_source_gives_the_same_bytes_in_processes(self, kind):
    self.assertEqual(
        self.convert("beam", kind, self._runner(*_PROCESSES), "skip",
                     damaged=True),
        self.convert("local", kind, on_error="skip", damaged=True))

  @parameterized.parameters([()], [_THREADS])
  def test_proposals_of_a_file_are_those_of_the_local_runner(self, options):
    self._check_proposals_of_a_file(*options)

  @pytest.mark.slow
  def test_proposals_of_a_file_are_the_same_in_processes(self):
    self._check_proposals_of_a_file(*_PROCESSES)

  def _check_proposals_of_a_file(self, *options):
    given = {"method": "file", "file": self.file_of_proposals("npz"),
             "min_side_pixels": 0, "order": "xyxy"}
    self.assertEqual(
        self.convert("beam", runner=self._runner(*options), on_error="skip",
                     **given),
        self.convert("local", on_error="skip", **given))

  @parameterized.parameters("1", "2")
  def test_repeated_bundles_leave_nothing_doubled(self, times):
    self.assertEqual(
        self.convert("beam", runner=self._runner(
            f"direct_runner_bundle_repeat={times}")),
        self.convert("local"))

  @parameterized.parameters("before", "after")
  def test_a_task_that_fails_once_is_retried(self, when):
    calls = os.path.join(self.root, "calls")

    def failing(task):  # Beam copies it, with a list of calls.
      with open(calls, "a", encoding="utf-8") as file:
        file.write("x")
      if when == "after":
        _do(task)
      if os.path.getsize(calls) == 2:
        raise OSError("gone for a moment")
      _do(task)

    with mock.patch.object(tasks, "do", failing):
      # The one engine of Beam without a cluster that retries.
      made = self.convert("beam", runner=self._runner(
          "runner=BundleBasedDirectRunner"))
    self.assertGreater(os.path.getsize(calls), 3)
    self.assertEqual(made, self.convert("local"))

  def test_a_task_that_fails_for_good_leaves_what_is_resumed(self):
    def failing(task):
      if task.index == 2:
        raise errors.InputError("disk: expected room. Received: none.")
      _do(task)

    with mock.patch.object(tasks, "do", failing):
      with self.assertRaisesRegex(
          errors.InputError, "Received: disk: expected room. Received: none; "
          "1 of 3 shards are missing, and the same command resumes"):
        self.convert("beam", runner=self._runner())
    self.assertLen(glob.glob(self.output("beam") + "/*.tfrecord"), 2)
    # Tasks of a pipeline that has ended are gone.
    self.assertEmpty(glob.glob(
        self.output("beam") + "/.train.progress/[tj]*"))
    self.assertEqual(self.convert("beam", runner=self._runner()),
                     self.convert("local"))

  def test_workers_that_see_another_folder_are_noticed(self):
    with mock.patch.object(tasks, "do", lambda task: None):
      with self.assertRaisesRegex(
          errors.InputError, "launcher and workers share. .* 3 of 3 shards"):
        self.convert("beam", runner=self._runner())

  def test_a_bad_image_is_named_as_by_the_local_runner(self):
    with self.assertRaises(errors.InputError) as local:
      self.convert("local", damaged=True)
    with self.assertRaises(errors.InputError) as caught:
      self.convert("beam", runner=self._runner(*_THREADS), damaged=True)
    self.assertEqual(str(caught.exception), str(local.exception))
    # And the progress, if there is any, is the local runner's.
    self.assertEqual(
        self.convert("beam", on_error="skip", damaged=True),
        self.convert("local", on_error="skip", damaged=True))

  def test_progress_counts_images(self):
    bar, counted = mock.Mock(), []
    bar.update = counted.append
    self.convert("beam", runner=lambda job, _: beam.run(
        job, bar, options=beam.check([])))
    self.assertEqual(sum(counted), 5)

  @parameterized.parameters(
      ("direct_num_workes=2", "Received: direct_num_workes"),
      ("direct_num_workers=two", "NAME=VALUE.*=two"))
  def test_bad_options_are_refused(self, option, message):
    with self.assertRaisesRegex(errors.InputError, message):
      beam.check([option])

  def test_options_of_other_engines_are_taken(self):
    options = beam.check(["--runner=FlinkRunner", "flink_master=a:1", "x=2"])
    self.assertEqual(options.get_all_options()["flink_master"], "a:1")

  @pytest.mark.slow
  def test_a_killed_conversion_resumes(self):
    root = os.path.join(self.root, "voc")
    fake_sets.write_voc(root, num_images=60)
    command = ["--format=voc", f"--input={root}", "--image_set=trainval",
               "--num_shards=30"]
    local, killed = self.output("local"), self.output("killed")
    subprocess.run([sys.executable, "-m", "kdwsd.make_records", *command,
                    f"--output={local}"], check=True)
    by_beam = [*command, f"--output={killed}", "--runner=beam",
               "--beam_options=" + ",".join(_PROCESSES)]
    with programs.Program("kdwsd.make_records", *by_beam) as program:
      deadline = time.monotonic() + 200
      while len(glob.glob(killed + "/*.tfrecord")) < 3:
        self.assertIsNone(program.poll())
        self.assertLess(time.monotonic(), deadline)
        time.sleep(0.05)
      os.kill(program.pid, signal.SIGKILL)
    self.assertFalse(os.path.exists(os.path.join(killed, "train.json")))
    subprocess.run([sys.executable, "-m", "kdwsd.make_records", *by_beam],
                   check=True)
    self.assertEqual(case.hashes(killed), case.hashes(local))


if __name__ == "__main__":
  tf.test.main()
