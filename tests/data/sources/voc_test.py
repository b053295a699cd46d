"""Tests of the VOC source."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import voc
from tests.data import fake_sets


def _read(root, **arguments):
  return voc.read(root, problems=sources.Problems(), **arguments)


class VocTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.folder = fake_sets.write_voc(self.root)

  def _path(self, *parts):
    return os.path.join(self.folder, *parts)

  def _write_objects(self, objects, name="000000"):
    fake_sets.write(self._path("Annotations", name + ".xml"),
                    fake_sets.annotation(objects))

  def test_labels_boxes_and_classes(self):
    source = _read(self.root, year="2007")
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual([item.image_id for item in source.items],
                     [f"{i:06d}" for i in range(6)])
    self.assertEqual(source.items[0].label_ids, (0,))
    # Inclusive (1, 1, 16, 12), counted from 1, are the edges 0 to 16 and 12.
    np.testing.assert_array_equal(
        source.items[0].objects.boxes, [[0, 0, 12, 16]])
    self.assertEqual(source.items[0].objects.frame, (24, 32))
    self.assertTrue(os.path.isfile(source.items[0].image_path))
    self.assertRegex(source.items[3].where, r"trainval.txt:4$")

  def test_only_difficult_objects_leave_the_label_unknown(self):
    items = _read(self.root).items
    self.assertEqual(items[1].label_ids, (0,))
    self.assertEqual(items[1].unknown_label_ids, (1,))
    np.testing.assert_array_equal(items[1].objects.difficult, [False, True])
    self.assertEqual(items[3].label_ids, (0, 1))
    self._write_objects([("dog", 1, 1, 9, 9, 1), ("dog", 1, 1, 5, 5, 0)])
    item = _read(self.root).items[0]
    self.assertEqual((item.label_ids, item.unknown_label_ids), ((1,), ()))

  def test_lists_name_the_classes_of_every_image_set(self):
    for image_set in ("trainval", "test"):
      for name in ("dog", "cat", "dining_table"):
        fake_sets.write(self._path("ImageSets", "Main",
                                   f"{name}_{image_set}.txt"), "000000 -1\n")
    fake_sets.write(self._path("ImageSets", "Main", "test.txt"), "000000\n")
    for image_set in ("trainval", "test"):
      self.assertEqual(_read(self.root, image_set=image_set).classes,
                       ("cat", "dining_table", "dog"))
    self._write_objects([("yak", 1, 1, 9, 9, 0)])
    with self.assertRaisesRegex(errors.InputError, "000000.xml.*Received: yak"):
      _read(self.root)

  def test_chosen_classes_in_their_order(self):
    source = _read(self.root, classes=("dog",))
    self.assertEqual(source.items[0].label_ids, ())
    self.assertLen(source.items[0].objects.boxes, 0)
    self.assertEqual(source.items[3].label_ids, (0,))
    source = _read(self.root, classes=("dog", "cat"))
    self.assertEqual(source.items[0].label_ids, (1,))
    # Taken as it is: another split may have what this one lacks.
    source = _read(self.root, classes=("dog", "yak"))
    self.assertEqual(source.classes, ("dog", "yak"))
    with self.assertRaisesRegex(errors.InputError, "--classes.*yak"):
      _read(self.root, classes=("yak",))

  def test_finds_the_year(self):
    self.assertLen(_read(self.folder).items, 6)
    fake_sets.write_voc(self.root, 2, year="2012")
    with self.assertRaisesRegex(errors.InputError, "VOC2007, VOC2012"):
      _read(self.root)
    self.assertLen(_read(self.root, year="2012").items, 2)
    with self.assertRaisesRegex(errors.InputError, "VOC1999"):
      _read(self.root, year="1999")

  def test_missing_things_are_named(self):
    with self.assertRaisesRegex(errors.InputError, "there are: trainval"):
      _read(self.root, image_set="val")
    with self.assertRaisesRegex(errors.InputError, "/nowhere.*no such"):
      _read("/nowhere")
    os.remove(self._path("Annotations", "000002.xml"))
    with self.assertRaisesRegex(errors.InputError,
                                r"trainval.txt:3: .*000002.xml"):
      _read(self.root)

  @parameterized.parameters(
      ("<annotation><object></annotation>", "mismatched tag: line 1"),
      ("", "no element found"),
      ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
       "EntitiesForbidden"),
      ("<annotation><object/></annotation>", "a name of object 1"),
      ("<annotation><object><name>cat</name></object></annotation>",
       r"object 1 \(cat\): expected a number in <bndbox/xmin>"),
      (fake_sets.annotation([("cat", "nan", 1, 2, 2, 0)]), "Received: 'nan'"),
      (fake_sets.annotation([("cat", 5, 1, 2, 2, 0)]), "xmin <= xmax"),
      (fake_sets.annotation([("cat", 1, 1, 2, 2, 2)]), "0 or 1. Received: 2"),
      (fake_sets.annotation([("cat", 1, 1, "1e39", 2, 0)]), "bndbox/xmax"),
      (fake_sets.annotation([("cat", 1, 1, 2, 2, 0)], height=.5), "whole pix"),
      (fake_sets.annotation([("c" * 2000, 1, 1, 2, 2, 0)]), "name of object 1"),
      ('<?xml version="1.0" encoding="no-such"?><annotation/>', "no-such"),
      ("<html><p>404</p></html>", "Received: 0 of 0 objects in <html>"),
      ("<annotation><objects><object/></objects></annotation>",
       "Received: 0 of 1 objects in <annotation>"),
      ("<annotation>" + "<a>" * 20_000, "no element found"),
  )
  def test_bad_annotation(self, content, message):
    fake_sets.write(self._path("Annotations", "000003.xml"), content)
    with self.assertRaisesRegex(errors.InputError, "000003.xml.*" + message):
      _read(self.root)
    problems = sources.Problems("skip")
    self.assertLen(voc.read(self.root, problems=problems).items, 5)
    self.assertLen(problems.messages, 1)

  def test_image_twice(self):
    fake_sets.write(self._path("ImageSets", "Main", "trainval.txt"),
                    "000000\n\n000001\n000000\n")
    with self.assertRaisesRegex(errors.InputError, "txt:4.*also in line 1"):
      _read(self.root)

  @parameterized.parameters("000001 000002", "000001 2", "000001 1 1")
  def test_nothing_behind_an_image_id_is_passed_over(self, line):
    path = self._path("ImageSets", "Main", "trainval.txt")
    fake_sets.write(path, f"000000 -1\n{line}\n000003\t1\n")
    with self.assertRaisesRegex(errors.InputError, "txt:2: .*-1, 0 or 1"):
      _read(self.root)
    problems = sources.Problems("skip")
    self.assertEqual(
        [item.image_id for item in voc.read(
            self.root, problems=problems).items], ["000000", "000003"])

  @parameterized.parameters("\f", "\x1c", "\u2028", "\x85")
  def test_only_the_ends_of_lines_end_lines(self, blank):
    path = self._path("ImageSets", "Main", "trainval.txt")
    fake_sets.write(path, f"000000{blank}000001\r\nnone\n")
    problems = sources.Problems("skip")
    self.assertEmpty(voc.read(self.root, problems=problems).items)
    self.assertRegex(problems.messages[0], "trainval.txt:1: ")
    self.assertRegex(problems.messages[1], "trainval.txt:2: ")

  def test_entities_are_not_opened(self):
    # Ten to the ninth of "lol", and a file of another's.
    levels = "".join(
        f'<!ENTITY {one} "{f"&{two};" * 10}">'
        for one, two in zip("bcdefghij", "abcdefghi"))
    for entities in (f'<!ENTITY a "lol">{levels}',
                     '<!ENTITY j SYSTEM "file:///etc/passwd">'):
      fake_sets.write(
          self._path("Annotations", "000000.xml"),
          f"<!DOCTYPE x [{entities}]><annotation><object><name>&j;</name>"
          "</object></annotation>")
      with self.assertRaisesRegex(errors.InputError, "EntitiesForbidden"):
        _read(self.root)

  def test_broken_pixel_coordinates_of_2012(self):
    self._write_objects([("cat", "45.7", "1.5", "46.2", "2.5", 0)])
    np.testing.assert_allclose(
        _read(self.root).items[0].objects.boxes, [[.5, 44.7, 2.5, 46.2]],
        rtol=1e-6)

  def test_no_object_is_no_label(self):
    self._write_objects([])
    item = _read(self.root).items[0]
    self.assertEqual(item.label_ids, ())
    self.assertEqual(item.objects.boxes.shape, (0, 4))

  @absltest.skipUnless(
      os.environ.get("KDWSD_DATA"),
      "needs real photographs: KDWSD_DATA names the folder that holds voc/")
  def test_real_annotations(self):
    root = os.path.join(os.environ["KDWSD_DATA"], "voc", "VOCdevkit")
    source = _read(root, year="2012")
    self.assertLen(source.items, 990)
    self.assertLen(source.classes, 20)
    self.assertEqual(source.classes[14], "person")
    self.assertTrue(all(os.path.isfile(item.image_path)
                        for item in source.items))
    # Objects lie inside the image the annotation speaks of.
    for item in source.items:
      limit = np.array([*item.objects.frame] * 2)
      self.assertTrue(np.all(item.objects.boxes >= -1), item.image_id)
      self.assertTrue(np.all(item.objects.boxes <= limit + 1), item.image_id)

  @settings(max_examples=60, deadline=None)
  @given(content=strategies.text(alphabet='<>/&;"annotiobjecmxy0159. ',
                                 max_size=60))
  def test_any_text_is_read_or_refused(self, content):
    fake_sets.write(self._path("Annotations", "000000.xml"), content)
    try:
      _read(self.root)
    except errors.InputError as error:
      self.assertIn("000000.xml", str(error))


if __name__ == "__main__":
  absltest.main()
