"""Tests of what separates labels that share a field."""

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd.data.sources import csv_names


def _parted(fields, classes=None, separator=None):
  """What comes of some fields: how, and the names of each."""
  how, part = csv_names.find(fields, classes, separator)
  return how, [part(field) for field in fields]


class CsvNamesTest(parameterized.TestCase):

  @parameterized.parameters(
      # Each alone, or first here and last there.
      (["person,boat", "person", "boat, dog", "dog"], "separated by ','",
       [["person", "boat"], ["person"], ["boat", "dog"], ["dog"]]),
      (["person boat", "person", "boat dog", "dog"], "separated by ' '",
       [["person", "boat"], ["person"], ["boat", "dog"], ["dog"]]),
      (["a,b,c", "a", "b", "c", "d,a"], "separated by ','",
       [["a", "b", "c"], ["a"], ["b"], ["c"], ["d", "a"]]),
      # A space belongs to a name unless all prove otherwise.
      (["stop sign", "person", ""], "one a field",
       [["stop sign"], ["person"], []]),
      ([f"class number {i:04d}" for i in range(40)], "one a field",
       [[f"class number {i:04d}"] for i in range(40)]),
      (["black cat", "white cat", "black dog", "cat/kitten"], "one a field",
       [["black cat"], ["white cat"], ["black dog"], ["cat/kitten"]]),
      (["fire truck", "truck", "fire hydrant"], "one a field",
       [["fire truck"], ["truck"], ["fire hydrant"]]),
      (["stop sign; person", "|a"], "separated by ';' or '|'",
       [["stop sign", "person"], ["a"]]),
      (["$5 & $10 bill", "café"], "one a field", [["$5 & $10 bill"], ["café"]]),
      (["bow (decorative ribbons)", "it's"], "one a field",
       [["bow (decorative ribbons)"], ["it's"]]))
  def test_plain_fields(self, fields, how, names):
    self.assertEqual(_parted(fields), (how, names))

  @parameterized.parameters(
      ("['person', 'boat']", ["person", "boat"]), ("[]", []), ("[ ]", []),
      ('["person", "boat"]', ["person", "boat"]), ("['person']", ["person"]),
      ("('person', 'boat')", ["person", "boat"]), ("('person',)", ["person"]),
      ("{'person'}", ["person"]), ("set()", []), ("()", []), ("", []),
      ("['person' 'boat']", ["person", "boat"]),  # NumPy's, no one string.
      ("['person'\n 'boat']", ["person", "boat"]),
      ("[person, boat]", ["person", "boat"]), ("[person]", ["person"]),
      (r"['it\'s', 'a,b']", ["it's", "a,b"]), ("[1, 2]", ["1", "2"]),
      (r'["caf\u00e9"]', ["café"]), ('["it\'s", \'b\']', ["it's", "b"]))
  def test_lists(self, field, names):
    self.assertEqual(_parted([field, "[]"]), ("lists", [names, []]))

  @parameterized.parameters(
      "[null]", "[[1]]", "[{}]", r"['\x1']", r"['\N{no such}']",
      "[os.system('x')]", "['a'b]", "['a', b]", "['a'", "a", "7", "a, b")
  def test_other_lists_are_refused_where_they_stand(self, field):
    _, part = csv_names.find([field, "['a']"], None, None)
    with self.assertRaises(csv_names.NotAListError):
      part(field)

  @parameterized.parameters(
      (["person,boat"], "person,boat", "--label_separator=,"),
      (["tench, Tinca tinca", "goldfish, Carassius"], "goldfish", "=,"),
      (["Tomato, ripe", "Tomato, unripe", "Potato, ripe"], "Potato", "=,"),
      (["a;b,c", "d"], "a;b,c", "--label_separator"),
      (["hot dog", "hot", "dog", "stop sign"], "hot dog", "=space"),
      (["haze primary", "clear primary", "clear primary water"],
       "clear primary", "=space"),
      (["a b", "a c", "a d", "b c", "b d", "c d"], "b c", "=space"),
      (["person boat", "boat dog", "dog cat", "boat person"], "boat", "=space"),
      (["cat/dog", "cat", "dog"], "cat/dog", "--label_separator=/"),
      (["cat/dog", "cat", "yak"], "cat/dog", "--label_separator=/"),
      (["cat / dog", "dog"], "cat / dog", "--label_separator=/"),
      (["yak&cat", "cat&dog"], "cat&dog", "'--label_separator=&'"),
      (["cat+dog", "dog+cat"], "cat", "--label_separator=.,"),
      (["[a]", "b"], "[a]", "brackets"), (["'a'", "b"], "'a'", "quotes"),
      (['"a"', "b"], '"a"', "quotes"), (["a]", "b"], "a]", "brackets"))
  def test_what_is_not_certain_names_the_flag(self, fields, where, flag):
    with self.assertRaisesRegex(csv_names.UncertainError, flag) as raised:
      csv_names.find(fields, None, None)
    self.assertStartsWith(raised.exception.field, where)
    self.assertTrue(raised.exception.received)

  @parameterized.parameters(
      (["person,boat"], ",", ["person", "boat"]),
      (["person boat"], "space", ["person", "boat"]),
      (["person boat"], " ", ["person", "boat"]),
      (["a,b;c"], ";", ["a,b", "c"]), (["a.b"], ".", ["a", "b"]),
      (["a|b;c"], "|", ["a", "b;c"]), (["a - b-c"], " - ", ["a", "b-c"]),
      (["a,b"], "none", ["a,b"]), (["a\tb"], "tab", ["a", "b"]),
      (["['a,b']"], ",", ["a,b"]))
  def test_a_separator_that_is_given(self, fields, separator, names):
    self.assertEqual(_parted(fields, separator=separator)[1], [names])

  @parameterized.parameters(
      (["a,b;[x]", "a,b"], [["a,b", "[x]"], ["a,b"]]),
      (["person,boat"], [["person", "boat"]]),
      (["person boat", "stop sign"], [["person", "boat"], ["stop sign"]]),
      (["a,b", "[x]", "person"], [["a,b"], ["[x]"], ["person"]]),
      (["person\tboat"], [["person", "boat"]]),
      (["p|q;boat"], [["p|q", "boat"]]))
  def test_names_of_a_class_list_are_never_parted(self, fields, names):
    classes = ("a,b", "[x]", "person", "boat", "stop sign", "p|q")
    self.assertEqual(_parted(fields, classes)[1], names)

  def test_a_name_outside_the_class_list_may_hide_one_of_it(self):
    with self.assertRaises(csv_names.UncertainError):
      csv_names.find(["person,kite"], ("person",), None)


if __name__ == "__main__":
  absltest.main()
