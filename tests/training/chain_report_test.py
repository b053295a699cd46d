"""Tests of the report of a chain, from its files to the page."""

import json
import os
import shlex
import subprocess
import sys
import uuid

import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd.training import chain_report
from kdwsd.training import copy_folders
from tests.training import fake_chain
from tests.training import fake_config


class ChainReportTest(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = os.path.join(self.get_temp_dir(), "chain")

  def test_writes_one_file_and_gives_the_table(self):
    fake_chain.write(self.workdir, classes=("a<b>", 'c&"d"', "e"))
    before = set(os.listdir(self.workdir))
    path, table, _ = chain_report.write(self.workdir)
    self.assertEqual(set(os.listdir(self.workdir)) - before, {"report.html"})
    self.assertEqual(path, os.path.join(self.workdir, "report.html"))
    with open(path, encoding="utf-8") as file:
      page = file.read()
    self.assertLess(len(page), 3_000_000)
    self.assertEqual(page.count("<img"), 12)
    self.assertIn("a&lt;b&gt;", page)
    self.assertNotIn("a<b>", page)
    for title in ("T-WDet, the teacher", "S-Cls without distillation",
                  "stage 1: features", "stage 2: predictions"):
      self.assertIn(f"<h3>{title.split(': ')[0]}" if ": " not in title
                    else title, page)
    for name in ("T-WDet", "S-Cls with KD", "100.0", "CorLoc"):
      self.assertIn(name, table)

  def test_the_same_run_gives_the_same_page(self):
    fake_chain.write(self.workdir)
    pages = []
    for name in ("one.html", "two.html"):
      path, *_ = chain_report.write(
          self.workdir, output=os.path.join(self.workdir, name))
      with open(path, encoding="utf-8") as file:
        pages.append(file.read())
    self.assertEqual(*pages)

  def test_that_of_a_remote_chain_is_written_there(self):
    data = fake_chain.write(self.workdir)
    path, table, _ = chain_report.write(self.workdir)
    with open(path, encoding="utf-8") as file:
      page = file.read()
    remote = f"ram://{uuid.uuid4().hex}/chain"
    for where, _, names in os.walk(self.workdir):
      if where != data:
        for name in names:
          files.upload(os.path.join(where, name), os.path.join(
              remote, os.path.relpath(where, self.workdir), name))
    places.remove(f"{remote}/./report.html")
    self.assertEqual(
        chain_report.write(remote)[:2], (f"{remote}/report.html", table))
    with places.open_text(f"{remote}/report.html", encoding="utf-8") as file:
      other = file.read()
    self.assertEqual(len(other.split("\n")), len(page.split("\n")))
    self.assertEqual(other.count("<img"), 12)
    self.assertIn(f"--workdir={remote}/cls", other)
    self.assertNotIn(copy_folders._PREFIX, other)
    with self.assertRaisesRegex(errors.InputError, f"{remote}: expected .*val"):
      chain_report.write(remote, split="val")

  def test_a_split_that_was_not_measured_is_named(self):
    fake_chain.write(self.workdir)
    with self.assertRaisesRegex(errors.InputError, "evaluation/val/metrics"):
      chain_report.write(self.workdir, split="val")

  def test_no_chain_is_an_error_that_says_what_was_expected(self):
    with self.assertRaisesRegex(
        errors.InputError, "wsd, cls, kd_feature, kd_prediction. Received"):
      chain_report.write(self.workdir)

  def test_a_chain_that_has_not_been_measured_is_an_error(self):
    fake_chain.write(self.workdir, ["kd_feature"])
    with self.assertRaisesRegex(errors.InputError, "cls, wsd, kd_prediction"):
      chain_report.write(self.workdir)

  def test_without_a_validation_split_one_must_be_named(self):
    fake_chain.write(self.workdir, eval_split=None)
    with self.assertRaisesRegex(errors.InputError, "--split: expected"):
      chain_report.write(self.workdir)
    chain_report.write(self.workdir, split="test")

  def test_configs_of_another_version_can_be_read(self):
    fake_chain.write(self.workdir, ["cls"])
    path = os.path.join(self.workdir, "cls", "config.json")
    with open(path, encoding="utf-8") as file:
      config = json.load(file)
    del config["momentum"]
    config["from_the_future"] = 1
    with open(path, "w", encoding="utf-8") as file:
      json.dump(config, file)
    stage, = chain_report.read_stages(self.workdir)
    self.assertIn("--from_the_future=1", stage.command)

  def test_the_command_gives_the_settings_back(self):
    config = vars(fake_config.make(
        data="my records", schedule_boundaries=(5, 7), mirror=False,
        train_sizes=(32, 48), deterministic=True))
    command = chain_report.train_command(config, "runs/a b")
    words = shlex.split(command.replace("\\\n", ""))
    self.assertEqual(words[:3], ["python", "-m", "kdwsd.train"])
    for flag in ("--data=my records", "--workdir=runs/a b", "--mirror=false",
                 "--train_sizes=32,48", "--deterministic=on", "--seed=0",
                 "--schedule_boundaries=5,7"):
      self.assertIn(flag, words)
    # In a process of its own: the binaries define flags of the same names.
    done = subprocess.run(
        [sys.executable, *words[1:], "--only_check_args"],
        capture_output=True, text=True, timeout=600, check=False)
    self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
  tf.test.main()
