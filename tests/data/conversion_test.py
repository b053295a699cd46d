"""Tests of the converter: what is written, and what survives what."""

import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd.data import cards
from kdwsd.data import conversion
from kdwsd.data import preparation
from kdwsd.data import progress_notes
from kdwsd.data import proposal_npz
from kdwsd.data import proposals
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import sources
from kdwsd.data.sources import csv_labels
from kdwsd.data.sources import datalist
from kdwsd.data.sources import voc
from tests import file_limit
from tests.data import deep_images
from tests.data import fake_sets

SETTINGS = proposals.Settings(
    max_proposals=20, min_side_pixels=4, min_box_area=16.0)

KILLED = """
import os, signal
from kdwsd.data import conversion, proposals, records, sources
from kdwsd.data.sources import voc
serialize, calls = records.serialize, []
def last_breath(record):
  calls.append(record)
  if len(calls) == {at}:
    os.kill(os.getpid(), signal.SIGKILL)
  return serialize(record)
records.serialize = last_breath
problems = sources.Problems()
conversion.convert(
    voc.read({root!r}, problems=problems), output={output!r}, split="train",
    proposal_settings=proposals.Settings(
        max_proposals=20, min_side_pixels=4, min_box_area=16.0),
    problems=problems, num_shards=3, num_workers=0, progress=False)
"""


class _StoppedError(Exception):
  """Stands for whatever ends a conversion."""


def _bytes(output):
  """Hashes of all files below a directory, by name."""
  hashes = {}
  for folder, _, names in os.walk(output):
    for name in names:
      path = os.path.join(folder, name)
      with open(path, "rb") as file:
        hashes[os.path.relpath(path, output)] = hashlib.sha256(
            file.read()).hexdigest()
  return hashes


def _ids(output, split="train"):
  return [image.image_id for image in records.read_labelled_images(
      record_files.open_split(output, split).paths)]


