"""Tests of Open Images: what is verified, what is unknown, what is missing."""

import os
import pickle
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import label_ids
from kdwsd.data.sources import openimages
from tests.data import fake_sets

_HEADER = "ImageID,Source,LabelName,Confidence\n"
_LABELS = _HEADER + (
    "aa,verification,/m/dog,1\naa,verification,/m/cat,0\n"
    "bb,verification,/m/cat,1\nbb,crowdsource-verification,/m/yak,0\n"
    "cc,verification,/m/dog,1\n")
_NAMES = "LabelName,DisplayName\n/m/cat,Cat\n/m/dog,Dog\n/m/yak,Yak\n/m/x,X\n"


class OpenImagesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.root)
    self.images = os.path.join(self.root, "images")
    for name in ("aa.jpg", "sub/bb.jpg", "cc.jpg"):
      fake_sets.write(os.path.join(self.images, name), "x")
    self.names = self._write("names.csv", _NAMES)

  def _write(self, name, content):
    return fake_sets.write(os.path.join(self.root, name), content)

  def _read(self, content=_LABELS, on_error="stop", **arguments):
    self.problems = sources.Problems(on_error)
    arguments = {"images": self.images, "class_descriptions": self.names,
                 **arguments}
    return openimages.read(self._write("labels.csv", content),
                           problems=self.problems, **arguments)

  def test_labels_are_shown_in_one_line(self):
    names = self._write("odd.csv", "/m/\x1b[2J,Dog\n/m/dog,Dog\n")
    with self.assertRaisesRegex(
        errors.InputError, r"the name of '/m/\\x1b\[2J, /m/dog'; give the"):
      self._read(class_descriptions=names, classes=("Dog",))

  def test_verified_labels_are_known_and_others_are_not(self):
    source = self._read()
    self.assertEqual(source.classes, ("Cat", "Dog", "Yak"))
    self.assertEqual(
        [(item.image_id, item.label_ids, tuple(item.unknown_label_ids))
         for item in source.items],
        [("aa", (1,), (2,)), ("bb", (0,), (1,)), ("cc", (1,), (0, 2))])
    self.assertEqual(source.items[1].image_path,
                     os.path.join(self.images, "sub/bb.jpg"))
    self.assertRegex(source.items[1].where, r"labels\.csv:4$")
    self.assertEmpty(source.notices)

  def test_classes_by_name_or_label_in_an_order_of_ones_own(self):
    source = self._read(classes=("/m/dog", "X", "Cat"))
    self.assertEqual(source.classes, ("/m/dog", "X", "Cat"))
    self.assertEqual([(item.label_ids, tuple(item.unknown_label_ids))
                      for item in source.items],
                     [((0,), (1,)), ((2,), (0, 1)), ((0,), (1, 2))])
    with self.assertRaisesRegex(errors.InputError, "Cat, Dog, Yak"):
      self._read(classes=("horse",))
    source = self._read(classes=("Cat",))
    self.assertRegex(" ".join(source.notices), r"leaves out 1 .*Dog \(2\)")

  def test_without_descriptions(self):
    source = self._read(class_descriptions=None)
    self.assertEqual(source.classes, ("/m/cat", "/m/dog", "/m/yak"))
    self.assertIn("--class_descriptions", " ".join(source.notices))

  def test_a_name_of_several_labels(self):
    self._write("names.csv", _NAMES.replace("Yak", "Dog"))
    source = self._read()
    self.assertEqual(source.classes, ("Cat", "Dog (/m/dog)", "Dog (/m/yak)"))
    self.assertEqual(self._read(classes=source.classes).items[0].label_ids,
                     (1,))
    with self.assertRaisesRegex(errors.InputError, "/m/dog, /m/yak"):
      self._read(classes=("Dog", "Cat"))

  def test_part_of_the_images(self):
    content = _LABELS + "dd,verification,/m/yak,1\ndd,verification,/m/cat,0\n"
    fake_sets.write(os.path.join(self.images, "ee.jpg"), "x")
    fake_sets.write(os.path.join(self.images, "LICENSE"), "x")
    with self.assertRaisesRegex(
        errors.InputError, r"labels\.csv:7: expected the image dd in .* for 2 "
        "lines in all; --on_error=skip"):
      self._read(content)
    problems = sources.Problems("stop", collect=True)  # As --dry_run does.
    openimages.read(self._write("labels.csv", content), problems=problems,
                    images=self.images, class_descriptions=self.names)
    self.assertLen(problems.messages, 1)
    source = self._read(content, on_error="skip")
    self.assertLen(source.items, 3)
    told = " ".join(source.notices)
    self.assertIn("2 lines of labels are ignored", told)
    self.assertIn("1 images in", told)
    self.assertIn("1 files in", told)
    self.assertEmpty(self.problems.messages)  # Millions of lines, otherwise.
    shutil.rmtree(self.images)
    os.mkdir(self.images)
    with self.assertRaisesRegex(errors.InputError, "none of 0 images; 7 lines"):
      self._read(content, on_error="skip")

  def test_confidences_of_machines(self):
    content = _HEADER + ("aa,machine,/m/dog,0.7\naa,machine,/m/cat,0.3\n"
                         "bb,verification,/m/dog,0.0\ncc,machine,/m/yak,1.0\n")
    with self.assertRaisesRegex(
        errors.InputError, r"csv:2: .*0 or 1; --min_confidence.*'0\.7'"):
      self._read(content)
    source = self._read(content, min_confidence=0.7)
    self.assertEqual([(item.label_ids, tuple(item.unknown_label_ids))
                      for item in source.items],
                     [((1,), (0, 2)), ((), (0, 2)), ((2,), (0, 1))])

  def test_lines_that_contradict_each_other(self):
    source = self._read(_LABELS + "aa,verification,/m/dog,0\n"
                        "aa,verification,/m/cat,0\n")
    self.assertEqual(source.items[0].label_ids, ())
    self.assertEqual(tuple(source.items[0].unknown_label_ids), (1, 2))
    self.assertIn("1 labels are unknown", " ".join(source.notices))

  def test_boxes(self):
    boxes = self._write(
        "boxes.csv", "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
        "IsGroupOf\naa,x,/m/dog,1,0.1,0.5,0.2,0.8,0\naa,x,/m/yak,1,0,1,0,1,1\n"
        "aa,x,/m/dog,1,0.5,0.5,0,1,0\nzz,x,/m/dog,1,0,1,0,1,0\n")
    source = self._read(boxes=boxes)
    objects = source.items[0].objects
    np.testing.assert_allclose(
        objects.boxes, [[0.2, 0.1, 0.8, 0.5], [0, 0, 1, 1]], atol=1e-7)
    np.testing.assert_array_equal(objects.class_ids, [1, 2])
    np.testing.assert_array_equal(objects.crowd, [False, True])
    self.assertTrue(objects.fractions)
    self.assertEqual(objects.dropped, 1)
    self.assertRegex(objects.fault, r"boxes\.csv:4: a box without area")
    self.assertEqual(source.items[0].label_ids, (1, 2))  # A box of it is there.
    self.assertEmpty(source.items[1].objects.boxes)
    self.assertIn("1 lines of boxes are ignored", " ".join(source.notices))
    with self.assertRaisesRegex(errors.InputError, "No such file"):
      self._read(boxes=os.path.join(self.root, "gone.csv"))

  @parameterized.parameters(
      ("aa,x,/m/dog,2\n", "csv:7: .*'2'"), ("aa,x,,1\n", "csv:7: "),
      ("aa,x,/m/dog,\n", "csv:7: "), ("aa,x,/m/dog,nan\n", "csv:7: "),
      ("aa,x\n", "csv:7: expected 4 fields"))
  def test_a_wrong_line_costs_an_image_and_not_a_label(self, line, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._read(_LABELS + line)
    source = self._read(_LABELS + line, on_error="skip")
    self.assertLen(self.problems.messages, 1)
    self.assertEqual("aa" in {item.image_id for item in source.items},
                     line == "aa,x\n")

  @parameterized.parameters(
      ("", "an empty file"), ("ImageID,LabelName\n", "header with ImageID"),
      ("path,labels\n", "path,labels"))
  def test_a_wrong_header_is_named(self, content, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._read(content)
    with self.assertRaisesRegex(errors.InputError, "--images"):
      self._read(images=None)

  @parameterized.parameters("/m/cat\n", "/m/cat,\n", "/m/cat,Dog\n", "a,b,c\n")
  def test_wrong_descriptions_are_named(self, line):
    self._write("names.csv", _NAMES + line)
    with self.assertRaisesRegex(errors.InputError, r"names\.csv:6: expected"):
      self._read()


class AllButTest(absltest.TestCase):

  def test_is_the_tuple_of_the_other_ids(self):
    ids = label_ids.AllBut(6, [4, 1, 4])
    self.assertEqual(ids, (0, 2, 3, 5))
    self.assertLen(ids, 4)
    self.assertEqual((ids[1], ids[-1], 4 in ids, 5 in ids),
                     (2, 5, False, True))
    np.testing.assert_array_equal(np.array(ids, np.int64), [0, 2, 3, 5])
    self.assertEqual(pickle.loads(pickle.dumps(ids)), ids)
    self.assertNotEqual(ids, (0, 2, 3))
    self.assertNotEqual(ids, label_ids.AllBut(6, [4, 2]))

  def test_is_small_whatever_the_number_of_classes(self):
    self.assertLess(len(pickle.dumps(label_ids.AllBut(20_000, range(12)))), 200)


if __name__ == "__main__":
  absltest.main()
