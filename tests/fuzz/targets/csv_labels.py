"""CSV files of paths and labels: any separator, in every form."""

import ast
import itertools
import os
import re

from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.data.sources import csv_columns
from kdwsd.data.sources import csv_labels
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^labels\.csv|^--(classes|csv_separator|ignore_columns)"
_EACH = r"^labels\.csv:\d+: "


def examples():
  """Sound files."""
  return [{"labels.csv": text.encode("utf-8")} for text in (
      "path,labels\nholiday/beach.jpg,person;boat\nholiday/empty.jpg,\n",
      "path,labels\r\na.jpg,cat|dog\r\nb.jpg,cat\r\n",
      "path,person,boat\na.jpg,1,1\nb.jpg,0,?\nc.jpg,0,0\n",
      "\ufeffpath,labels\n\"a, b.jpg\",\"cat\"\n\n\"c \"\"d\"\".jpg\",dog\n",
      "path,é,b\n" + "".join(f"{i}.jpg,{i % 2},?\n" for i in range(20)),
      "path;labels;split\na.jpg;cat,dog;train\nb.jpg;cat;test\nc.jpg;dog;\n",
      "\timage_id\tlabels\n0\ta\t\"['cat', 'dog']\"\n1\tb\t[]\n",
      "path,labels\na.jpg,\"[\"\"cat\"\", \"\"it's\"\"]\"\nb.jpg,['dog']\n",
      "filename, unlabeled, cat, dog\na.jpg, 0, 1, 1\nb.jpg, 1, 0, 0\n",
      "filename,width,height,class,xmin,ymin,xmax,ymax\n"
      "a.jpg,99,99,cat,1,2,30,40\na.jpg,99,99,dog,3,4,5.5,6\nb.jpg,9,9,,,,,\n",
      "sep=;\nimage;cat;dog;age\na.jpg;True;False;7\na.jpg;0.0;1.0;9\n",
      "path,labels\nc\\a.jpg,cat\nc\\a.jpg,dog\nb.jpg,cat\n",
      "path,labels\na.jpg,cat dog\nb.jpg,dog\nc.jpg,cat\n",
      "path|cat|dog\na.jpg|1|-1\nb.jpg|0|\n")]


def grammar():
  """Rows under a header; quotes, blanks and numbers of fields at odds."""
  name = g.names("a.jpg", "b.jpg", "c/d.jpg", "c\\d.jpg", "7")
  label = g.names("cat", "dog", "yak", " cat ", "", "stop sign", "'cat'")
  several = st.lists(label, max_size=3)
  labels = st.one_of(
      *[several.map(mark.join) for mark in (";", "|", ",", " ")],
      several.map(repr), several.map(lambda names: repr(tuple(names))),
      several.map(lambda names: f"[{' '.join(map(repr, names))}]"))
  value = g.mostly(
      st.sampled_from(["0", "1", "?", "-1", "", "1.0", "False", "true"]),
      g.odd_numbers())
  edge = g.numbers(0, 100)
  quoted = st.booleans()

  def field(text, quote):
    return '"' + text.replace('"', '""') + '"' if quote else text

  by_name = st.tuples(st.builds(field, name, quoted),
                      st.builds(field, labels, quoted)).map(list)
  by_column = st.tuples(st.builds(field, name, quoted), value, value).map(list)
  boxed = st.tuples(name, label, edge, edge, edge, edge).map(list)
  odd = st.lists(st.builds(field, g.texts(), quoted), max_size=4)

  def table(header, row):
    return st.builds(
        lambda head, rows, mark, end: head.replace(",", mark) + end + "".join(
            mark.join(one) + end for one in rows),
        g.mostly(st.just(header), st.one_of(g.texts(), st.sampled_from(
            ["path", "path,", "path,cat,cat", "Path,labels", "path;labels",
             "path,labels,labels", " path , labels ", "a.jpg,cat",
             "image,path", "path,label1,label2", "sep=;\npath;labels",
             "path,split,cat"]))),
        st.lists(g.mostly(row, odd), max_size=6),
        g.mostly(st.just(","), st.sampled_from(";\t|")),
        g.mostly(st.just("\n"), st.sampled_from(["\r\n", "\r", "\n\n"])))

  text = st.one_of(
      table("path,labels", by_name), table("path,cat,dog", by_column),
      table("path,class,xmin,ymin,xmax,ymax", boxed))
  return g.files(text).map(lambda content: {"labels.csv": content})


def check(folder):
  """Every row is in an image or a problem, with the classes given or found."""
  path = os.path.join(folder, "labels.csv")
  content = sourced.read(path)
  given = ("dog", "cat")
  for classes, hints in itertools.product((given, None), (
      csv_columns.Hints(minus_one="absent", blank="unknown"),
      csv_columns.Hints(csv_separator=",", label_separator=";"))):
    try:
      found, _ = _check(path, content, classes, hints, folder)
      oracle.demand(not classes or found.classes == classes, "other classes")
    except errors.InputError as error:
      oracle.refusal(error, folder, PLACES)
  _, messages = _check(path, content, None, csv_columns.Hints(), folder)
  sourced.stop(lambda problems: csv_labels.read(path, problems=problems),
               messages)


def _check(path, content, classes, hints, folder):
  found, messages = sourced.check(
      lambda problems: csv_labels.read(
          path, classes=classes, hints=hints, problems=problems),
      folder, _EACH)
  listed = sourced.lines(content)
  for message in messages:
    oracle.line_exists(message, "labels.csv", len(listed))
  for notice in found.notices:
    oracle.demand(len(notice.splitlines()) == 1, f"notice {notice!r}")
  if b'"' not in content:  # A quoted field may run over lines.
    _check_rows(found, messages, listed)
  text = content.decode("utf-8-sig")
  if classes is None and "\\" not in text:
    oracle.demand(all(name in text for name in found.classes),
                  f"names that the file has not: {found.classes}")
  return found, messages


def _check_rows(found, messages, listed):
  """Every row below the header is an image, has joined one, or is told."""
  separator = ast.literal_eval(
      re.search(r"separator (.*?), image paths in", found.notices[0])[1])
  rows = [row for row in listed if row.replace(separator, " ").strip()]
  num_rows = len(rows) - 1 - len(
      re.findall(r"^\s*sep=.\s*$", rows[0]))
  joined = sum(int(number) for notice in found.notices
               for number in re.findall(r"^Joined (\d+) rows", notice))
  oracle.demand(
      len(found.items) + joined == num_rows if not messages
      else len(found.items) + len(messages) <= num_rows,
      f"lines lost: {num_rows} rows, {len(found.items)} images, {joined} "
      f"joined, {len(messages)} problems")
