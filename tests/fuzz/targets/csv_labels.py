"""CSV files of paths and labels, in both forms."""

import os

from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.data.sources import csv_labels
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^labels\.csv|^--classes"
_EACH = r"^labels\.csv:\d+: "


def examples():
  """Sound files."""
  return [{"labels.csv": text.encode("utf-8")} for text in (
      "path,labels\nholiday/beach.jpg,person;boat\nholiday/empty.jpg,\n",
      "path,labels\r\na.jpg,cat|dog\r\nb.jpg,cat\r\n",
      "path,person,boat\na.jpg,1,1\nb.jpg,0,?\nc.jpg,0,0\n",
      "\ufeffpath,labels\n\"a, b.jpg\",\"cat\"\n\n\"c \"\"d\"\".jpg\",dog\n",
      "path,é,b\n" + "".join(f"{i}.jpg,{i % 2},?\n" for i in range(20)))]


def grammar():
  """Rows under a header; quotes, blanks and numbers of fields at odds."""
  name = g.names("a.jpg", "b.jpg", "c/d.jpg")
  label = g.names("cat", "dog", "yak", " cat ", "")
  labels = st.lists(label, max_size=3).map(";".join)
  value = g.mostly(st.sampled_from("01?"), g.odd_numbers())
  quoted = st.booleans()

  def field(text, quote):
    return '"' + text.replace('"', '""') + '"' if quote else text

  by_name = st.tuples(st.builds(field, name, quoted),
                      st.builds(field, labels, quoted)).map(list)
  by_column = st.tuples(st.builds(field, name, quoted), value, value).map(list)
  odd = st.lists(st.builds(field, g.texts(), quoted), max_size=4)

  def table(header, row):
    return st.builds(
        lambda head, rows, end: head + end + "".join(
            ",".join(one) + end for one in rows),
        g.mostly(st.just(header), st.one_of(g.texts(), st.sampled_from(
            ["path", "path,", "path,cat,cat", "Path,labels", "path;labels",
             "path,labels,labels", " path , labels "]))),
        st.lists(g.mostly(row, odd), max_size=6),
        g.mostly(st.just("\n"), st.sampled_from(["\r\n", "\r", "\n\n"])))

  text = st.one_of(table("path,labels", by_name),
                   table("path,cat,dog", by_column))
  return g.files(text).map(lambda content: {"labels.csv": content})


def check(folder):
  """Every line is an image or a problem, with the classes given or found."""
  path = os.path.join(folder, "labels.csv")
  content = sourced.read(path)
  given = ("dog", "cat")
  try:
    found, _ = _check(path, content, given, folder)
    oracle.demand(found.classes == given, "other classes")
  except errors.InputError as error:
    oracle.refusal(error, folder, PLACES)
  _, messages = _check(path, content, None, folder)
  sourced.stop(lambda problems: csv_labels.read(path, problems=problems),
               messages)


def _check(path, content, classes, folder):
  found, messages = sourced.check(
      lambda problems: csv_labels.read(
          path, classes=classes, problems=problems), folder, _EACH)
  listed = sourced.lines(content)
  for message in messages:
    oracle.line_exists(message, "labels.csv", len(listed))
  if b'"' not in content:  # A quoted field may run over lines.
    rows = [row for row in listed if row.replace(",", " ").strip()]
    oracle.demand(len(found.items) + len(messages) == len(rows) - 1,
                  f"lines lost: {len(rows)} lines, {len(found.items)} "
                  f"images, {len(messages)} problems")
  return found, messages
