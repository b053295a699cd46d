"""COCO's instances json, with the wrong type in every place."""

import json
import os

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


def examples():
  """Sound files, compact and indented."""
  return [{_NAME: json.dumps(_SOUND).encode()},
          {_NAME: json.dumps(_SOUND, indent=1).encode()},
          {_NAME: json.dumps({**_SOUND, "annotations": []}).encode()}]


def grammar():
  """The sound file with up to three things put, removed or doubled."""
  return g.altered_json(_SOUND).map(lambda content: {_NAME: content})


def check(folder):
  """Every image and every annotation is there or a problem."""
  os.makedirs(os.path.join(folder, "train"))

  def read(problems):
    return coco.read(folder, image_set="train", problems=problems)

  found, messages = sourced.check(read, folder, _EACH)
  content = json.loads(sourced.read(os.path.join(folder, _NAME)).decode(
      "utf-8-sig"))
  ids = [one.get("id") for one in content["images"] if isinstance(one, dict)]
  ids = {one for one in ids if type(one) is int}
  owners = [one.get("image_id") if isinstance(one, dict) else None
            for one in content["annotations"]]
  nobody = sum(type(one) is not int for one in owners)
  orphans = {one for one in owners if type(one) is int} - ids
  expected = len(content["images"]) + nobody + len(orphans)
  oracle.demand(len(found.items) + len(messages) == expected,
                f"entries lost: {len(found.items)} images and "
                f"{len(messages)} problems of {expected}")
  for item in found.items:
    of_image = [one for one in content["annotations"]
                if isinstance(one, dict) and type(one.get("image_id")) is int
                and str(one["image_id"]) == item.image_id
                and min(one["bbox"][2:]) > 0]
    oracle.demand(len(item.objects.boxes) == len(of_image),
                  f"objects lost: {len(item.objects.boxes)} of "
                  f"{len(of_image)}")
  sourced.stop(read, messages)
