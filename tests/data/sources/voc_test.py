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

  def _write_list(self, name, content):
    return fake_sets.write(
        self._path("ImageSets", "Main", name + ".txt"), content)

  def _write_class_lists(self, *names, presence=""):
    """Lists of every class for trainval, of six images, and test, of one."""
    self._write_list("test", "000000\n")
    for name in names:
      self._write_list(f"{name}_test", "000000 -1\n")
      self._write_list(f"{name}_trainval", "".join(
          f"{i:06d}  {number}\n" for i, number in enumerate(
              presence or ["-1"] * 6)))

  def test_lists_name_the_classes_of_every_image_set(self):
    self._write_class_lists("dog", "cat", "dining_table")
    for image_set in ("trainval", "test"):
      source = _read(self.root, image_set=image_set)
      self.assertEqual(source.classes, ("cat", "dining_table", "dog"))
      self.assertEmpty(source.notices)

  def test_classes_without_a_list_are_classes_of_every_image_set(self):
    self._write_class_lists("dog", "dining_table")
    self._write_objects([("yak", 1, 1, 9, 9, 0)], name="000005")
    for image_set in ("trainval", "test"):
      source = _read(self.root, image_set=image_set)
      self.assertEqual(source.classes, ("cat", "dining_table", "dog", "yak"))
      self.assertRegex(source.notices[0],
                       r"no list.*: cat \(5\), yak \(1\)\.$")

  @parameterized.parameters(
      ("000000\n000001\n",),                                 # No numbers.
      ("000000 1\n000001 -1\n",),                            # Not all images.
      ("000000 1\n000001 1\n000002\n000003\n000004\n000005\n",),
      ("000000 1\n000001 2\n000002 1\n000003 1\n000004 1\n000005 1\n",),
      # It says what the annotations do not: no such class.
      ("".join(f"{i:06d} 1\n" for i in range(6)),),
      ("",))
  def test_own_image_sets_are_no_classes(self, content):
    self._write_class_lists("dog", "cat")
    self._write_list("small_trainval", content)
    source = _read(self.root)
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual(source.items[0].label_ids, (0,))
    self.assertRegex(source.notices[0], "not class lists.*: small_")
    self.assertLen(source.notices, 1)

  def test_own_image_sets_only(self):
    for name in ("fold1_trainval", "fold2_trainval"):
      self._write_list(name, "000001\n000003 1\n")
    source = _read(self.root, image_set="fold2_trainval")
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual([item.image_id for item in source.items],
                     ["000001", "000003"])
    self.assertEmpty(source.notices)

  def test_class_lists_of_image_sets_with_underscores(self):
    self._write_list("my_test", "000001\n000003\n")
    self._write_list("test", "000001\n")
    self._write_list("yak_my_test", "000001 -1\n000003 -1\n")
    self.assertEqual(_read(self.root).classes, ("cat", "dog", "yak"))

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
    self.assertEqual(source.notices,
                     ("--classes leaves out 1 of the data's names: cat (6).",))
    with self.assertRaisesRegex(errors.InputError, "--classes.*cat, dog.*yak"):
      _read(self.root, classes=("yak",))

  def test_an_image_set_without_the_chosen_classes(self):
    self._write_list("test", "000000\n")
    source = _read(self.root, image_set="test", classes=("dog",))
    self.assertEqual([item.label_ids for item in source.items], [()])

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
      (fake_sets.annotation([("cat", 1, 1, 2, 2, 2)]), "0 or 1. Received: 2"),
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

  @parameterized.parameters(
      ("nan", 1, 2, 2), (5, 1, 2, 2), (1, 1, "1e39", 2), (1, 9, 2, 2),
      ("", 1, 2, 2), ("1,5", 1, 2, 2), ("-inf", 1, 2, 2))
  def test_a_bad_box_is_dropped_and_its_label_stays(self, *box):
    self._write_objects([("yak", *box, 0), ("cat", 1, 1, 16, 12, 0),
                         ("dog", *box, 1)])
    source = _read(self.root)
    item = source.items[0]
    self.assertEqual(source.classes, ("cat", "dog", "yak"))
    self.assertEqual((item.label_ids, item.unknown_label_ids), ((0, 2), (1,)))
    np.testing.assert_array_equal(item.objects.boxes, [[0, 0, 12, 16]])
    np.testing.assert_array_equal(item.objects.class_ids, [0])
    self.assertEqual(item.objects.dropped, 2)
    self.assertEqual(
        item.objects.fault, "object 1 (yak) with xmin, ymin, xmax, ymax = "
        f"{[str(number) for number in box]}")
    # Of other classes it is not counted.
    item = _read(self.root, classes=("cat", "dog")).items[0]
    self.assertEqual(item.objects.dropped, 1)

  def test_an_object_without_a_box_leaves_the_objects_unknown(self):
    fake_sets.write(
        self._path("Annotations", "000003.xml"), fake_sets.annotation(
            [("cat", 1, 1, 16, 12, 0)]).replace(
                "</annotation>", "<object><name>yak</name><polygon/></object>"
                "</annotation>"))
    source = _read(self.root)
    self.assertEqual(source.items[3].label_ids, (0, 2))
    self.assertIsNone(source.items[3].objects)
    self.assertLen(source.items[0].objects.boxes, 1)
    self.assertRegex(source.notices[0],
                     "^1 image has an object without <bndbox>.* 000003")
    self.assertLen(
        _read(self.root, classes=("cat",)).items[3].objects.boxes, 1)

  @parameterized.parameters(.5, 0, -24, "nan", "", "1e99", "high")
  def test_a_size_that_is_none_is_not_known(self, height):
    fake_sets.write(
        self._path("Annotations", "000000.xml"),
        fake_sets.annotation([("cat", 1, 1, 16, 12, 0)], height=height))
    item = _read(self.root).items[0]
    self.assertIsNone(item.objects.frame)
    self.assertLen(item.objects.boxes, 1)

  @parameterized.parameters(
      ("True", ()), ("false", (0,)), ("", (0,)), ("Unspecified", (0,)))
  def test_difficult_in_words(self, difficult, label_ids):
    self._write_objects([("cat", 1, 1, 16, 12, difficult)])
    self.assertEqual(_read(self.root).items[0].label_ids, label_ids)

  def test_the_same_fault_in_every_file_is_shown(self):
    for i in range(6):
      fake_sets.write(self._path("Annotations", f"{i:06d}.xml"),
                      "<annotation><object><label>cat</label></object>"
                      "</annotation>")
    with self.assertRaisesRegex(errors.InputError,
                                "000000.xml: expected a name of object 1"):
      _read(self.root)
    with self.assertRaisesRegex(
        errors.InputError, "class names.*Received: none; 6 of 6 annotations.* "
        "first .*000000.xml: expected a name of object 1"):
      voc.read(self.root, problems=sources.Problems("skip"))
    for i in range(6):
      self._write_objects([], name=f"{i:06d}")
    with self.assertRaisesRegex(errors.InputError, "none has an object"):
      _read(self.root)

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
