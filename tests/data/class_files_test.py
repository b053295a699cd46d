"""Tests of files that list classes: every layout, and names like numbers."""

import os
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import sources


class ClassFilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self._directory)

  def _read(self, content, name="classes.txt"):
    path = os.path.join(self._directory, name)
    with open(path, "wb") as file:
      file.write(content.encode("utf-8"))
    return sources.read_classes([path])

  @parameterized.parameters(
      ("boat\nperson\n", ("boat", "person")),
      ("0 boat\n1 person\n", ("boat", "person")),
      ("0: boat\n1: potted plant\n", ("boat", "potted plant")),
      ("1,person\n0,boat\n", ("boat", "person")),
      ("1,boat\r\n2,person\r\n3,a, b\r\n", ("boat", "person", "a, b")),
      ("2\tperson\n1\tboat\n", ("boat", "person")),
      ("0;boat\n1 ; person\n", ("boat", "person")),
      ("boat,0\nperson,1\n", ("boat", "person")),
      ("0 3d printer\n1 7 up\n", ("3d printer", "7 up")),
      # Names, not numbers: not every line has one.
      ("3d printer\n2d map\n", ("3d printer", "2d map")),
      ("7 up\ncola\n", ("7 up", "cola")),
      ("0\n1\n2\n", ("0", "1", "2")),
      ("a: b\nc\n", ("a: b", "c")), ("#boat\ncar\n", ("#boat", "car")),
      ("# label:color_rgb:parts:actions\nbackground:0,0,0::\nboat:128,0,0::\n"
       "traffic light:0,128,0:hand,foot:jump\n", ("boat", "traffic light")),
      ("boat:128,0,0::\nperson:0,128,0::\n", ("boat", "person")))
  def test_text(self, content, names):
    self.assertEqual(self._read(content), names)

  @parameterized.parameters(
      ("1 cent\n2 cents\n5 cents\n", "3 numbers from 1 to 5, without 3"),
      ("0 boat\n0 person\n", "without 1 or with one of them twice"),
      ("5 boat\n6 person\n", "from 5 to 6"),
      ("0 boat\n1 boat\n", "boat more than once"),
      ("boat\n# vehicles\ncar\n", r"txt:2: .* '# vehicles'; remove that line"),
      ("#\nboat\n", r"classes\.txt:1: expected .*a comment"),
      ("# label:color_rgb:parts:actions\nboat\n", r"classes\.txt:2: expected "))
  def test_numbers_that_do_not_run(self, content, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self._read(content)

  @parameterized.parameters("a,b.txt", "a, b.txt", "a,b,c.names")
  def test_commas_in_the_path_of_a_file(self, name):
    path = os.path.join(self._directory, name)
    self._read("boat\nperson\n", name)
    parts = [part.strip() for part in path.split(",")]  # As Abseil parts it.
    self.assertGreater(len(parts), 1)
    self.assertEqual(sources.read_classes(parts), ("boat", "person"))

  @parameterized.parameters(
      ("names: [boat, no, 007, 12:30, 'a b']", ("boat", "no", "007", "12:30",
                                                "a b")),
      ("nc: 2\nnames:\n  1: person\n  0: boat\n", ("boat", "person")),
      ("train: a\nnames: &a\n- boat\nmore: *a\n", ("boat",)),
      ("- boat\n- person\n", ("boat", "person")))
  def test_yaml(self, content, names):
    self.assertEqual(self._read(content, "data.yaml"), names)

  @parameterized.parameters(
      ("", "names"), ("train: a", "names"), ("names: boat", "names"),
      ("names: [boat, ]\nnc: 3", "1 names, nc '3'"), ("names: [a, ~]", "Non"),
      ("names: {0: boat, 2: person}", "2 numbers from 0 to 2, without 1"),
      ("names: {1: boat}", "numbers from 0\\. Rec"), ("names: {a: b}", "names"),
      ("names: {0: a, 0: b}", "'0' twice"), ("names: [[boat]]", "boat"),
      ("names: [boat", "expected a YAML file"), ("&a [*a]", "names"),
      ("[" * 5000, "expected a YAML file"),
      ("names: !!python/object/apply:os.system [true]", "the tag '.*system"))
  def test_yaml_that_is_not_right(self, content, message):
    with self.assertRaisesRegex(errors.InputError, rf"data\.yaml: .*{message}"):
      self._read(content, "data.yaml")

  def test_yaml_whose_parts_are_shared_is_read_once(self):
    content = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))
    self.assertEqual(self._read(content + "names: [boat]\n", "d.yml"),
                     ("boat",))

  def test_label_map(self):
    self.assertEqual(self._read(
        "# COCO\nitem {\n  name: '/m/1'\n  id: 3\n  display_name: \"boat\"\n}\n"
        "item { id: 1 name: 'person' }\n", "map.pbtxt"), ("person", "boat"))
    for content in ("", "item { id: 1 }", "item { id: 1 name: 'a' } x",
                    "item { id: 1 name: 'a' } item { id: 1 name: 'b' }"):
      with self.assertRaisesRegex(errors.InputError, r"map\.pbtxt: expected"):
        self._read(content, "map.pbtxt")


if __name__ == "__main__":
  absltest.main()
