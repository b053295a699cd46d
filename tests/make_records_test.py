"""Tests of the converter's command line."""

import contextlib
import io
import os
import pickle
import re
import shlex
import subprocess
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
from kdwsd.data import record_files
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

  def _ids(self, split):
    opened = record_files.open_split(self.output, split)
    return [image.image_id
            for image in records.read_labelled_images(opened.paths)]

  def _run(self, status=0, **arguments):
    arguments = {"output": self.output, "workers": 0, **arguments}
    printed = io.StringIO()
    with flagsaver.flagsaver(**arguments), contextlib.redirect_stdout(printed):
      self.assertEqual(make_records.main(["make_records"]), status)
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

  def test_a_validation_split_is_cut_and_resumes_as_one_conversion(self):
    for index in range(10):
      fake_sets.write(os.path.join(self.folder, f"{index}.jpg"),
                      fake_sets.encoded(fake_sets.pixels(seed=index)))
    path = self._write("train.csv", "path,labels\n" + "".join(
        f"{index}.jpg,{'cat' if index % 2 else 'dog'}\n" for index in range(10)
    ) + "gone.jpg,cat\n")
    arguments = dict(format="csv", input=path, on_error="skip",
                     validation_share=0.2)
    printed = self._run(**arguments)
    self.assertIn("validation: 2 of 11 images; no groups by name.", printed)
    self.assertIn("--split=validation", printed)
    train, validation = map(self._ids, ("train", "validation"))
    self.assertLen(validation, 2)
    self.assertCountEqual(train + validation,
                          [f"{index}.jpg" for index in range(10)])
    cards = [record_files.open_split(self.output, split).card
             for split in ("train", "validation")]
    self.assertEqual(cards[0]["classes"], cards[1]["classes"])
    self.assertEqual(cards[1]["images_per_class"], {"dog": 1, "cat": 1})
    self.assertEqual([card["skipped"] for card in cards], [1, 0])
    before = os.stat(os.path.join(self.output, "validation.json")).st_mtime_ns
    self._run(**arguments)
    self.assertEqual(before, os.stat(
        os.path.join(self.output, "validation.json")).st_mtime_ns)
    # Another share is another conversion.
    with self.assertRaisesRegex(errors.InputError, "a conversion with other "):
      self._run(**{**arguments, "validation_share": 0.4})
    self.assertIn("4 of 11 images", self._run(
        **{**arguments, "validation_share": 0.4, "dry_run": True}, status=1))
    # It is told before the training split is converted.
    there = sorted(os.listdir(self.output))
    for validation_split in ("validation", "a/b", ""):
      with self.assertRaisesRegex(errors.InputError, "validation"):
        self._run(**{**arguments, "validation_share": 0.4, "split": "other",
                     "validation_split": validation_split})
    self.assertEqual(sorted(os.listdir(self.output)), there)

  @parameterized.parameters(
      (dict(validation_share=0.2, validation_list="x"), "one of the two"),
      (dict(validation_groups="x"), "Received: neither with --valid"),
      (dict(validation_share=0.2, validation_split="train"),
       "another name than --split. Received: train"),
      (dict(validation_share=1.5), "above 0, below 1"),
      (dict(validation_share=0.01), "Received: 2 images, too few for"),
      (dict(validation_list=""), "--validation_list: expected a file"),
      (dict(validation_split="val"), "neither with --validation_split=val"),
      (dict(validation_list="no.txt"), "no.txt: expected one image a line"))
  def test_contradictions_about_the_validation_split(self, arguments, words):
    path = self._write("train.csv", "path,labels\na.jpg,cat\nb.jpg,dog\n")
    with self.assertRaisesRegex(errors.InputError, words):
      self._run(format="csv", input=path, **arguments)

  def test_the_command_that_shows_the_records_can_be_pasted_into_a_shell(self):
    path = self._write("train.csv", "path,labels\na.jpg,cat\nb.jpg,dog\n")
    output = os.path.join(self.root, "a b*$x")
    printed = self._run(format="csv", input=path, output=output)
    command = printed[printed.index("Look at it: ") + len("Look at it: "):]
    self.assertEqual(shlex.split(command)[2:], [
        "kdwsd.show_records", f"--data={output}", "--split=train"])

  def test_the_advice_for_a_tree_that_lacks_a_class_works(self):
    train, test = (os.path.join(self.root, name) for name in ("one", "other"))
    fake_sets.write_voc(train)
    folder = fake_sets.write_voc(test, num_images=1, image_set="test")
    self._run(format="voc", input=train, image_set="trainval")
    arguments = {"format": "voc", "input": test, "split": "test"}
    with self.assertRaisesRegex(errors.InputError, "--classes=") as caught:
      self._run(**arguments)
    advice = re.search(r"--classes=(\S+?),", str(caught.exception)).group(1)
    self._run(**arguments, classes=[advice])
    card = record_files.open_split(self.output, "test").card
    self.assertEqual(card["images_per_class"], {"cat": 1, "dog": 0})
    # And what the list leaves out is told.
    fake_sets.write(os.path.join(folder, "Annotations", "000000.xml"),
                    fake_sets.annotation([("yak", 1, 1, 9, 9, 0),
                                          ("dog", 1, 1, 9, 9, 0)]))
    printed = self._run(**{**arguments, "split": "more"}, image_set="test",
                        classes=[advice])
    self.assertIn("leaves out 1 of the data's names: yak (1).", printed)
    card = record_files.open_split(self.output, "more").card
    self.assertEqual(card["images_per_class"], {"cat": 0, "dog": 1})

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
    for part in ("classes    dog (1)", "no image   1 of 2 classes: cat"):
      self.assertIn(part, printed)

  def test_csv_flags_reach_the_reader(self):
    path = self._write("odd.csv", "p^image^l^x\na.jpg^b.jpg^cat:dog^7\n")
    printed = self._run(
        format="csv", input=path, csv_separator="^", path_column="p",
        label_column=["l"], label_separator=":", ignore_columns=["x"])
    for part in ("odd.csv: separator '^'", "column 'l', separated by ':'",
                 "ignored columns: image, x", "cat (1), dog (1)"):
      self.assertIn(part, printed)
    self.assertEqual(self._ids("train"), ["a.jpg"])
    path = self._write("odd.csv", "path,cat,dog\na.jpg,1,-1\nb.jpg,,1\n")
    printed = self._run(
        format="csv", input=path, minus_one="absent", blank="unknown",
        split="test")
    self.assertIn("unknown    1 labels", printed)

  def test_long_csv_with_a_fault_leaves_the_image_out_whole(self):
    path = self._write("train.csv", "path,label\na.jpg,cat\nb.jpg,cat\n"
                       "b.jpg,dog\na.jpg,dog,yak\n")
    printed = self._run(format="csv", input=path, on_error="skip")
    self.assertEqual(self._ids("train"), ["b.jpg"])
    self.assertIn("cat (1), dog (1)", printed)

  def test_dry_run_tells_all_and_writes_nothing(self):
    path = self._write(
        "train.csv", "path,labels\na.jpg,cat;dog\nb.jpg,dog\nx.jpg,dog\n"
        "y.jpg,\nz.jpg,cat,dog\n")
    for on_error in ("stop", "skip"):
      printed = self._run(
          format="csv", input=path, output=None, dry_run=True, status=1,
          classes=["cat", "yak"], on_error=on_error)
      for part in (
          "train.csv: separator ','", "leaves out 1 of the data's names: dog",
          "images     2, ", "labels     1 of 2", "classes    cat (1)",
          "no image   1 of 2 classes: yak", "objects    no boxes",
          "faults     3\n",
          "csv:6: expected 2 fields", "x.jpg: expected an image file. "
          f"Received: No such file or directory; relative paths start from "
          f"{self.folder} (--images)"):
        self.assertIn(part, printed)
    self._run(format="csv", input=path, dry_run=True, status=1)
    self.assertFalse(os.path.exists(self.output))
    path = self._write("tfod.csv", "image,class,xmin,ymin,xmax,ymax\n"
                       "a.jpg,cat,1,1,9,9\na.jpg,dog,2,2,8,2\n")
    printed = self._run(format="csv", input=path, dry_run=True)
    for part in ("images     1", "objects    1; 1 boxes dropped, first: ",
                 "faults     0"):
      self.assertIn(part, printed)

  def test_dry_run_of_nothing_that_is_right(self):
    path = self._write("train.csv", "path,labels\nx.jpg,cat\ny.jpg,cat\n")
    printed = self._run(format="csv", input=path, dry_run=True, status=1)
    for part in ("images     0", "faults     2\n", "x.jpg: expected an image"):
      self.assertIn(part, printed)

  def test_dry_run_needs_no_tensorflow(self):
    path = self._write("train.csv", "path,labels\na.jpg,cat\n")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kdwsd.make_records",
         "--format=csv", f"--input={path}", "--dry_run"],
        capture_output=True, text=True, check=False, timeout=600)
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn("faults     0", done.stdout)
    self.assertNotIn("tensorflow", done.stderr)

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

  def test_yolo_and_open_images(self):
    self._write("a.txt", "1 .5 .5 .2 .2\n")
    path = self._write("data.yaml", "val: .\nnames: [dog, cat]\n")
    printed = self._run(format="yolo", input=path, split="val")
    self.assertIn("cat (1)", printed)
    self.assertIn("1 images without objects", printed)
    names = self._write("names.csv", "/m/1,Cat\n")
    path = self._write(
        "labels.csv", "ImageID,LabelName,Confidence\na,/m/1,1\nc,/m/1,1\n")
    arguments = {
        "format": "openimages", "input": path, "images": self.folder,
        "class_descriptions": names, "output": self.output + "2"}
    with self.assertRaisesRegex(errors.InputError, "csv:3: .*--on_error=skip"):
      self._run(**arguments)
    printed = self._run(on_error="skip", **arguments)
    self.assertIn("1 lines of labels are ignored", printed)
    self.assertIn("Cat (1)", printed)

  def test_tensorflow_datasets_that_are_not_there(self):
    with self.assertRaisesRegex(errors.InputError, "tfds build voc/2007"):
      self._run(format="tfds", input="voc/2007", data_dir=self.root)

  def test_proposals_of_a_file(self):
    path = self._write("train.csv", "path,cat\na.jpg,1\n")
    mine = os.path.join(self.root, "mine.npz")
    proposal_npz.write(mine, {
        "a.jpg": (np.array([[0, 0, .1, .1]], np.float32), np.ones([1]))})
    arguments = {"format": "csv", "input": path, "proposals": "file"}
    with self.assertRaisesRegex(errors.InputError, "--proposals_file"):
      self._run(**arguments)
    self._run(proposals_file=mine, **arguments)
    card = record_files.open_split(self.output, "train").card
    self.assertEqual(card["proposals"]["method"], "file")

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
    split = record_files.open_split(self.output, "train")
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
      ({"label_column": ["x"], "input": "x"}, "--label_column: .*--format=csv"),
      ({"minus_one": "absent", "input": "x"}, "--minus_one: .*--format=csv"),
      ({"proposals_order": "xyxy", "input": "x"}, "--proposals=file. Received"),
      ({"beam_options": ["x=1"], "input": "x"}, "expected --runner=beam"),
      ({"runner": "beam", "input": "x"}, "--workers: expected --runner=local"),
      ({"format": "datalist", "datalist_frame": "original", "input": "x"},
       "--classes"))
  def test_missing_flags(self, arguments, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._run(**arguments)


if __name__ == "__main__":
  absltest.main()
