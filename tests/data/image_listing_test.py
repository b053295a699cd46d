"""Tests of which listed images are there."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import image_listing
from kdwsd.data import sources
from tests.data import fake_sets


class ImageListingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tempfile.mkdtemp()
    for name, content in (("a.jpg", "x"), ("c/B.JPG", "x"), ("empty.jpg", "")):
      fake_sets.write(os.path.join(self.folder, name), content)

  def _present(self, *names, on_error="skip", **more):
    self.problems = sources.Problems(on_error)
    source = sources.Source(
        classes=("cat",), description={}, items=[
            sources.Item(image_path=os.path.join(self.folder, name),
                         image_id=name, label_ids=(), where=f"x.csv:{i + 2}")
            for i, name in enumerate(names)], **more)
    return [item.image_id
            for item in image_listing.present(source, self.problems)]

  def test_what_is_there_stays_in_order(self):
    self.assertEqual(self._present("c/B.JPG", "no.jpg", "a.jpg", "a.jpg"),
                     ["c/B.JPG", "a.jpg"])
    self.assertLen(self.problems.messages, 2)
    self.assertIn("x.csv:5: expected every image once. Received: a.jpg, also "
                  "at x.csv:4", self.problems.messages[1])

  @parameterized.parameters(
      ("no.jpg", "Received: No such file or directory."),
      ("A.jpg", "Received: No such file or directory, but there is a.jpg."),
      ("c/b.jpg", "Received: No such file or directory, but there is B.JPG."),
      ("a.png", "Received: No such file or directory, but there is a.jpg."),
      ("no/a.jpg", "Received: No such file or directory."),
      ("empty.jpg", "Received: zero bytes."), ("c", "no regular file."))
  def test_a_missing_file_and_one_that_may_be_meant(self, name, message):
    self._present("a.jpg", name)
    self.assertEndsWith(self.problems.messages[0], message)

  def test_an_accent_that_a_mac_wrote_as_a_character_is_shown(self):
    open(os.path.join(self.folder, "cafe\u0301.jpg"), "wb").close()
    self._present("a.jpg", "caf\u00e9.jpg")
    self.assertEndsWith(self.problems.messages[0],
                        r"but there is 'cafe\u0301.jpg'.")

  def test_where_paths_start_is_told_where_a_flag_can_change_it(self):
    with self.assertRaisesRegex(
        errors.InputError, "no.jpg: expected an image file. Received: No such "
        "file or directory; relative paths start from photos .--images.[.]$"):
      self._present("no.jpg", on_error="stop", image_folder="photos")

  def test_nothing_is_left(self):
    with self.assertRaisesRegex(
        errors.InputError, "none of 2 listed can be used, first x.csv:2: "):
      self._present("no.jpg", "empty.jpg")


if __name__ == "__main__":
  absltest.main()
