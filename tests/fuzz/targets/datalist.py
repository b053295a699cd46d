"""The Caffe datalist, in both of its frames."""

import os

from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.data.sources import datalist
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^train\.txt"
_EACH = r"^train\.txt:\d+: "
_CLASSES = ("cat", "dog", "yak")
_FRAMES = {"warped672": (9, 9), "original": (480, 640)}


def examples():
  """Sound datalists."""
  return [{"train.txt": text.encode("utf-8")} for text in (
      "a.jpg 1 0 1 0 0 671 335 0.5 336 0 671 671 0.7\n\nb/c.jpg 0 0 0\n",
      "a.jpg 1 0 1\nb.jpg 0 1 0 3 4 100.5 200 1e-3\n",
      "\ufeffphotos/é.png\t0 0 1\t-1 0 672 671.5 1\r\nb.jpg 0 0 0\r\n",
      "".join(f"{i}.jpg 0 1 0" + " 1 2 30 40 .5" * i + "\n"
              for i in range(6)))]


def grammar():
  """Lines of fields, each of which may be odd."""
  box = st.tuples(g.numbers(0, 300), g.numbers(0, 300), g.numbers(300, 480),
                  g.numbers(300, 480), g.numbers(0, 1)).map(" ".join)
  labels = st.lists(g.mostly(st.sampled_from("01"), g.odd_numbers()),
                    min_size=3, max_size=3).map(" ".join)
  labels = g.mostly(labels, st.lists(st.sampled_from("01"), max_size=6).map(
      " ".join))
  line = st.builds(
      lambda name, y, boxes, end: " ".join([name, y, *boxes]) + end,
      g.names("a.jpg", "b.jpg", "c/d.jpg", "e.jpg"), labels,
      st.lists(box, max_size=4), g.mostly(st.just("\n"), st.sampled_from(
          [" \n", "\n\n", "\r\n", "", "\r", "\x0b"])))
  return st.lists(line, max_size=5).map("".join).flatmap(
      lambda text: g.files(st.just(text))).map(
          lambda content: {"train.txt": content})


def check(folder):
  """Every line is an image or a problem; every number is where it belongs."""
  path = os.path.join(folder, "train.txt")
  content = sourced.read(path)
  rows = content.split(b"\n")
  messages = []
  for frame, (height, width) in _FRAMES.items():
    def read(problems, frame=frame):
      return datalist.read(
          path, classes=_CLASSES, frame=frame, problems=problems)

    found, messages = sourced.check(read, folder, _EACH)
    listed = sum(bool(row.strip()) for row in rows)
    oracle.demand(len(found.items) + len(messages)
                  + oracle.num_repeated(messages) == listed,
                  f"lines lost: {listed} lines, {len(found.items)} images, "
                  f"{len(messages)} problems")
    oracle.demand(tuple(found.classes) == _CLASSES, "other classes")
    for message in messages:
      oracle.line_exists(message, "train.txt", len(rows))
    for item in found.items:
      row = rows[int(item.where.rpartition(":")[2]) - 1]
      _check_item(item, row.decode("utf-8-sig").split(), folder, height,
                  width)
  sourced.stop(read, messages)


def _check_item(item, fields, folder, height, width):
  # `./a.jpg` and `x//a.jpg` name `a.jpg` and `x/a.jpg`.
  parts = item.image_id.replace("\\", "/").split("/")
  written = fields[0].replace("\\", "/").split("/")
  oracle.demand(
      [part for part in parts if part not in ("", ".")]
      == [part for part in written if part not in ("", ".")],
      "an image of another line")
  labels = tuple(i for i in range(3) if fields[1 + i] == "1")
  oracle.demand(item.label_ids == labels,
                f"labels changed: {item.label_ids} of {labels}")
  try:
    boxes, scores = datalist.read_proposals(item.proposals, height, width)
  except errors.InputError as error:
    oracle.refusal(error, folder, _EACH)
    return
  oracle.boxes(boxes, scores, inside=True)
  oracle.demand(5 * len(boxes) == len(fields) - 4,
                f"proposals lost: {len(boxes)} of {(len(fields) - 4) / 5}")
