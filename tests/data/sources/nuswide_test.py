"""Tests of the NUS-WIDE source."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import nuswide
from tests.data import fake_sets


class NusWideTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    os.makedirs(os.path.join(self.root, "Flickr"))
    self._write("ImageList/TrainImagelist.txt",
                "actor\\0001_1.jpg\nactor\\0002_2.jpg\r\nzoo\\0003_3.jpg\n")
    self._write("ConceptsList/Concepts81.txt", "airport\nzebra\n")
    labels = "Groundtruth/TrainTestLabels/Labels_"
    self._write(labels + "airport_Train.txt", "0\n1\n1\n")
    self._write(labels + "zebra_Train.txt", "0\n0\n1 \n")

  def _write(self, name, content):
    return fake_sets.write(os.path.join(self.root, name), content)

  def _read(self, on_error="stop", **arguments):
    self.problems = sources.Problems(on_error)
    return nuswide.read(self.root, problems=self.problems, **arguments)

  def test_lines_belong_together(self):
    source = self._read()
    self.assertEqual(source.classes, ("airport", "zebra"))
    self.assertEqual([item.label_ids for item in source.items],
                     [(), (0,), (0, 1)])
    self.assertEqual(source.items[1].image_path, os.path.join(
        self.root, "Flickr", "actor/0002_2.jpg"))
    self.assertEqual(source.items[2].image_id, "zoo/0003_3.jpg")
    self.assertIsNone(source.items[0].objects)

  def test_chosen_concepts(self):
    source = self._read(classes=("zebra",))
    self.assertEqual(source.items[2].label_ids, (0,))
    self.assertEqual(
        source.notices,
        ("--classes leaves out 1 of the data's names: airport (2).",))
    # What is left out needs no labels.
    os.remove(os.path.join(self.root, "Groundtruth", "TrainTestLabels",
                           "Labels_airport_Train.txt"))
    self.assertEmpty(self._read(classes=("zebra",)).notices)

  def test_classes_of_another_data_set(self):
    source = self._read(classes=("yak", "zebra", "airport"))
    self.assertEqual(source.classes, ("yak", "zebra", "airport"))
    self.assertEqual([item.label_ids for item in source.items],
                     [(), (2,), (1, 2)])
    with self.assertRaisesRegex(errors.InputError, "at least one class.*: yak"):
      self._read(classes=("yak",))

  def test_absolute_paths_of_windows_are_refused(self):
    self._write("ImageList/TrainImagelist.txt", "a.jpg\nC:\\b.jpg\nc.jpg\n")
    with self.assertRaisesRegex(errors.InputError, "txt:2: .*of Windows"):
      self._read()

  @parameterized.parameters("Concepts81.txt", "NUS_WID_Lists/Concepts81.txt")
  def test_archives_unpacked_elsewhere(self, name):
    os.rename(os.path.join(self.root, "ConceptsList"),
              os.path.join(self.root, "gone"))
    os.remove(os.path.join(self.root, "gone", "Concepts81.txt"))
    with self.assertRaisesRegex(errors.InputError, "Concepts81.txt"):
      self._read()
    self._write(name, "airport\nzebra\n")
    self.assertLen(self._read().items, 3)

  def test_bad_label_is_named(self):
    path = self._write(
        "Groundtruth/TrainTestLabels/Labels_zebra_Train.txt", "0\n2\n1\n")
    with self.assertRaisesRegex(
        errors.InputError, f"{path}:2: .*actor/0002_2.jpg. Received: '2'"):
      self._read()
    self.assertLen(self._read(on_error="skip").items, 2)

  def test_an_image_with_two_lines_is_left_out_whole(self):
    self._write("ImageList/TrainImagelist.txt", "a.jpg\nb.jpg\na.jpg\n")
    with self.assertRaisesRegex(errors.InputError, "a.jpg, also in line 1"):
      self._read()
    items = self._read(on_error="skip").items
    self.assertEqual([item.image_id for item in items], ["b.jpg"])

  @parameterized.parameters("\f", "\x1c", "\u2028", "\x85")
  def test_what_is_no_end_of_a_line_shifts_no_label(self, blank):
    # Parted in two, the first name would take the label of the second line.
    self._write("ImageList/TrainImagelist.txt", f"a{blank}b.jpg\nc.jpg\n")
    for name in ("airport", "zebra"):
      self._write(f"Groundtruth/TrainTestLabels/Labels_{name}_Train.txt",
                  "0\n1\n")
    source = self._read(on_error="skip")
    self.assertEqual(source.items[-1].image_id, "c.jpg")
    self.assertEqual(source.items[-1].label_ids, (0, 1))
    self.assertEqual(len(source.items) + len(self.problems.messages), 2)

  def test_wrong_number_of_lines(self):
    self._write("Groundtruth/TrainTestLabels/Labels_zebra_Train.txt", "0\n1\n")
    with self.assertRaisesRegex(errors.InputError, "expected 3 lines.*: 2"):
      self._read()

  def test_other_mistakes(self):
    with self.assertRaisesRegex(errors.InputError, "train, test"):
      self._read(image_set="val")
    with self.assertRaisesRegex(errors.InputError, "TestImagelist.txt"):
      self._read(image_set="test")
    with self.assertRaisesRegex(errors.InputError, "--images"):
      self._read(images="/nowhere")
    self._write("ImageList/TrainImagelist.txt", "a.jpg\na.jpg\nb.jpg\n")
    with self.assertRaisesRegex(errors.InputError, "txt:2: .*line 1"):
      self._read()


if __name__ == "__main__":
  absltest.main()
