"""Tests of how paths in data sets are read."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data.sources import paths
from tests.data import fake_sets


class PathsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tempfile.mkdtemp()
    for name in ("a/b.jpg", "c\\d.jpg", "C:/e.jpg"):
      fake_sets.write(os.path.join(self.folder, name), "x")

  @parameterized.parameters(
      ("a/b.jpg", "a/b.jpg"), ("a\\b.jpg", "a/b.jpg"),
      (".\\a\\b.jpg", "a/b.jpg"), ("c\\d.jpg", "c\\d.jpg"),
      ("C:/e.jpg", "C:/e.jpg"), ("missing\\f.jpg", "missing/f.jpg"),
      ("a:b.jpg", "a:b.jpg"), ("", ""))
  def test_backslashes_part_folders_unless_such_a_file_exists(
      self, written, read):
    self.assertEqual(paths.locate(self.folder, written, "x.csv:2"),
                     (os.path.join(self.folder, read), read))

  @parameterized.parameters(
      ("./a/b.jpg", "a/b.jpg"), ("a//b.jpg", "a/b.jpg"),
      ("././a/./b.jpg", "a/b.jpg"), ("/x//b.jpg", "/x/b.jpg"),
      # The folder before `..` may be a link to elsewhere.
      ("../a/b.jpg", "../a/b.jpg"), ("x/.././b.jpg", "x/../b.jpg"),
      ("a./b.jpg", "a./b.jpg"), (".a/b.jpg", ".a/b.jpg"),
      ("http://x/b.jpg", "http://x/b.jpg"))
  def test_one_file_has_one_name(self, written, read):
    self.assertEqual(paths.locate("photos", written, "x.csv:2")[1], read)

  def test_absolute_paths_stay(self):
    self.assertEqual(paths.locate(self.folder, "/a/b.jpg", "x.csv:2"),
                     ("/a/b.jpg", "/a/b.jpg"))

  @parameterized.parameters(
      "C:\\photos\\1.jpg", "d:/photos/1.jpg", "\\\\server\\photos\\1.jpg")
  def test_absolute_paths_of_windows_are_refused(self, name):
    with self.assertRaisesRegex(
        errors.InputError, "^x.csv:2: .*--images. Received: .*of Windows"):
      paths.locate(self.folder, name, "x.csv:2")


if __name__ == "__main__":
  absltest.main()
