"""Tests of the lines that name classes with their images."""

from absl.testing import absltest

from kdwsd.data import class_counts


class ClassCountsTest(absltest.TestCase):

  def test_few_classes_are_all_named_the_most_frequent_first(self):
    self.assertEqual(
        class_counts.lines({"yak": 2, "dog": 10, "['a']": 1, "cat": 2}),
        [("classes", "dog (10), cat (2), yak (2), ['a'] (1)")])

  def test_classes_without_images_and_unknown_labels_are_told(self):
    self.assertEqual(
        class_counts.lines({"yak": 0, "dog": 1, "emu": 0},
                           {"dog": 3, "yak": 1}),
        [("classes", "dog (1)"), ("no image", "2 of 3 classes: yak, emu"),
         ("unknown", "4 labels")])
    self.assertEqual(
        class_counts.lines({"yak": 0}),
        [("classes", "none has an image"), ("no image", "1 of 1 classes: yak")])

  def test_of_many_classes_both_ends_are_named(self):
    lines = class_counts.lines({f"c{i:02d}": i + 1 for i in range(50)})
    self.assertEqual(lines[0], ("classes", ", ".join(
        f"c{i} ({i + 1})" for i in range(49, 41, -1)) + ","))
    self.assertEqual(lines[1], ("", "... 34 more ...,"))
    self.assertEqual(lines[2], ("", ", ".join(
        f"c{i:02d} ({i + 1})" for i in range(7, -1, -1))))

  def test_names_that_differ_in_case_or_spaces_only_are_told(self):
    self.assertEqual(
        class_counts.lines(
            {"Dog": 3, "dog": 2, "stop sign": 1, "stop_sign": 1, "a": 1})[1:],
        [("alike", "Dog and dog, stop sign and stop_sign: different "
          "classes?")])

  def test_names_that_look_alike_are_told(self):
    name = "caf\u00e9"
    for other in ("cafe\u0301", "\u200bcaf\u00e9", "Caf\u00e9"):
      self.assertIn("alike", dict(class_counts.lines({name: 1, other: 1})))
    self.assertNotIn("alike", dict(class_counts.lines({name: 1, "cafe": 1})))

  def test_what_a_terminal_would_obey_is_quoted(self):
    self.assertEqual(class_counts.lines({"a\x1b[31m": 1}),
                     [("classes", "'a\\x1b[31m' (1)")])


if __name__ == "__main__":
  absltest.main()
