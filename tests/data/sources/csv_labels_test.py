"""Tests of the CSV source, and of what all sources share."""

import json
import os
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import csv_columns
from kdwsd.data.sources import csv_labels
from tests.data import fake_sets


class CsvLabelsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(tempfile.mkdtemp(), "mine.csv")

  def _read(self, text, on_error="stop", classes=None, images=None, **hints):
    fake_sets.write(self.path, text)
    self.problems = sources.Problems(on_error)
    return csv_labels.read(
        self.path, problems=self.problems, classes=classes, images=images,
        hints=csv_columns.Hints(**hints))

  def assertAllEqual(self, found, expected):
    np.testing.assert_array_equal(found, expected)

  def test_labels_by_name(self):
    source = self._read('\ufeffpath,labels\r\n"a, b.jpg",dog; cat\r\n\r\n'
                        "c.jpg,\r\nd.jpg,yak|dog|dog\r\n")
    self.assertEqual(source.classes, ("cat", "dog", "yak"))
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1), (), (1, 2)])
    self.assertEqual(source.items[0].image_path, os.path.join(
        os.path.dirname(self.path), "a, b.jpg"))
    self.assertEqual(source.items[1].where, f"{self.path}:4")

  def test_a_class_list_is_taken_as_it_is_and_what_it_leaves_out_is_told(self):
    text = "path,labels\na.jpg,dog;cat\nb.jpg,cat;emu\nb.jpg,emu;cat\nc.jpg,\n"
    source = self._read(text, classes=("yak", "dog"))
    self.assertEqual(source.classes, ("yak", "dog"))
    self.assertEqual([item.label_ids for item in source.items], [(1,), (), ()])
    self.assertIn("leaves out 2 of the data's names: cat (2), emu (1).",
                  source.notices[-1])
    text = "path,dog,cat\na.jpg,1,1\nb.jpg,0,1\n"
    source = self._read(text, classes=("yak", "dog"))
    self.assertEqual([item.label_ids for item in source.items], [(1,), ()])
    self.assertIn("cat (2)", source.notices[-1])
    for text in ("path,labels\na.jpg,dog\n", "path,dog\na.jpg,1\n"):
      with self.assertRaisesRegex(errors.InputError,
                                  "at least one class of .*: dog. Rec.*: yak"):
        self._read(text, classes=("yak",))

  @parameterized.parameters(
      "./a.jpg", ".//a.jpg", "./././a.jpg", ".\\a.jpg", "a.jpg", "a",
      "{}/a.jpg", "{}//x/../a.jpg", "x/../a.jpg", "link", "./a")
  def test_rows_of_one_file_are_joined_however_its_path_is_written(self, path):
    folder = os.path.dirname(self.path)
    fake_sets.write(os.path.join(folder, "a.jpg"), "x")
    os.mkdir(os.path.join(folder, "x"))
    if path[:4] == "link":  # To x/y, so that link/.. is x, and not the folder.
      fake_sets.write(os.path.join(folder, "x", "y", "z.jpg"), "x")
      os.symlink(os.path.join("x", "y"), os.path.join(folder, "link"))
      path = "link/../../a.jpg"
    path = path.format(folder)
    source = self._read(f"path,labels\na.jpg,dog\n{path},cat\n")
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("a.jpg", (0, 1))])
    self.assertIn("Joined 1 rows", " ".join(source.notices))
    source = self._read(f"path,dog,cat\na.jpg,1,0\n{path},0,1\n")
    self.assertEqual([item.label_ids for item in source.items], [(0, 1)])
    # The other way round, and a bad row takes all of the image away.
    source = self._read(f"path,labels\n{path},cat\nb.jpg,cat\na.jpg,dog\n")
    self.assertEqual([item.label_ids for item in source.items], [(0, 1), (0,)])
    source = self._read(f"path,labels\n{path},cat\nb.jpg,cat\na.jpg\n",
                        on_error="skip")
    self.assertEqual([item.image_id for item in source.items], ["b.jpg"])

  def test_the_table_of_chest_x_ray_14(self):
    source = self._read(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Gender,"
        "OriginalImage[Width,Height],\n"
        "1.png,Hernia|Mass,0,1,M,2682,2749,\n"
        "2.png,No Finding,1,1,M,2682,2749,\n3.png,Mass,0,2,F,2500,2048,\n")
    self.assertEqual(source.classes, ("Hernia", "Mass", "No Finding"))
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1), (2,), (1,)])

  def test_flags_in_messages_can_be_pasted_into_a_shell(self):
    with self.assertRaisesRegex(errors.InputError,
                                "give '--ignore_columns=Patient ID'. Received"):
      self._read("path,dog,Patient ID\na.jpg,1,0\nb.jpg,0,7\n")
    with self.assertRaisesRegex(errors.InputError,
                                "give '--ignore_columns=\\$ id', or"):
      self._read("path,dog,$ id\n" + "".join(
          f"{i}.jpg,1,{i}\n" for i in range(9)))

  def test_values_of_neither_kind_are_shown(self):
    with self.assertRaisesRegex(errors.InputError,
                                "Received: path, dog, cat; in dog: no, yes\\."):
      self._read("path,dog,cat\na.jpg,yes,no\nb.jpg,no,yes\n")

  @parameterized.parameters("class_id", "label_id", "Category ID")
  def test_ids_of_labels(self, name):
    source = self._read(f"path,{name}\na.jpg,0\nb.jpg,1\nb.jpg,0\n")
    self.assertEqual(source.classes, ("0", "1"))
    self.assertEqual([item.label_ids for item in source.items], [(0,), (0, 1)])
    source = self._read(f"path,{name},label\na.jpg,0,cat\nb.jpg,1,dog\n")
    self.assertEqual(source.classes, ("cat", "dog"))

  def test_blank_fields_beyond_the_header_do_not_count(self):
    source = self._read("path,labels\na.jpg,dog,,\nb.jpg,cat, \nc.jpg,dog\n")
    self.assertEqual([item.label_ids for item in source.items],
                     [(1,), (0,), (1,)])
    with self.assertRaisesRegex(errors.InputError,
                                "csv:2: expected 2 fields .*Received: 4"):
      self._read("path,labels\na.jpg,dog,,cat\n")

  def test_text_in_another_encoding_is_named_by_its_line(self):
    with self.assertRaisesRegex(
        errors.InputError, r"UTF-8\. Received: byte 0xe2 at 26 \(line 3; "
        r"save it as UTF-8\)\."):
      with open(self.path, "wb") as file:
        # 12 bytes, 10 bytes and "b,1" before it.
        file.write(b"path,labels\na.jpg,dog\nb,1b\xe2teau\n")
      csv_labels.read(self.path, problems=sources.Problems())

  def test_a_split_without_labels(self):
    text = "path,labels\na.jpg,\n"
    with self.assertRaisesRegex(errors.InputError, "none in column 'labels'"):
      self._read(text)
    self.assertEqual(self._read(text, classes=("yak",)).items[0].label_ids, ())

  def test_a_column_a_class(self):
    text = "path,dog,cat,yak\na.jpg,1,0,?\nb.jpg, 0 ,1,1\n"
    source = self._read(text)
    self.assertEqual(source.classes, ("dog", "cat", "yak"))
    self.assertEqual([item.label_ids for item in source.items], [(0,), (1, 2)])
    self.assertEqual(source.items[0].unknown_label_ids, (2,))
    source = self._read(text, classes=("yak", "dog"))
    self.assertEqual([item.label_ids for item in source.items], [(1,), (0,)])
    self.assertEqual(source.items[0].unknown_label_ids, (0,))

  def test_every_value_of_a_class(self):
    values = ("1", "1.0", "True", "true", "1.000e+00", "0", "0.0", "FALSE",
              "-0", "-1", "-1.0", "?", "")
    rows = "".join(f"{i}.jpg,{v},0\n" for i, v in enumerate(values))
    items = self._read("path,dog,cat\n" + rows).items
    self.assertEqual([len(item.label_ids) for item in items],
                     [1] * 5 + [0] * 8)
    self.assertEqual([len(item.unknown_label_ids) for item in items],
                     [0] * 9 + [1] * 4)

  @parameterized.parameters(("-1", "minus_one"), ("", "blank"))
  def test_a_file_without_0_does_not_say_absent_for_sure(self, value, flag):
    text = f"path,dog,cat\na.jpg,1,{value}\nb.jpg,{value},1\n"
    with self.assertRaisesRegex(
        errors.InputError, f"give --{flag}=absent or --{flag}=unknown"):
      self._read(text)
    absent = self._read(text, **{flag: "absent"}).items
    self.assertEqual([item.unknown_label_ids for item in absent], [(), ()])
    unknown = self._read(text, **{flag: "unknown"}).items
    self.assertEqual([item.unknown_label_ids for item in unknown],
                     [(1,), (0,)])
    for items in (absent, unknown):
      self.assertEqual([item.label_ids for item in items], [(0,), (1,)])

  def test_minus_one_may_be_absent_and_a_blank_unknown(self):
    text = "path,dog,cat\na.jpg,1,-1\nb.jpg,,1\n"
    items = self._read(text, minus_one="absent").items
    self.assertEqual([item.unknown_label_ids for item in items], [(), (0,)])

  @parameterized.parameters("2", "yes", "0.5", "11")
  def test_bad_value(self, value):
    text = f"path,dog,cat\na.jpg,1,0\nb.jpg,0,{value}\n"
    with self.assertRaisesRegex(
        errors.InputError, "csv:3: .*under 'cat'; .*--ignore_columns=cat. "
        f"Received: '{value}'"):
      self._read(text)
    self.assertLen(self._read(text, on_error="skip").items, 1)
    source = self._read(text, ignore_columns=("cat",))
    self.assertEqual(source.classes, ("dog",))
    self.assertIn("ignored columns: cat", source.notices[0])

  def test_a_measure_is_no_class_whose_values_are_mostly_wrong(self):
    text = "path,dog,age\n" + "".join(f"{i}.jpg,1,{i}\n" for i in range(9))
    with self.assertRaisesRegex(
        errors.InputError,
        "=age, or .*--label_column. Received: 2, 3, 4, 5 and 3"):
      self._read(text, on_error="skip")

  @parameterized.parameters(
      ("", "an empty file"), ("file,labels\n", "a row for each image"),
      ("foo,labels\na,b\n", "--path_column.* Received: foo, labels"),
      ("path\n", "Received: path"),
      ("path,labels\na.jpg,\n", "labels by name"),
      ("path,labels\na.jpg,dog,cat\nb.jpg,yak\n", ":2: expected 2 fields"),
      ("path,labels\na.jpg,dog,cat\n", ":2: expected 2 fields"),
      ("path,labels\n\na.jpg,dog\na.jpg\n", ":4: expected 2 fields"),
      ("path,labels\n,dog\n", ":2: expected 2 fields, one the path"),
      ("path,dog,dog\na.jpg,0,1\n", "dog more than once"),
      ("path,dog,\na.jpg,0,1\n", "an empty name"),
      ('path,labels\n"a.jpg,dog\n', "unexpected end"),
      ('path,labels\na.jpg,"do\ng"\n', r"class names .*Received: 'do\\ng'"),
      # Up to Python 3.10 the module csv itself refuses it.
      ('path,labels\n"a\0.jpg",dog\n',
       r":2: .*Received: ('a\\x00.jpg'|line contains NUL)"),
      ("path,labels\n" + "a" * 5000 + ",b,c\nd,e\n", r":2: .{1,300}$"),
      ("path," + "a" * 5000 + "\nb.jpg,1\n", r"class names .{1,300}$"),
      ("1.jpg,dog\n2.jpg,cat\n", ":1: .*add a first line .*1.jpg, dog"),
      ("path,labels\nC:\\a.jpg,dog\n", ":2: .*--images"),
      ("path,breed\na.jpg,pug\n", "--label_column. Received: path, breed"),
      ("path,image,labels\na.jpg,b.jpg,dog\n", "--path_column.*path, image"),
      ("image_id,photo file,labels\n7,b.jpg,dog\n", "--path_column"),
      ("path,label,class\na.jpg,1,dog\n", "--label_column.*label, class"),
      ("path,label,dog\na.jpg,1,0\n", "--label_column=label .*dog"),
      ("path,dog,split\na.jpg,1,0\n", "--ignore_columns=split"),
      ("path,LabelName,Confidence\na.jpg,dog,0\n", "--format=openimages"),
      ("path;image,labels\na.jpg;b.jpg,dog\n", "--csv_separator|header"),
      ("path,labels\n".encode("utf-16"), "UTF-8. Received: .*UTF-16; save"),
      (b"path,labels\n\xff,dog\n", "UTF-8. Received: byte 0xff"))
  def test_bad_file(self, text, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._read(text)

  @parameterized.parameters(
      ("path,labels\na.jpg,dog|cat\n", ",", ()),
      ("path;labels\na.jpg;dog,cat\nb.jpg;dog\nc.jpg;cat\n", ";", ()),
      ("filename\ttags\na.jpg\tdog;cat\n", "\t", ()),
      ("Labels|Image_ID|split\ndog;cat|a.jpg|train\n", "|", ("split",)),
      ("sep=;\npath;labels\na.jpg;dog|cat\n", ";", ()),
      (",image path,class\n0,a.jpg,dog;cat\n", ",", ("column 1 (no name)",)),
      ("Unnamed: 0,img,class\n0,a.jpg,dog;cat\n", ",", ("Unnamed: 0",)),
      ("photo file,labels,notes\na.jpg,dog;cat,1\n", ",", ("notes",)),
      ('path, labels\na.jpg, "dog;cat"\n', ",", ()),
      ("path,cat,dog,split\na.jpg,1,1,train\n", ",", ("split",)),
      ("filename, cat, dog\na.jpg, 1, 1\n", ",", ()),
      ("path,cat,dog,width,\na.jpg,1,1,640,\n", ",",
       ("width", "column 5 (no name)")),
      ("filename,width,height,class\na.jpg,1,1,dog\na.jpg,1,1,cat\n", ",",
       ("width", "height")))
  def test_what_is_found_by_looking_and_told(self, text, separator, ignored):
    source = self._read(text)
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("a.jpg", (0, 1))] + [
                         (name, ids) for name, ids in (
                             ("b.jpg", (1,)), ("c.jpg", (0,))) if name in text])
    self.assertStartsWith(source.notices[0],
                          f"mine.csv: separator {separator!r}, ")
    self.assertEndsWith(source.notices[0], "; ignored columns: " + ", ".join(
        ignored) + "." if ignored else source.notices[0])
    self.assertEqual("ignored" in source.notices[0], bool(ignored))

  def test_flags_override_what_would_be_found(self):
    source = self._read(
        "path^b^labels^mine\nx.jpg^y.jpg^dog^cat:yak\n", csv_separator="^",
        path_column="b", label_columns=("mine",), label_separator=":")
    self.assertEqual(source.classes, ("cat", "yak"))
    self.assertEqual(source.items[0].image_id, "y.jpg")
    for hints, message in (
        ({"csv_separator": "ab"}, "--csv_separator: .*Received: 'ab'"),
        ({"path_column": "x"}, "--path_column: .*: path, labels. Rec.* x,"),
        ({"label_columns": ("x",)}, "--label_column: .*, labels. Rec.* x,"),
        ({"ignore_columns": ("x",)}, "--ignore_columns: .* x,")):
      with self.assertRaisesRegex(errors.InputError, message):
        self._read("path,labels\na.jpg,dog\n", **hints)

  @parameterized.parameters(
      ("path,label_1,label_2,Label 3\na.jpg,yak,dog,\nb.jpg,,,dog\n", ()),
      ("path,first,second\na.jpg,yak,dog\nb.jpg,,dog\n", ("first", "second")))
  def test_labels_in_several_columns(self, text, label_columns):
    source = self._read(text, label_columns=label_columns)
    self.assertEqual(source.classes, ("dog", "yak"))
    self.assertEqual([item.label_ids for item in source.items], [(0, 1), (0,)])
    self.assertIn("labels by name in columns ", source.notices[0])
    self.assertNotIn("ignored", source.notices[0])

  def test_the_export_of_roboflow(self):
    text = "filename, unlabeled, cat, dog\na.jpg, 0, 1, 1\nb.jpg, 1, 0, 0\n"
    source = self._read(text)
    self.assertEqual(source.classes, ("unlabeled", "cat", "dog"))
    self.assertIn("--ignore_columns=unlabeled", source.notices[0])
    source = self._read(text, ignore_columns=("unlabeled",))
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual([item.label_ids for item in source.items], [(0, 1), ()])
    self.assertEndsWith(source.notices[0], "ignored columns: unlabeled.")

  def test_a_class_of_roboflow_may_have_the_name_of_a_split(self):
    text = "filename, bus, train\na.jpg, 0, 1\nb.jpg, 1, 0\n"
    with self.assertRaisesRegex(errors.InputError, "--ignore_columns=train"):
      self._read(text)
    self.path = os.path.join(os.path.dirname(self.path), "_classes.csv")
    source = self._read(text)
    self.assertEqual(source.classes, ("bus", "train"))
    self.assertEqual([item.label_ids for item in source.items], [(1,), (0,)])

  def test_numbered_columns_of_classes(self):
    source = self._read("path,class1,class2\na.jpg,1,0\nb.jpg,1,1\n")
    self.assertEqual(source.classes, ("class1", "class2"))
    self.assertEqual([item.label_ids for item in source.items], [(0,), (0, 1)])

  def test_rows_of_an_image_are_joined(self):
    source = self._read("path,labels\na.jpg,yak\nb.jpg,dog\na.jpg,cat\n"
                        "a.jpg,yak\n")
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("a.jpg", (0, 2)), ("b.jpg", (1,))])
    self.assertIn("Joined 2 rows to others of the same image.", source.notices)

  def test_rows_of_columns_are_joined(self):
    source = self._read("path,dog,cat,yak,emu\na.jpg,1,0,?,?\n"
                        "a.jpg,0,0,0,?\na.jpg,?,1,?,?\n")
    self.assertEqual(source.items[0].label_ids, (0, 1))
    self.assertEqual(source.items[0].unknown_label_ids, (3,))
    self.assertIn("2 labels are 1 in one row and 0 in another",
                  source.notices[1])

  @parameterized.parameters(
      "path,dog,cat\na.jpg,1,0\nb.jpg,0,1\na.jpg,0,2\na.jpg,3,0\n",
      "path,labels\na.jpg,dog\nb.jpg,cat\na.jpg,cat,dog\na.jpg\n",
      "path,labels\na.jpg,['dog']\nb.jpg,['cat']\na.jpg,[{}]\n",
      "path,labels\nc\\a.jpg,dog\nb.jpg,cat\nc\\a.jpg,dog,cat\n")
  def test_a_bad_row_takes_its_image_away_whole(self, text):
    source = self._read(text, on_error="skip")
    self.assertEqual([item.image_id for item in source.items], ["b.jpg"])
    self.assertLen(self.problems.messages, 1)
    self.assertIn("csv:4: ", self.problems.messages[0])

  def test_boxes_of_a_row_an_object(self):
    text = ("filename,width,height,class,xmin,ymin,xmax,ymax\n"
            "a.jpg,32,24,dog,1,2,11,12\na.jpg,32,24,cat,3.5,4,5,6\n"
            "a.jpg,32,24,dog,5,5,5,9\nb.jpg,32,24,cat,,,,\nc.jpg,32,24,,,,,\n")
    source = self._read(text)
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1), (0,), ()])
    objects = source.items[0].objects
    self.assertAllEqual(objects.boxes, [[2, 1, 12, 11], [4, 3.5, 6, 5]])
    self.assertAllEqual(objects.class_ids, [1, 0])
    self.assertEqual(objects.frame, (24, 32))
    self.assertEqual(objects.dropped, 1)
    self.assertIn("csv:4: expected xmin < xmax", objects.fault)
    self.assertIsNone(source.items[1].objects)  # Where its cat is, is unknown.
    self.assertEmpty(source.items[2].objects.boxes)
    self.assertIn("boxes in xmin, ymin, xmax, ymax", source.notices[0])
    source = self._read(text, classes=("dog",))
    self.assertAllEqual(source.items[0].objects.class_ids, [0])
    self.assertEqual(source.items[0].label_ids, (0,))
    source = self._read(text.replace("1,2,11,12", ".1,.2,.3,.4").replace(
        "3.5,4,5,6", "0,0,1,1"))
    self.assertIsNone(source.items[0].objects)
    self.assertIn("Left out all boxes: expected pixels", source.notices[2])

  def test_paths_of_windows_and_without_endings(self):
    fake_sets.write(os.path.join(os.path.dirname(self.path), "c/7.JPG"), "x")
    source = self._read("image_id,labels\nc\\7,dog\nc/8,cat\n")
    folder = os.path.dirname(self.path)
    self.assertEqual([item.image_id for item in source.items], ["c/7", "c/8"])
    self.assertEqual([item.image_path for item in source.items],
                     [os.path.join(folder, "c/7.JPG"),
                      os.path.join(folder, "c/8")])
    with self.assertRaisesRegex(errors.InputError, "--images"):
      self._read("path,labels\na.jpg,dog\n", images=folder + "/nowhere")