class ConversionTest(tf.test.TestCase, parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.folder = fake_sets.write_voc(self.root)
    self.output = os.path.join(tempfile.mkdtemp(), "records")

  def _convert(self, output=None, on_error="stop", source=None, **arguments):
    problems = sources.Problems(on_error)
    arguments = {"split": "train", "proposal_settings": SETTINGS,
                 "num_shards": 3, "num_workers": 0, "progress": False,
                 **arguments}
    return conversion.convert(
        source or voc.read(self.root, problems=problems),
        output=output or self.output, problems=problems, **arguments)

  def _image(self, name):
    return os.path.join(self.folder, "JPEGImages", name + ".jpg")

  def _stop_at(self, number):
    """Makes the conversion end at its image of this number, from 0."""
    prepare, calls = preparation.prepare, []

    def stopping(*args, **kwargs):
      calls.append(args)
      if len(calls) > number:
        raise _StoppedError()
      return prepare(*args, **kwargs)

    return mock.patch.object(preparation, "prepare", stopping)

  def test_what_a_record_holds(self):
    self._convert(shuffle_seed=-1)
    split = record_files.open_split(self.output, "train")
    self.assertEqual(split.num_images, 6)
    truth = records.read_labelled_images(split.paths)[1]
    self.assertEqual(truth.image_id, "000001")
    self.assertAllEqual(truth.label_ids, [0])
    self.assertAllEqual(truth.unknown_label_ids, [1])
    # XML (9, 7, 32, 24) of 32 x 24 pixels: edges 8/32, 6/24, 1 and 1.
    self.assertAllClose(truth.truth.boxes, [[0, 0, .5, .5], [.25, .25, 1, 1]])
    self.assertAllEqual(truth.truth.difficult, [False, True])
    for serialized in tf.data.TFRecordDataset(split.paths):
      example = records.parse_for_training(serialized)
      boxes = example["proposals"].numpy()
      scores = example["objectness"].numpy()
      self.assertBetween(len(boxes), 1, 20)
      self.assertLen(scores, len(boxes))
      self.assertAllGreaterEqual(boxes, 0)
      self.assertAllLessEqual(boxes, 1)
      self.assertAllGreater(boxes[:, 2:] - boxes[:, :2], 0)
      self.assertAllLessEqual(np.diff(scores), 0)
      name = example["image_id"].numpy().decode()
      with open(self._image(name), "rb") as file:
        self.assertEqual(example["encoded"].numpy(), file.read())

  def test_the_card(self):
    card = self._convert()
    self.assertEqual(files.read_json(os.path.join(self.output, "train.json")),
                     json.loads(json.dumps(card)))
    # Dogs: images 1, 3 and 5, of which in 1 and 5 they are difficult.
    self.assertEqual(card["images_per_class"], {"cat": 6, "dog": 1})
    self.assertEqual(card["unknown_per_class"], {"dog": 2})
    self.assertEqual(card["objects_per_class"], {"cat": 6, "dog": 3})
    self.assertEqual((card["num_images"], card["num_objects"]), (6, 9))
    self.assertEqual(card["name"], "voc2007")
    self.assertEqual(card["proposals"]["method"], "edge_boxes")
    self.assertEqual(card["proposals"]["settings"]["max_proposals"], 20)
    per_image = card["proposals"]["per_image"]
    self.assertBetween(per_image["mean"], per_image["min"], per_image["max"])
    self.assertBetween(card["proposals"]["recall"]["0.5"], 0, 1)
    self.assertEqual((card["skipped"], card["skipped_list"]), (0, None))

  def test_order_is_that_of_the_seed(self):
    kept = [f"{i:06d}" for i in range(6)]
    orders = []
    for seed in (-1, 0, 0, 1):
      output = tempfile.mkdtemp()
      self._convert(output, shuffle_seed=seed)
      orders.append(_ids(output))
      self.assertEqual(sorted(orders[-1]), kept)
    self.assertEqual(orders[0], kept)
    self.assertEqual(orders[1], orders[2])
    self.assertNotEqual(orders[1], orders[3])
    self.assertNotEqual(orders[0], orders[1])

  def test_workers_change_no_byte(self):
    self._convert()
    other = tempfile.mkdtemp()
    self._convert(other, num_workers=2)
    self.assertEqual(_bytes(self.output), _bytes(other))
    self.assertLen(_bytes(other), 4)

  def test_workers_need_no_tensorflow(self):
    subprocess.run(
        [sys.executable, "-c", "import sys, kdwsd.data.preparation, "
         "kdwsd.make_records; sys.exit('tensorflow' in sys.modules)"],
        check=True, cwd=os.path.dirname(os.path.dirname(
            os.path.dirname(os.path.abspath(conversion.__file__)))))

  @parameterized.parameters(1, 2, 3, 5)
  def test_stopped_conversion_goes_on_with_the_same_bytes(self, stop_at):
    self._convert()
    other = tempfile.mkdtemp()
    with self._stop_at(stop_at), self.assertRaises(RuntimeError):
      self._convert(other)
    done = glob.glob(os.path.join(other, "*.tfrecord"))
    self.assertLen(done, stop_at // 2)
    self.assertFalse(os.path.exists(os.path.join(other, "train.json")))
    with mock.patch.object(preparation, "prepare",
                           wraps=preparation.prepare) as prepare:
      self._convert(other)
    self.assertEqual(prepare.call_count, 6 - stop_at // 2 * 2)
    self.assertEqual(_bytes(self.output), _bytes(other))

  def test_killed_conversion_goes_on_with_the_same_bytes(self):
    self._convert()
    other = tempfile.mkdtemp()
    code = KILLED.format(at=4, root=self.root, output=other)
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.abspath(conversion.__file__)))))
    self.assertEqual(ended.returncode, -signal.SIGKILL, ended.stderr)
    self.assertNotEmpty(glob.glob(os.path.join(other, ".partial-*")))
    self._convert(other)
    self.assertEqual(_bytes(self.output), _bytes(other))

  def test_finished_conversion_is_left_alone(self):
    self._convert()
    before = {path: os.stat(path).st_mtime_ns
              for path in glob.glob(os.path.join(self.output, "*"))}
    with self._stop_at(0):
      self._convert()
    self.assertEqual(before, {path: os.stat(path).st_mtime_ns
                              for path in before})

  def test_a_lost_shard_comes_back(self):
    self._convert()
    before = _bytes(self.output)
    os.remove(record_files.shard_path(self.output, "train", 1, 3))
    self._convert()
    self.assertEqual(_bytes(self.output), before)

  @parameterized.parameters(
      ({"shuffle_seed": 5}, "shuffle_seed"), ({"num_shards": 2}, "num_shards"),
      ({"max_pixels": 10**6}, "max_pixels"),
      ({"proposal_settings": proposals.Settings(max_proposals=7)}, "proposals"))
  def test_other_settings_are_refused(self, arguments, message):
    with self._stop_at(3), self.assertRaises(RuntimeError):
      self._convert()
    half = _bytes(self.output)
    with self.assertRaisesRegex(errors.InputError, "unfinished.*" + message):
      self._convert(**arguments)
    self.assertEqual(_bytes(self.output), half)
    self._convert()
    whole = _bytes(self.output)
    with self.assertRaisesRegex(errors.InputError, message):
      self._convert(**arguments)
    self.assertEqual(_bytes(self.output), whole)

  def test_other_libraries_keep_what_is_finished(self):
    # As after an upgrade, or in an environment of another TensorFlow.
    def other_versions():
      return mock.patch.object(cards, "versions", lambda: {
          **versions, "libraries": {**versions["libraries"], "opencv": "9"}})

    versions = cards.versions()
    with self._stop_at(3), self.assertRaises(RuntimeError):
      self._convert()
    half = _bytes(self.output)
    with other_versions(), self.assertRaisesRegex(
        errors.InputError, "unfinished.* other libraries; libraries was"):
      self._convert()
    self.assertEqual(_bytes(self.output), half)
    card = self._convert()
    whole = _bytes(self.output)
    with other_versions():
      self.assertEqual(self._convert(), card)
      with self.assertRaisesRegex(errors.InputError, "shuffle_seed"):
        self._convert(shuffle_seed=5)
    self.assertEqual(_bytes(self.output), whole)

  def test_nothing_done_binds_nobody(self):
    with self._stop_at(1), self.assertRaises(RuntimeError):
      self._convert()
    self.assertFalse(os.path.exists(self.output))
    self._convert(num_shards=2)

  def test_changed_data_are_refused(self):
    self._convert()
    fake_sets.write(os.path.join(self.folder, "Annotations", "000000.xml"),
                    fake_sets.annotation([("dog", 1, 1, 9, 9, 0)]))
    with self.assertRaisesRegex(errors.InputError, "other images, labels"):
      self._convert()

  def test_splits_side_by_side(self):
    self._convert()
    self._convert(split="train-2", num_shards=1)
    self.assertLen(_ids(self.output, "train-2"), 6)
    problems = sources.Problems()
    source = voc.read(self.root, classes=("dog",), problems=problems)
    with self.assertRaisesRegex(errors.InputError, "--classes=.*train.*json"):
      self._convert(source=source, split="test")

  def test_only_one_at_a_time(self):
    with progress_notes.Notes(self.output, "train", {}):
      with self.assertRaisesRegex(errors.InputError, "that is running"):
        self._convert()
      self._convert(split="test")

  @parameterized.parameters(0, 2)
  def test_bad_image_stops(self, num_workers):
    fake_sets.write(self._image("000003"), b"GIF89a")
    with self.assertRaisesRegex(
        errors.InputError, r"trainval.txt:4: .*000003.jpg: expected a whole"):
      self._convert(num_workers=num_workers, shuffle_seed=-1)
    self.assertEmpty(glob.glob(os.path.join(self.output, ".partial*")))
    # Mended, it goes on.
    fake_sets.write(self._image("000003"), fake_sets.encoded(
        fake_sets.pixels(seed=3)))
    self._convert(shuffle_seed=-1)
    self.assertLen(_ids(self.output), 6)

  def test_bad_items_are_skipped_and_listed(self):
    fake_sets.write(self._image("000001"), b"")
    fake_sets.write(self._image("000003"), fake_sets.encoded(
        fake_sets.pixels())[:-50])
    os.remove(self._image("000004"))
    fake_sets.write(os.path.join(self.folder, "Annotations", "000005.xml"), "")
    card = self._convert(on_error="skip", num_shards=2)
    self.assertEqual(sorted(_ids(self.output)), ["000000", "000002"])
    self.assertEqual((card["num_images"], card["skipped"]), (2, 4))
    with open(os.path.join(self.output, card["skipped_list"]),
              encoding="utf-8") as file:
      lines = file.read().splitlines()
    for line, parts in zip(lines, (("000005.xml", "no element"),
                                   ("txt:2", "000001.jpg", "zero bytes"),
                                   ("txt:5", "000004.jpg", "No such file"),
                                   ("txt:4", "000003.jpg", "truncated"))):
      for part in parts:
        self.assertIn(part, line)
    # The same again after a stop in the second shard.
    other = tempfile.mkdtemp()
    with self._stop_at(2), self.assertRaises(RuntimeError):
      self._convert(other, on_error="skip", num_shards=2)
    self._convert(other, on_error="skip", num_shards=2)
    self.assertEqual(_bytes(self.output), _bytes(other))

  @parameterized.parameters(0, 2)
  def test_scaled_and_dark_images_are_counted_and_named(self, num_workers):
    folder = tempfile.mkdtemp()
    grey = deep_images.ramp(4095, 24, 32)
    written = {
        "night.png": fake_sets.encoded(
            np.full([24, 32, 3], 19, np.uint8), "PNG"),
        "a.jpg": fake_sets.encoded(fake_sets.pixels()),
        "b.png": deep_images.png(grey, deep_images.GREY),
        "c.tif": deep_images.tiff((grey // 4).astype(np.uint16)),
        "d.tif": deep_images.tiff((grey / 4095).astype(np.float32), kind=3),
        "e.tif": deep_images.tiff((grey // 4).astype(np.uint16),
                                  tags=[(281, 4095)]),
        **{f"black{i}.png": fake_sets.encoded(
            np.zeros([24, 32, 3], np.uint8), "PNG") for i in range(6)}}
    for name, content in written.items():
      fake_sets.write(os.path.join(folder, name), content)
    table = fake_sets.write(os.path.join(folder, "labels.csv"), "path,labels\n"
                            + "".join(f"{name},cat\n" for name in written))
    problems = sources.Problems()
    output = tempfile.mkdtemp()
    card = conversion.convert(
        csv_labels.read(table, problems=problems), output=output,
        split="train", proposal_settings=SETTINGS, problems=problems,
        num_shards=3, num_workers=num_workers, shuffle_seed=-1, progress=False)
    self.assertEqual(card["dark_images"], {"count": 7, "first": [
        "night.png", "black0.png", "black1.png", "black2.png", "black3.png"]})
    self.assertEqual(card["samples_taken_for"], {
        "0..1": 1, "10 bits": 1, "12 bits": 2})
    self.assertEqual(
        card, files.read_json(os.path.join(output, "train.json")))
    told = cards.summary(card, "x")
    self.assertIn("7 images without a pixel of 20 or more of 255: night.png, "
                  "black0.png, black1.png, black2.png, black3.png, ...", told)
    self.assertIn("scaled to 0..255: 1 image from 0..1, 1 image from 10 bits, "
                  "2 images from 12 bits; images of one origin", told)
    del card["dark_images"], card["samples_taken_for"]
    self.assertNotIn("255", cards.summary(card, "x"))
    # What was recorded is not black.
    brightest = {}
    for serialized in tf.data.TFRecordDataset(
        sorted(glob.glob(os.path.join(output, "*.tfrecord")))):
      features = tf.train.Example.FromString(
          serialized.numpy()).features.feature
      brightest[features["image/id"].bytes_list.value[0].decode()] = int(
          tf.reduce_max(tf.io.decode_image(
              features["image/encoded"].bytes_list.value[0])))
    self.assertEqual({name for name, most in brightest.items() if most > 240},
                     {"a.jpg", "b.png", "c.tif", "d.tif"})
    self.assertAlmostEqual(brightest["e.tif"], 63, delta=3)

  @parameterized.parameters(
      (b"", "^expected at least one image.*none of 6 listed"),
      (b"no image", "^train: expected at least one image.*6 skipped"))
  def test_nothing_left_is_an_error(self, content, words):
    for i in range(6):
      fake_sets.write(self._image(f"{i:06d}"), content)
    with self.assertRaisesRegex(errors.InputError, words):
      self._convert(on_error="skip")
    self.assertFalse(os.path.exists(self.output))

  def test_no_space_left(self):
    with file_limit.none() as limit, self.assertRaisesRegex(
        errors.InputError, r"train-00000-of-00003.tfrecord: expected"):
      limit(1500)
      self._convert()
    self.assertFalse(os.path.exists(self.output))
    self._convert()

  @parameterized.parameters(
      (1, 1500, "train-00002-of-00003.tfrecord: expected", 2),
      (2, 500, "train.json: expected", 0))
  def test_a_full_disk_at_the_end_loses_nothing(
      self, last, size, message, missing):
    self._convert()
    whole, other = _bytes(self.output), tempfile.mkdtemp()
    finish = progress_notes.Notes.finish
    with file_limit.none() as limit:
      def finishing(notes, index, *found):
        finish(notes, index, *found)
        if index == last:
          limit(size)
      with mock.patch.object(progress_notes.Notes, "finish", finishing):
        with self.assertRaisesRegex(errors.InputError, message):
          self._convert(other)
    there = {name: value for name, value in _bytes(other).items()
             if os.path.dirname(name) == ""}
    self.assertLen(there, last + 1)
    self.assertContainsSubset(there.items(), whole.items())
    with mock.patch.object(preparation, "prepare",
                           wraps=preparation.prepare) as prepare:
      self._convert(other)
    self.assertEqual(prepare.call_count, missing)
    self.assertEqual(_bytes(other), whole)

  def test_output_that_cannot_be(self):
    path = fake_sets.write(os.path.join(self.root, "file"), "")
    with self.assertRaisesRegex(errors.InputError, "can be written"):
      self._convert(os.path.join(path, "records"))

  @parameterized.parameters({"split": "a/b"}, {"split": ".a"}, {"split": ""},
                            {"num_shards": 7}, {"num_shards": -1},
                            {"num_workers": -1})
  def test_bad_arguments(self, **arguments):
    with self.assertRaises(errors.InputError):
      self._convert(**arguments)

  def test_a_killed_worker_is_named(self):
    with mock.patch.object(preparation, "prepare_here", fake_sets.die):
      with self.assertRaisesRegex(errors.InputError, "fewer --workers"):
        self._convert(num_workers=1)

  def test_proposals_from_a_file(self):
    path = os.path.join(self.root, "mine.npz")
    proposal_npz.write(path, {
        f"{i:06d}": (np.array([[0, 0, 1, .5], [0, 0, .1, .1]], np.float32),
                     np.array([.2, .9], np.float32)) for i in range(5)})
    settings = proposals.Settings(
        method="file", file=path, min_side_pixels=0)
    with self.assertRaisesRegex(errors.InputError, "txt:6: .*000005"):
      self._convert(proposal_settings=settings)
    card = self._convert(tempfile.mkdtemp(), proposal_settings=settings,
                         on_error="skip", num_workers=1)
    self.assertEqual(card["proposals"]["per_image"],
                     {"mean": 2.0, "min": 2, "max": 2})
    self.assertEqual(card["proposals"]["method"], "file")

  def test_proposals_of_a_datalist(self):
    path = fake_sets.write(
        os.path.join(self.folder, "JPEGImages", "list.txt"),
        "000000.jpg 1 0 0 0 9 9 .5 0 0 31 23 .7\n000001.jpg 0 1\n")
    problems = sources.Problems()
    source = datalist.read(path, classes=("cat", "dog"), problems=problems)
    settings = proposals.Settings(method="datalist", min_side_pixels=0)
    card = self._convert(source=source, proposal_settings=settings,
                         num_shards=1, shuffle_seed=-1)
    self.assertIsNone(card["num_objects"])
    self.assertIsNone(card["proposals"]["recall"])
    first, second = map(records.parse_for_training, tf.data.TFRecordDataset(
        record_files.open_split(self.output, "train").paths))
    self.assertAllClose(first["proposals"],
                        [[0, 0, 1, 1], [0, 0, 10 / 24, 10 / 32]])
    self.assertAllClose(first["objectness"], [.7, .5])
    self.assertAllClose(second["proposals"], [[0, 0, 1, 1]])
    with self.assertRaisesRegex(errors.InputError, "without proposals"):
      self._convert(tempfile.mkdtemp(), proposal_settings=settings)
    # A box outside the image is found when the image is opened.
    fake_sets.write(path, "000000.jpg 1 0 0 0 33 9 .5\n")
    source = datalist.read(path, classes=("cat", "dog"), problems=problems)
    with self.assertRaisesRegex(errors.InputError, "list.txt:1: .*32 x 24"):
      self._convert(tempfile.mkdtemp(), source=source, num_shards=1,
                    proposal_settings=settings)


if __name__ == "__main__":
  tf.test.main()
