"""NUS-WIDE's lists: images, concepts, and a column of labels a concept."""

import os

from hypothesis import strategies as st

from kdwsd.data.sources import nuswide
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

_IMAGES = "ImageList/TrainImagelist.txt"
_CONCEPTS = "ConceptsList/Concepts81.txt"
_LABELS = "Groundtruth/TrainTestLabels/Labels_{}_Train.txt"
PLACES = (r"^ImageList/|^ConceptsList/|^Groundtruth/|^Labels_|^Labels/|"
          r"Imagelist\.txt|Concepts81\.txt")
_EACH = r"(TrainImagelist|Labels_\w+_Train)\.txt:\d+: "


def examples():
  """Sound lists."""
  return [
      {_IMAGES: b"actor\\0001_1.jpg\nb\\0002_2.jpg\nc\\3.jpg\n",
       _CONCEPTS: b"airport\nbear\n",
       _LABELS.format("airport"): b"0\n1\n0\n",
       _LABELS.format("bear"): b"1\n1\n0\n"},
      {_IMAGES: b"a/1.jpg\r\nb/2.jpg\r\n", _CONCEPTS: b"sky\r\n",
       _LABELS.format("sky"): b"0\r\n1\r\n"}]


def grammar():
  """Lists whose lines may be odd, missing or too many."""
  def lists(line, sound):
    return g.files(st.one_of(
        st.just(sound), st.lists(line, max_size=5).map(
            lambda rows: "".join(row + "\n" for row in rows))))
  label = g.mostly(st.sampled_from(["0", "1", " 1 "]), g.odd_numbers())
  column = g.files(st.lists(label, min_size=3, max_size=3).map(
      lambda rows: "".join(row + "\n" for row in rows)))
  return st.builds(
      lambda images, concepts, first, second: {
          _IMAGES: images, _CONCEPTS: concepts,
          _LABELS.format("airport"): first, _LABELS.format("bear"): second},
      lists(g.names("a\\1.jpg", "b\\2.jpg", "c/3.jpg"),
            "a\\1.jpg\nb\\2.jpg\nc\\3.jpg\n"),
      lists(g.names("airport", "bear"), "airport\nbear\n"),
      column, g.mostly(column, lists(label, "0\n0\n1\n")))


def check(folder):
  """Every line of the image list is an image or a problem."""
  os.makedirs(os.path.join(folder, "Flickr"))

  def read(problems):
    return nuswide.read(folder, problems=problems)

  found, messages = sourced.check(read, folder, _EACH)
  listed = sourced.lines(sourced.read(os.path.join(folder, _IMAGES)))
  oracle.demand(len(found.items) + len(messages)
                + oracle.num_repeated(messages) == len(listed),
                f"lines lost: {len(listed)} lines, {len(found.items)} images, "
                f"{len(messages)} problems")
  for message in messages:
    oracle.line_exists(message, "TrainImagelist.txt", len(listed))
  for item in found.items:
    line = int(item.where.rpartition(":")[2])
    for label, name in enumerate(found.classes):
      column = sourced.lines(sourced.read(os.path.join(
          folder, _LABELS.format(name))))
      oracle.demand(
          (label in item.label_ids)
          == (column[line - 1].strip() == "1"),
          f"labels changed: {item.image_id} in {name}")
  sourced.stop(read, messages)
