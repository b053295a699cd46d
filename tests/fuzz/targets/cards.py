"""The card of a converted split, and the shards it speaks of."""

import os
import tempfile

from kdwsd import files
from kdwsd.data import record_files
from tests.data import fake_records
from tests.fuzz import grammar as g
from tests.fuzz import oracle

PLACES = r"^train\.json|^train-\d+-of-\d+\.tfrecord|^: expected a directory"
_SHARD = "train-00000-of-00001.tfrecord"
_MADE = {}


def sound():
  """{path: bytes} of a small split, and its card as a dict; made once."""
  if not _MADE:
    with tempfile.TemporaryDirectory() as folder:
      fake_records.write(folder, "train", 3)
      for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
          _MADE[name] = file.read()
      _MADE["card"] = files.read_json(os.path.join(folder, "train.json"))
  return ({name: content for name, content in _MADE.items()
           if name != "card"}, _MADE["card"])


def examples():
  """A small split."""
  return [sound()[0]]


def grammar():
  """Its card with something wrong."""
  case, card = sound()
  return g.altered_json(card).map(
      lambda content: {**case, "train.json": content})


def check(folder):
  """As many shards, and as many classes, as the card says."""
  found = record_files.open_split(folder, "train")
  oracle.demand(found.num_images >= 0, f"{found.num_images} images")
  oracle.demand(len(set(found.classes)) == len(found.classes)
                and found.classes, f"classes {found.classes!r}")
  for name in found.classes:
    oracle.demand(isinstance(name, str), f"class {name!r}")
  oracle.demand(all(os.path.isfile(path) for path in found.paths),
                "a shard that is not there")
