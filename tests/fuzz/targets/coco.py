"""COCO's instances json, with the wrong type in every place."""

import json
import os
import re

from hypothesis import strategies as st

from kdwsd.data.sources import coco
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

_NAME = "annotations/instances_train.json"
PLACES = r"^annotations/instances_train\.json"
_EACH = r"^annotations/instances_train\.json: (images|annotations)\[\d+\]: "

_SOUND = {
    "info": {"year": 2017},
    "images": [
        {"id": 9, "file_name": "000009.jpg", "height": 480, "width": 640},
        {"id": 4, "file_name": "a/4.jpg"},
        {"id": 5, "file_name": "5.jpg", "height": 10, "width": 20}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 3, "bbox": [1, 2, 30.5, 40],
         "iscrowd": 0, "area": 1220.0, "segmentation": [[1, 2, 3, 4]]},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 640, 480],
         "iscrowd": 1},
        {"id": 3, "image_id": 5, "category_id": 1, "bbox": [3, 3, 0, 0]}],
    "categories": [{"id": 1, "name": "person", "supercategory": "person"},
                   {"id": 3, "name": "car"}],
}


_LABELS = {  # As of camera traps, with a root category as Roboflow's.
    "images": [{"id": "a-1", "file_name": "a\\1.jpg"},
               {"id": "7", "file_name": "7.jpg"}],
    "annotations": [
        {"id": "x", "image_id": "a-1", "category_id": 2.0},
        {"id": "y", "image_id": 7, "category_id": "1", "bbox": None,
         "iscrowd": None},
        {"id": "z", "image_id": 7.0, "category_id": 2, "bbox": [],
         "ignore": 1}],
    "categories": [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
        {"id": 2, "name": "dog", "supercategory": "animals"},
        {"id": 3, "name": "dog"}],
}


def examples():
  """Sound files, compact and indented."""
  return [{_NAME: json.dumps(_LABELS).encode()},
          {_NAME: json.dumps(_SOUND).encode()},
          {_NAME: json.dumps(_SOUND, indent=1).encode()},
          {_NAME: json.dumps({**_SOUND, "annotations": []}).encode()}]


def grammar():
  """The sound file with up to three things put, removed or doubled."""
  return st.one_of(g.altered_json(_SOUND), g.altered_json(_LABELS)).map(
      lambda content: {_NAME: content})


def check(folder):
  """Every image and every annotation is there or a problem."""
  os.makedirs(os.path.join(folder, "train"))

  def read(problems):
    return coco.read(folder, image_set="train", problems=problems)

  found, messages = sourced.check(read, folder, _EACH)
  content = json.loads(sourced.read(os.path.join(folder, _NAME)).decode(
      "utf-8-sig"))
  ids = {_key(one.get("id")) for one in content["images"]
         if isinstance(one, dict)}
  owners = [_key(one.get("image_id")) if isinstance(one, dict) else None
            for one in content["annotations"]]
  orphans = set(owners) - ids - {None}
  expected = len(content["images"]) + owners.count(None) + len(orphans)
  joined = sum(int(number) for notice in found.notices for number in re.findall(
      r"(\d+) entries of `images`", notice))
  oracle.demand(len(found.items) + len(messages) + joined == expected,
                f"entries lost: {len(found.items)} images, {joined} joined and "
                f"{len(messages)} problems of {expected}")
  for item in () if joined else found.items:
    of_image = [one for one, owner in zip(content["annotations"], owners)
                if owner == item.image_id]
    labels = item.label_ids + item.unknown_label_ids
    oracle.demand(bool(labels) == bool(of_image), "labels lost")
    boxed = [one for one in of_image if one.get("bbox") not in (None, [])]
    if item.objects is not None:
      there = len(item.objects.boxes) + item.objects.dropped
      oracle.demand(there == len(boxed) == len(of_image),
                    f"objects lost: {there} of {len(of_image)}")
    elif boxed:
      oracle.demand(len(boxed) < len(of_image), "boxes lost")
  sourced.stop(read, messages)


def _key(value):
  """The text of an id, by other means than the reader's; None if it is none."""
  if isinstance(value, float) and value == value // 1:
    value = int(value)
  text = str(value)
  if isinstance(value, bool) or not isinstance(value, (int, str)) or not text:
    return None
  return text
