"""Tests of the converter's command line."""

import contextlib
import io
import os
import pickle
import sys
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import make_records
from kdwsd.data import proposal_npz
from kdwsd.data import records
from tests.data import fake_sets


class MakeRecordsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(sys.argv[:1])
    self.root = tempfile.mkdtemp()
    self.output = os.path.join(self.root, "records")
    self.folder = os.path.join(self.root, "mine")
    for name in "ab":
      fake_sets.write(os.path.join(self.folder, name + ".jpg"),
                      fake_sets.encoded(fake_sets.pixels()))

  def _run(self, **arguments):
    arguments = {"output": self.output, "workers": 0, **arguments}
    printed = io.StringIO()
    with flagsaver.flagsaver(**arguments), contextlib.redirect_stdout(printed):
      make_records.main(["make_records"])
    return printed.getvalue()

  def _write(self, name, content):
    return fake_sets.write(os.path.join(self.folder, name), content)

  def test_voc(self):
    root = os.path.join(self.root, "VOCdevkit")
    fake_sets.write_voc(root)
    printed = self._run(format="voc", input=root, image_set="trainval")
    for part in ("6 in 1 shards", "2 classes", "objects    9", "at IoU 0.5",
                 "skipped    0", os.path.join(self.output, "train.json"),
                 f"show_records --data={self.output} --split=train"):
      self.assertIn(part, printed)
    # The split names the image set where nothing else does.
    with self.assertRaisesRegex(errors.InputError, "--image_set=test"):
      self._run(format="voc", input=root, split="test")

  def test_csv_and_a_class_list_from_the_other_split(self):
    path = self._write("train.csv", "path,labels\na.jpg,cat;dog\nb.jpg,\n")
    self.assertIn("no boxes", self._run(format="csv", input=path))
    path = self._write("test.csv", "path,labels\na.jpg,dog\nx.jpg,\n")
    with self.assertRaisesRegex(errors.InputError, "csv:3: .*No such file"):
      self._run(format="csv", input=path, split="test")
    with self.assertRaisesRegex(errors.InputError, "give them as --classes="):
      self._run(format="csv", input=path, split="test", on_error="skip")
    printed = self._run(
        format="csv", input=path, split="test", on_error="skip",
        classes=[os.path.join(self.output, "train.json")])
    self.assertIn("1, listed in test.skipped.txt", printed)

  def test_datalist_brings_its_proposals(self):
    path = self._write("list.txt", "a.jpg 1 0 0 0 335 671 1\nb.jpg 0 0\n")
    arguments = {"format": "datalist", "input": path,
                 "classes": ["cat", "dog"]}
    with self.assertRaisesRegex(errors.InputError, "--datalist_frame"):
      self._run(**arguments)
    printed = self._run(datalist_frame="warped672", **arguments)
    self.assertIn("datalist, an image 1.0", printed)
    # Or its labels alone.
    self._run(split="other", proposals="edge_boxes", **arguments)

  def test_nuswide_and_coco(self):
    root = os.path.join(self.root, "nus")
    for name, content in (
        ("ImageList/TestImagelist.txt", "a.jpg\nb.jpg\n"),
        ("ConceptsList/Concepts81.txt", "sky\n"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Test.txt", "1\n0\n")):
      fake_sets.write(os.path.join(root, name), content)
    printed = self._run(format="nuswide", input=root, images=self.folder,
                        image_set="test")
    self.assertIn("labels     1 of 1 classes", printed)
    path = self._write("instances_x.json", """{"images":
        [{"id": 1, "file_name": "a.jpg"}], "categories":
        [{"id": 3, "name": "cat"}], "annotations": [{"id": 1, "image_id": 1,
        "category_id": 3, "bbox": [1, 1, 9, 9]}]}""")
    printed = self._run(format="coco", annotations=path, images=self.folder,
                        output=self.output + "2")
    self.assertIn("objects    1", printed)

  def test_proposals_of_a_file(self):
    path = self._write("train.csv", "path,cat\na.jpg,1\n")
    mine = os.path.join(self.root, "mine.npz")
    proposal_npz.write(mine, {
        "a.jpg": (np.array([[0, 0, .1, .1]], np.float32), np.ones([1]))})
    arguments = {"format": "csv", "input": path, "proposals": "file"}
    with self.assertRaisesRegex(errors.InputError, "--proposals_file"):
      self._run(**arguments)
    self._run(proposals_file=mine, **arguments)
    self.assertEqual(
        records.open_split(self.output, "train").card["proposals"]["method"],
        "file")

  def test_proposals_of_a_pickle_with_their_order(self):
    path = self._write("train.csv", "path,cat\na.jpg,1\nb.jpg,0\n")
    pixels = fake_sets.pixels()
    height, width = pixels.shape[:2]
    mine = self._write("mine.pkl", pickle.dumps(
        [np.array([[0, 0, width // 2 - 1, height - 1]])] * 2))
    arguments = {"format": "csv", "input": path, "proposals": "file",
                 "proposals_file": mine}
    with self.assertRaisesRegex(errors.InputError, "--proposals_order="):
      self._run(**arguments)
    printed = self._run(proposals_order="xyxy", **arguments)
    self.assertIn("as xmin, ymin, xmax, ymax", printed)
    self.assertIn("by their order, a.jpg to b.jpg", printed)
    split = records.open_split(self.output, "train")
    self.assertEqual(
        split.card["proposals"]["settings"]["order"], "xyxy")
    for serialized in tf.data.TFRecordDataset(split.paths):
      np.testing.assert_allclose(
          records.parse_for_training(serialized)["proposals"],
          [[0, 0, 1, 0.5]], atol=1e-6)

  @parameterized.parameters(
      ({"output": None}, "--output"), ({}, "--input: expected the voc"),
      ({"format": "csv", "proposals": "datalist", "input": "x"},
       "--format=datalist. Received: --format=csv"),
      ({"format": "coco"}, "--input"),
      ({"proposals_file": "x.npz", "input": "x"}, "both or none"),
      ({"proposals_order": "xyxy", "input": "x"}, "--proposals=file. Received"),
      ({"format": "datalist", "datalist_frame": "original", "input": "x"},
       "--classes"))
  def test_missing_flags(self, arguments, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._run(**arguments)


if __name__ == "__main__":
  absltest.main()
