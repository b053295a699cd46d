"""YOLO: data.yaml, lists of images, and label files."""

import os

from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.data.sources import yolo
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = (r"^data\.yaml|^images|^labels|^train\.txt|^classes\.txt|^--classes|"
          r"^: expected the (names|split)|^more|^obj_|^train")
_EACH = r"^(labels/[ab]\.txt|train\.txt):\d+: |^labels/[ab]\.txt: |images/"
_YAML = b"path: .\ntrain: images\nnc: 2\nnames: [boat, person]\n"
_LABELS = b"1 0.5 0.5 0.2 0.5\n0 0.85 0.2 0.3 0.2\n"
_IMAGES = {"images/a.jpg": b"x", "images/b.jpg": b"x"}


def examples():
  """Sound data sets of four layouts."""
  labels = {"labels/a.txt": _LABELS, "labels/b.txt": b""}
  polygon = b"0 .1 .1 .5 .1 .3 .6\n1 .1 .1 .2 .1 .2 .2 .1 .2\n"
  return [
      {"data.yaml": _YAML, **_IMAGES, **labels},
      {"data.yaml": _YAML, **_IMAGES, "labels/a.txt": polygon},
      {"data.yaml": b"train: ../train.txt\nnames:\n  0: boat\n  1: person\n",
       "train.txt": b"./images/a.jpg\nimages\\b.jpg\n", **_IMAGES, **labels},
      {"classes.txt": b"0 boat\n1 person\n",
       "train.txt": b"data/images/a.jpg\n", **_IMAGES, **labels}]


def grammar():
  """Odd numbers in label files, odd values in data.yaml, odd paths."""
  row = st.builds(
      lambda one, values, between: between.join([one, *values]),
      g.mostly(st.sampled_from("01"), st.one_of(
          g.odd_numbers(), g.numbers(-1, 3))),
      g.mostly(st.lists(g.numbers(0, 1), min_size=4, max_size=4),
               st.lists(g.numbers(-1, 2), max_size=11)),
      g.mostly(st.just(" "), st.sampled_from(["\t", "  ", ",", "\v"])))
  labels = g.files(st.lists(row, max_size=4).map(
      lambda rows: "".join(one + "\n" for one in rows)))
  value = g.mostly(
      g.names("images", "train.txt", "../images", "."), st.sampled_from(
          ["[images, train.txt]", "~", "{a: b}", "*a", "&a images", "!!x y",
           "[", "[[images]]", "images/..", "'a\\0b'", "[images, images]"]))
  in_yaml = g.files(st.builds(
      lambda root, train, names, more: (
          f"path: {root}\ntrain: {train}\nnames: {names}\n{more}\n"),
      value, value, g.mostly(st.just("[boat, person]"), g.names(
          "{0: boat, 1: person}", "[boat]", "boat", "[no, 1]", "[a, a]")),
      g.mostly(st.just(""), g.names(
          "kpt_shape: [1, 2]", "nc: 3", "kpt_shape: [9999, 9999]", "x: *a"))))
  listed = g.files(st.lists(g.names(
      "images/a.jpg", "./images/b.jpg", "images\\a.jpg", "C:\\a.jpg"),
                            max_size=4).map("\n".join))
  return st.builds(
      lambda yaml, a, b, names, more: {
          "data.yaml": yaml, "labels/a.txt": a, "labels/b.txt": b,
          "train.txt": names, **_IMAGES, **more},
      g.mostly(st.just(_YAML), in_yaml), labels, labels, listed,
      g.mostly(st.just({}), st.sampled_from(
          [{"classes.txt": b"boat\n"}, {"more/c.jpg": b"x"}])))


def check(folder):
  """Every image is there or a problem, and every label of its file."""
  path = os.path.join(folder, "data.yaml")
  path = path if os.path.exists(path) else folder
  given = ("person", "yak")
  try:
    found, _ = _check(path, given, folder)
    oracle.demand(found.classes == given, "other classes")
  except errors.InputError as error:
    oracle.refusal(error, folder, PLACES)
  found, messages = _check(path, None, folder)
  for item in found.items:
    if item.where.endswith(".txt"):
      rows = [line for line in sourced.lines(sourced.read(item.where))
              if line.strip()]
      oracle.demand(
          len(rows) == len(item.objects.boxes) + item.objects.dropped,
          f"lines lost: {len(item.objects.boxes)} of {rows}")
      oracle.demand(
          set(item.label_ids) == {int(float(row.split()[0])) for row in rows},
          f"labels {item.label_ids} of {rows}")
  sourced.stop(lambda problems: yolo.read(path, problems=problems), messages)


def _check(path, classes, folder):
  return sourced.check(
      lambda problems: yolo.read(path, classes=classes, problems=problems),
      folder, _EACH)
