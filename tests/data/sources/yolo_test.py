"""Tests of YOLO: every layout, labels and boxes worked out by hand."""

import os
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import annotated_boxes
from kdwsd.data import images
from kdwsd.data import sources
from kdwsd.data.sources import yolo
from tests.data import fake_sets

# One line a box: class, centre, size. Edges: y 0.25 to 0.75, x 0.4 to 0.6; and
# y 0.1 to 0.3, x 0.7 to 1.
_LABELS = "1 0.5 0.5 0.2 0.5\n0 0.85 0.2 0.3 0.2\n"
_BOXES = [[0.25, 0.4, 0.75, 0.6], [0.1, 0.7, 0.3, 1]]
_NAMES = "names: [boat, person]\n"


class YoloTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.root)

  def _write(self, **files):
    for name, content in files.items():
      fake_sets.write(os.path.join(self.root, name), content)

  def _read(self, path="", on_error="stop", **arguments):
    self.problems = sources.Problems(on_error)
    return yolo.read(os.path.join(self.root, path), problems=self.problems,
                     **arguments)

  def _check(self, source, prefix):
    self.assertEqual(source.classes, ("boat", "person"))
    self.assertEqual([item.image_id for item in source.items],
                     [prefix + "a.jpg", prefix + "b.png"])
    first, second = source.items
    self.assertEqual(first.label_ids, (0, 1))
    np.testing.assert_allclose(first.objects.boxes, _BOXES, atol=1e-6)
    np.testing.assert_array_equal(first.objects.class_ids, [1, 0])
    self.assertEqual((second.label_ids, second.unknown_label_ids), ((), ()))
    self.assertEmpty(second.objects.boxes)

  def test_labels_of_missing_images_are_told(self):
    self._write(**{
        "data.yaml": "train: train/images\nval: val\n" + _NAMES,
        "train/images/a.jpg": "x", "train/images/deep/b.png": "x",
        "train/labels/a.txt": _LABELS, "train/labels/deep/b.txt": "",
        "train/labels/gone.txt": _LABELS, "train/labels/deep/a.txt": "0 .1 .1 "
        ".1 .1", "train/labels/classes.txt": "boat\nperson\n",
        "val/a.jpg": "x", "val/a.txt": _LABELS, "val/z.txt": _LABELS,
        "val/README.txt": "5 images of 4 boats and more"})
    source = self._read(image_set="train")
    self._check_told(source, "2 label files .*deep/a.txt")
    self._check_told(self._read(image_set="val"), "1 label files .*val/z.txt")
    # A folder of labels is shared by the splits that lists name.
    self._write(**{"train.txt": "train/images/a.jpg\n",
                   "data.yaml": "train: train.txt\n" + _NAMES})
    self.assertNotIn("ignored", " ".join(self._read().notices))

  def _check_told(self, source, message):
    self.assertRegex(" ".join(source.notices), message)

  @parameterized.parameters(
      ("images/train/", "labels/train/", "path: .\ntrain: images/train\n"),
      ("images/train/", "labels/train/", "path: ../x\ntrain: images/train\n"),
      ("images/train/", "labels/train/", "path: /no/x\ntrain: images/train\n"),
      ("train/images/", "train/labels/", "train: ../train/images\nnc: 2\n"),
      ("train/images/", "train/labels/", "train: train\\images\n"),
      ("train/images/", "train/labels/", "train: [train/images]\n"),
      ("images/", "labels/", "train: images\n"),
      ("train/", "train/", "train: train\n"),
      ("train/images/deep/", "train/labels/deep/", "train: train/images\n"))
  def test_layouts_of_data_yaml(self, images_folder, labels_folder, content):
    self._write(**{
        "data.yaml": content + _NAMES, images_folder + "a.jpg": "x",
        images_folder + "b.png": "x", labels_folder + "a.txt": _LABELS,
        images_folder + "Thumbs.db": "x", labels_folder + "train.cache": "x"})
    for path in ("", "data.yaml"):
      source = self._read(path)
      self._check(source, images_folder)
      told = " ".join(source.notices)
      self.assertIn("1 images without objects: 0 label files are empty, 1 image"
                    "s have none", told)
      self.assertIn("1 .db", told)

  @parameterized.parameters(
      ("classes.txt", "boat\nperson\n", "images/train/", "labels/train/"),
      ("classes.txt", "1 person\n0 boat\n", "train/images/", "train/labels/"),
      ("labels/classes.txt", "boat\nperson", "images/train/", "labels/train/"),
      ("obj.names", "boat\nperson\n", "obj_train_data/", "obj_train_data/"))
  def test_layouts_without_data_yaml(self, name, names, images_, labels):
    self._write(**{name: names, images_ + "a.jpg": "x", images_ + "b.png": "x",
                   labels + "a.txt": _LABELS, labels + "b.txt": "\n"})
    source = self._read()
    self._check(source, images_)
    self.assertIn("1 label files are empty, 0 images have none",
                  " ".join(source.notices))

  def test_lists_of_images(self):
    self._write(**{
        "data.yaml": (
            _NAMES + "train: [train.txt, more]\nvalid: lists/val.txt\n"),
        "train.txt": "./images/a.jpg\n\nimages\\sub\\b.png\n",
        "lists/val.txt": "data/images/a.jpg\n", "images/a.jpg": "x",
        "lists/images/a.jpg": "x", "lists/labels/a.txt": "",
        "images/sub/b.png": "x", "labels/a.txt": "1 .5 .5 .2 .5\n",
        "more/c.jpeg": "x", "more/c.txt": "0 .5 .5 1 1\n"})
    source = self._read()
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("images/a.jpg", (1,)), ("images/sub/b.png", ()),
                      ("more/c.jpeg", (0,))])
    # Valid, val and validation are one; Darknet's lists start one folder up.
    source = self._read(image_set="val")
    self.assertEqual([item.image_id for item in source.items],
                     ["lists/images/a.jpg"])

  def test_images_outside_of_the_root(self):
    self._write(**{"conf/data.yaml": f"train: {self.root}/far\n" + _NAMES,
                   "far/images/1/a.jpg": "x", "far/images/2/a.jpg": "x",
                   "far/labels/1/a.txt": _LABELS})
    self.assertEqual([item.image_id for item in self._read("conf").items],
                     ["1/a.jpg", "2/a.jpg"])

  def test_an_image_that_is_listed_twice(self):
    self._write(**{"data.yaml": "train: train.txt\n" + _NAMES,
                   "train.txt": "images/a.jpg\n./images/a.jpg\n",
                   "images/a.jpg": "x", "labels/a.txt": _LABELS})
    with self.assertRaisesRegex(
        errors.InputError, r"train\.txt:2: expected every image once.*txt:1"):
      self._read()

  def test_another_root(self):
    self._write(**{"conf/data.yaml": "path: /content\ntrain: images\n" + _NAMES,
                   "here/images/a.jpg": "x", "here/labels/a.txt": _LABELS})
    with self.assertRaisesRegex(errors.InputError, "--images"):
      self._read("conf/data.yaml")
    source = self._read("conf/data.yaml",
                        images=os.path.join(self.root, "here"))
    self.assertEqual(source.items[0].image_id, "images/a.jpg")
    self.assertEqual(source.items[0].label_ids, (0, 1))

  def test_polygons_turned_boxes_and_keypoints(self):
    self._write(**{
        "data.yaml": "train: images\n" + _NAMES, "images/a.jpg": "x",
        "labels/a.txt": "1 0.4 0.25 0.6 0.5 0.45 0.75\n"
                        "0 0.7 0.2 0.85 0.1 1 0.2 0.85 0.3\n"})
    source = self._read()
    np.testing.assert_allclose(source.items[0].objects.boxes, _BOXES, atol=1e-6)
    self._write(**{
        "data.yaml": "train: images\nkpt_shape: [1, 3]\n" + _NAMES,
        "labels/a.txt": "1 .5 .5 .2 .5 .1 .1 2\n0 .85 .2 .3 .2 0 0 0\n"})
    np.testing.assert_allclose(self._read().items[0].objects.boxes, _BOXES,
                               atol=1e-6)

  def test_fractions_become_pixels_of_the_upright_image(self):
    content = fake_sets.encoded(fake_sets.pixels(height=20, width=50))
    self._write(**{"data.yaml": "train: images\n" + _NAMES,
                   "images/a.jpg": content,
                   "labels/a.txt": _LABELS + "0 0.9 0.5 0.4 0.2\n"
                                   "1 5 5 1 1\n1 .5 .5 0 .5\n"})
    item = self._read().items[0]
    placed = annotated_boxes.place(item, images.read(item.image_path))
    # The third sticks out; the fourth lies outside, the fifth has no area.
    np.testing.assert_allclose(
        placed.boxes, _BOXES + [[0.4, 0.7, 0.6, 1]], atol=1e-6)
    self.assertEqual((placed.clipped, placed.dropped), (1, 2))
    self.assertEqual(item.label_ids, (0, 1))

  @parameterized.parameters(
      ("2 .5 .5 .1 .1", "class from 0 to 1, of .*data.yaml. Received: '2'"),
      ("-1 .5 .5 .1 .1", "Received: '-1'"), ("0.5 .5 .5 .1 .1", "'0.5'"),
      ("0 .5 .5 .1", "a class and 4 numbers"), ("0", "a class and 4"),
      ("0 .5 .5 .1 .1 .9", "a class and 4"), ("0 a .5 .1 .1", "a class and 4"),
      ("0 nan .5 .1 .1", "a class and 4"), ("boat .5 .5 .1 .1", "a class and"),
      ("0,.5,.5,.1,.1", "a class and 4"))
  def test_a_wrong_line_is_named_and_costs_one_image(self, line, message):
    self._write(**{
        "data.yaml": "train: images\n" + _NAMES, "images/a.jpg": "x",
        "images/b.jpg": "x", "labels/a.txt": "0 .5 .5 .1 .1\n" + line + "\n",
        "labels/b.txt": "1 .5 .5 .1 .1\n"})
    with self.assertRaisesRegex(errors.InputError, rf"a\.txt:2: .*{message}"):
      self._read()
    source = self._read(on_error="skip")
    self.assertEqual([item.image_id for item in source.items],
                     ["images/b.jpg"])
    self.assertLen(self.problems.messages, 1)

  def test_classes_that_a_list_leaves_out_are_told(self):
    self._write(**{"data.yaml": "train: images\n" + _NAMES,
                   "images/a.jpg": "x", "labels/a.txt": _LABELS})
    source = self._read(classes=("yak", "boat"))
    self.assertEqual(source.items[0].label_ids, (1,))
    self.assertLen(source.items[0].objects.boxes, 1)
    self.assertIn("person (1)", " ".join(source.notices))

  @parameterized.parameters(
      ({}, "data.yaml, classes.txt or obj.names"),
      ({"data.yaml": "train: images\n"}, "expected `names`"),
      ({"data.yaml": "val: images\n" + _NAMES}, "there are: val"),
      ({"data.yaml": "train: [[a]]\n" + _NAMES}, "image_set=train"),
      ({"data.yaml": "train: images\n" + _NAMES}, "nothing at"),
      ({"a.yaml": _NAMES, "b.yaml": _NAMES}, "a.yaml, b.yaml"),
      ({"classes.txt": "boat"}, "image_set=train in images/train"),
      ({"data.yaml": "train: .\nkpt_shape: 3\n" + _NAMES}, "kpt_shape"),
      ({"data.yaml": "train: images\n" + _NAMES, "images/a.jpg": "x",
        "images/b.jpg": "x"}, "none for any of 2 images"))
  def test_a_wrong_layout_is_named(self, files, message):
    self._write(**files)
    with self.assertRaisesRegex(errors.InputError, message):
      self._read()
    with self.assertRaisesRegex(errors.InputError, "no such"):
      self._read("gone")


if __name__ == "__main__":
  absltest.main()
