"""Open Images: CSV files of labels, of boxes and of names."""

import os

from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.data.sources import openimages
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^labels\.csv|^boxes\.csv|^names\.csv|^--classes|^images|--images"
_EACH = r"^(labels|boxes)\.csv:\d+: "
_HEADER = b"ImageID,Source,LabelName,Confidence\n"
_LABELS = _HEADER + (b"aa,verification,/m/dog,1\naa,verification,/m/cat,0\n"
                     b"bb,verification,/m/cat,1\nzz,verification,/m/cat,1\n")
_NAMES = b"/m/cat,Cat\n/m/dog,Dog\n"
_BOXES = (b"ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
          b"aa,/m/dog,0.1,0.5,0.2,0.8,0\naa,/m/cat,0,1,0,1,1\n")
_IMAGES = {"images/aa.jpg": b"x", "images/bb.png": b"x"}


def examples():
  """Sound files, with and without boxes and names."""
  machine = b"\xef\xbb\xbf" + _HEADER.replace(b"\n", b"\r\n") + (
      b"aa,machine,/m/dog,0.7\r\nbb,machine,/m/dog,0.2\r\n")
  return [{"labels.csv": _LABELS, "names.csv": _NAMES, "boxes.csv": _BOXES,
           **_IMAGES},
          {"labels.csv": _LABELS, "names.csv": b"LabelName,DisplayName\n"
           + _NAMES, **_IMAGES},
          {"labels.csv": machine, **_IMAGES}]


def grammar():
  """Rows under a header, with odd ids, labels and numbers."""
  one, label = g.names("aa", "bb", "zz"), g.names("/m/cat", "/m/dog", "/m/x")
  row = st.builds(
      lambda *fields: ",".join(fields), one, g.names("verification", "x"),
      label, g.mostly(g.names("0", "1", "0.7"), g.odd_numbers()))
  box = st.builds(lambda *fields: ",".join(fields), one, label,
                  *[g.numbers(0, 1)] * 4, g.names("0", "1", "-1"))
  name = st.builds(lambda *fields: ",".join(fields), label, g.names(
      "Cat", "Dog", '"a, b"', "Cat (/m/cat)"))

  def table(header, rows, odd):
    return g.files(st.builds(
        lambda head, made: head + "".join(one + "\n" for one in made),
        g.mostly(st.just(header.decode()), st.sampled_from(odd)),
        st.lists(g.mostly(rows, g.texts()), max_size=6)))

  return st.builds(
      lambda labels, names, boxes: {
          "labels.csv": labels, **names, **boxes, **_IMAGES},
      table(_HEADER, row, ["", "ImageID\n", "ImageID,LabelName,Confidence\n"]),
      g.mostly(st.just({"names.csv": _NAMES}), table(
          b"", name, ["LabelName,DisplayName\n", ","]).map(
              lambda content: {"names.csv": content})),
      st.one_of(st.just({}), table(
          _BOXES.partition(b"\n")[0] + b"\n", box, ["XMin\n"]).map(
              lambda content: {"boxes.csv": content})))


def check(folder):
  """Every image is one of those there, and its labels are in its lines."""
  given = ("Dog", "/m/cat")
  try:
    found, _ = _check(folder, given)
    oracle.demand(found.classes == given, "other classes")
  except errors.InputError as error:
    oracle.refusal(error, folder, PLACES)
  found, messages = _check(folder, None)
  text = sourced.read(os.path.join(folder, "labels.csv")).decode("utf-8-sig")
  for item in found.items:
    oracle.demand(item.image_id in text, f"image {item.image_id!r}")
    both = set(item.label_ids) & set(item.unknown_label_ids)
    oracle.demand(not both, f"labels {both} are present and unknown")
  sourced.stop(lambda problems: _read(folder, None, problems), messages)


def _read(folder, classes, problems):
  names, boxes = (os.path.join(folder, one) for one in
                  ("names.csv", "boxes.csv"))
  return openimages.read(
      os.path.join(folder, "labels.csv"), classes=classes, problems=problems,
      images=os.path.join(folder, "images"), min_confidence=0.5,
      class_descriptions=names if os.path.exists(names) else None,
      boxes=boxes if os.path.exists(boxes) else None)


def _check(folder, classes):
  return sourced.check(
      lambda problems: _read(folder, classes, problems), folder, _EACH)
