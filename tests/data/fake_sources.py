"""A small source of every format, made on the spot."""

import json
import os

import numpy as np
import tensorflow_datasets as library

from kdwsd import places
from kdwsd.data.sources import coco
from kdwsd.data.sources import csv_labels
from kdwsd.data.sources import datalist
from kdwsd.data.sources import nuswide
from kdwsd.data.sources import openimages
from kdwsd.data.sources import tfds
from kdwsd.data.sources import voc
from kdwsd.data.sources import yolo
from tests.data import fake_sets
from tests.data import fake_tfds

_NAMES = [f"{number:06d}" for number in range(5)]

# The image that `damaged` damages.
DAMAGED = _NAMES[3]


def make(kind, root, problems, damaged=False):
  """Writes a data set of 5 images and reads it.

  Args:
    kind: one of `KINDS`.
    root: folder to write it to.
    problems: `sources.Problems`.
    damaged: whether one of the images is no image.

  Returns:
    A `sources.Source`.
  """
  for number, name in enumerate(_NAMES):
    content = fake_sets.encoded(fake_sets.pixels(seed=number))
    if damaged and name == DAMAGED:
      content = b"no image"
    _write(root, f"images/{name}.jpg", content)
  return KINDS[kind](root, problems)


def _write(root, name, content):
  return fake_sets.write(os.path.join(root, name), content)


def _images(root):
  return os.path.join(root, "images")


def _read_coco(root, problems):
  path = _write(root, "instances.json", json.dumps({
      "images": [{"id": number, "file_name": f"{name}.jpg", "height": 24,
                  "width": 32} for number, name in enumerate(_NAMES)],
      "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
      "annotations": [
          {"id": number, "image_id": number, "category_id": 7 + number % 2 * 2,
           "bbox": [1.1, 2.3 + number, 9.7, 8.9], "iscrowd": number % 3 // 2,
           "area": 80} for number in range(4)]}))
  return coco.read(None, annotations=path, images=_images(root),
                   problems=problems)


def _read_csv(root, problems):
  path = _write(root, "labels.csv", "path,cat,dog\n" + "".join(
      f"{name}.jpg,{number % 2},{number % 3 - 1}\n"
      for number, name in enumerate(_NAMES)))
  return csv_labels.read(path, images=_images(root), problems=problems)


def _read_datalist(root, problems):
  path = _write(root, "list.txt", "".join(
      f"{name}.jpg 1 {number % 2} 0 0 {9 + number} 9 .5 3 1 31 23 .7\n"
      for number, name in enumerate(_NAMES)))
  return datalist.read(path, classes=("cat", "dog"), images=_images(root),
                       problems=problems)


def _read_nuswide(root, problems):
  _write(root, "ImageList/TrainImagelist.txt",
         "".join(f"{name}.jpg\n" for name in _NAMES))
  _write(root, "ConceptsList/Concepts81.txt", "airport\nzebra\n")
  for number, name in enumerate(("airport", "zebra")):
    _write(root, f"Groundtruth/TrainTestLabels/Labels_{name}_Train.txt",
           "".join(f"{(i + number) % 2}\n" for i in range(len(_NAMES))))
  return nuswide.read(root, images=_images(root), problems=problems)


def _read_openimages(root, problems):
  labels = _write(root, "labels.csv", "ImageID,Source,LabelName,Confidence\n"
                  + "".join(f"{name},verification,/m/{'cd'[number % 2]},1\n"
                            for number, name in enumerate(_NAMES)))
  boxes = _write(
      root, "boxes.csv", "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,"
      "YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
      + "".join(f"{name},xclick,/m/c,1,0.1,0.7,0.{number},0.9,0,0,0,0,0\n"
                for number, name in enumerate(_NAMES)))
  names = _write(root, "names.csv",
                 "LabelName,DisplayName\n/m/c,Cat\n/m/d,Dog\n")
  return openimages.read(labels, images=_images(root), boxes=boxes,
                         class_descriptions=names, problems=problems)


def _read_tfds(root, problems):
  features = library.features
  examples = []
  for number, name in enumerate(_NAMES):
    with open(os.path.join(root, "images", name + ".jpg"), "rb") as file:
      examples.append({
          "image": file.read(), "objects": [{
              "bbox": features.BBox(.1, .2, .5 + number / 10, .9),
              "label": number % 2, "is_difficult": number == 2}]})
  fake_tfds.prepare(root, "boxes", {
      "image": features.Image(), "objects": features.Sequence({
          "bbox": features.BBoxFeature(), "is_difficult": np.bool_,
          "label": features.ClassLabel(names=["cat", "dog"])})}, examples)
  return tfds.read("boxes", data_dir=root, problems=problems)


def _read_voc(root, problems):
  fake_sets.write_voc(root, num_images=len(_NAMES))
  for name in _NAMES:
    places.rename(os.path.join(root, "images", name + ".jpg"), os.path.join(
        root, "VOC2007", "JPEGImages", name + ".jpg"))
  return voc.read(root, problems=problems)


def _read_yolo(root, problems):
  _write(root, "data.yaml", "names: [cat, dog]\ntrain: images\n")
  for number, name in enumerate(_NAMES):
    _write(root, f"labels/{name}.txt", f"{number % 2} .5 .5 .2 .{number + 1}\n")
  return yolo.read(root, problems=problems)


KINDS = {"coco": _read_coco, "csv": _read_csv, "datalist": _read_datalist,
         "nuswide": _read_nuswide, "openimages": _read_openimages,
         "tfds": _read_tfds, "voc": _read_voc, "yolo": _read_yolo}
