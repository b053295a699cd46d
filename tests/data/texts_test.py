"""Tests of lines, and of what messages show."""

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import texts


class TextsTest(parameterized.TestCase):

  @parameterized.parameters(
      ("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\r\nb\rc\n\n", [
          "a", "b", "c", ""]), ("\n", [""]), ("a\fb\u2028c\x85d\x1ce", [
              "a\fb\u2028c\x85d\x1ce"]))
  def test_lines_are_an_editors(self, text, lines):
    self.assertEqual(texts.lines(text), lines)

  def test_what_is_fit_is_shown_as_it_is(self):
    self.assertEqual(texts.shown("potted plant é 😀"), "potted plant é 😀")
    self.assertEqual(texts.quoted([1, "a"]), "[1, 'a']")

  @parameterized.parameters(
      "a\nb", "a\0", "\x1b[31m", "\u2028", "\ud800", "x" * 10_000, 10 ** 4000,
      [[[[[[[[1]]]]]]]], ({"a": ["b" * 5000] * 5000},), None, 1.5, float("nan"))
  def test_whatever_it_is_one_short_line_shows_it(self, value):
    for text in (texts.shown(value), texts.quoted(value)):
      self.assertLen(text.splitlines(), 1)
      self.assertLess(len(text), 1500)
      text.encode("utf-8")
      self.assertNotIn("\x1b", text)

  def test_what_is_nested_deep_is_shown(self):
    value = []
    for _ in range(900):  # As deep as a JSON file can make it.
      value = [value]
    self.assertLess(len(texts.quoted(value)), 100)

  @parameterized.parameters("", "a", "a b", "é", "a" * 1000, "a\u00a0b")
  def test_a_name(self, name):
    texts.check_name(name, "x.txt:3", "a path")

  @parameterized.parameters(
      "a\0", "a\n", "\t", "\x85", "\u2029", "\udc80", "a" * 1001, None, 5, b"a")
  def test_no_name(self, name):
    with self.assertRaisesRegex(
        errors.InputError, "^x.txt:3: expected a path of .*Received: "):
      texts.check_name(name, "x.txt:3", "a path")


if __name__ == "__main__":
  absltest.main()