class ClassListTest(parameterized.TestCase):

  def _file(self, name, content):
    return fake_sets.write(os.path.join(tempfile.mkdtemp(), name), content)

  def test_every_form(self):
    expected = ("cat", "stop sign")
    text = self._file("classes.txt", "cat\n\nstop sign \n")
    card = self._file("train.json", json.dumps({"classes": expected}))
    for value in (["cat", "stop sign"], "cat, stop sign", text, [text], card):
      self.assertEqual(sources.read_classes(value), expected)
    self.assertIsNone(sources.read_classes(None))
    self.assertIsNone(sources.read_classes([]))

  def test_mistakes(self):
    for value, message in (
        ("a,a", "a more than once"), ("a,,b", "an empty name"),
        (["nowhere.txt"], "nowhere.txt.*No such"),
        (self._file("x.txt", "\n"), "Received: none"),
        (self._file("x.json", "{}"), "list `classes`"),
        (self._file("x.json", '{"classes": ["a", 1]}'), "list `classes`"),
        (self._file("x.json", '{"classes": ["\\ud800"]}'), "control"),
        (self._file("x.txt", "a\0\n"), "control"),
        (self._file("x.txt", b"\xef\xbb"), "UTF-8. Received: byte 0xef at 0"),
        (["a\x1b[31m"], "control")):
      with self.assertRaisesRegex(errors.InputError, message):
        sources.read_classes(value)

  def test_a_hundred_thousand_classes_take_no_time(self):
    path = self._file("many.txt", "".join(f"c{i}\n" for i in range(100_000)))
    started = time.process_time()
    self.assertLen(sources.read_classes(path), 100_000)
    # Counted one by one it is hours; the bound is for slow machines.
    self.assertLess(time.process_time() - started, 20)

  def test_problems(self):
    with self.assertRaisesRegex(errors.InputError, "stop, skip"):
      sources.Problems("ignore")
    problems = sources.Problems("skip")
    problems.add(errors.InputError("a\n b"))
    self.assertEqual(problems.messages, ["a b"])


if __name__ == "__main__":
  absltest.main()
