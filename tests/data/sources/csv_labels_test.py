"""Tests of the CSV source, and of what all sources share."""

import json
import os
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import csv_labels
from tests.data import fake_sets


class CsvLabelsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(tempfile.mkdtemp(), "mine.csv")

  def _read(self, text, on_error="stop", **arguments):
    fake_sets.write(self.path, text)
    self.problems = sources.Problems(on_error)
    return csv_labels.read(self.path, problems=self.problems, **arguments)

  def test_labels_by_name(self):
    source = self._read('\ufeffpath,labels\r\n"a, b.jpg",dog; cat\r\n\r\n'
                        "c.jpg,\r\nd.jpg,yak|dog|dog\r\n")
    self.assertEqual(source.classes, ("cat", "dog", "yak"))
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1), (), (1, 2)])
    self.assertEqual(source.items[0].image_path, os.path.join(
        os.path.dirname(self.path), "a, b.jpg"))
    self.assertEqual(source.items[1].where, f"{self.path}:4")

  def test_classes_given(self):
    text = "path,labels\na.jpg,dog\n"
    self.assertEqual(
        self._read(text, classes=("yak", "dog")).items[0].label_ids, (1,))
    with self.assertRaisesRegex(errors.InputError, ":2: .*Received: dog"):
      self._read(text, classes=("yak",))

  def test_a_column_a_class(self):
    text = "path,dog,cat,yak\na.jpg,1,0,?\nb.jpg, 0 ,1,1\n"
    source = self._read(text)
    self.assertEqual(source.classes, ("dog", "cat", "yak"))
    self.assertEqual([item.label_ids for item in source.items], [(0,), (1, 2)])
    self.assertEqual(source.items[0].unknown_label_ids, (2,))
    source = self._read(text, classes=("yak", "dog"))
    self.assertEqual([item.label_ids for item in source.items], [(1,), (0,)])

  @parameterized.parameters("2", "", "-1", "yes")
  def test_bad_value(self, value):
    text = f"path,dog,cat\na.jpg,1,0\nb.jpg,0,{value}\n"
    with self.assertRaisesRegex(
        errors.InputError, f"csv:3: .*under 'cat'. Received: '{value}'"):
      self._read(text)
    self.assertLen(self._read(text, on_error="skip").items, 1)

  @parameterized.parameters(
      ("", "an empty file"), ("file,labels\n", "Received: file,labels"),
      ("path\n", "Received: path"), ("path,labels\n", "labels by name"),
      ("path,labels\na.jpg,dog,cat\nb.jpg,yak\n", ":2: expected 2 fields"),
      ("path,labels\n,dog\n", ":2: expected 2 fields, the first a path"),
      ("path,labels\na.jpg,dog\na.jpg,dog\n", ":3: .*also in line 2"),
      ("path,dog,dog\na.jpg,0,1\n", "dog more than once"),
      ("path,dog,\na.jpg,0,1\n", "an empty name"),
      ('path,labels\n"a.jpg,dog\n', "unexpected end"),
      ('path,labels\na.jpg,"do\ng"\n', r"class names .*Received: 'do\\ng'"),
      ('path,labels\n"a\0.jpg",dog\n', r":2: .*Received: 'a\\x00.jpg'"),
      ("path,labels\n" + "a" * 5000 + ",b,c\nd,e\n", r":2: .{1,300}$"),
      ("path," + "a" * 5000 + "\n", r"class names .{1,300}$"),
      (b"path,labels\n\xff,dog\n", "UTF-8. Received: byte 0xff"))
  def test_bad_file(self, text, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._read(text)


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
