"""Small data sets in the layouts that README.md and docs/*.md name.

Every data set has the same few images, with objects of two classes: a person in
each image, and a boat in every second one.
"""

import json
import pathlib
import pickle
import shutil

import numpy as np
from PIL import Image

_NUM_IMAGES = 16
_PERSON, _BOAT = (5, 5, 60, 60), (10, 10, 80, 50)  # xmin, ymin, xmax, ymax


def write(scenes, folder):
  """Writes all data sets.

  Args:
    scenes: folder with JPEG images, possibly in subfolders.
    folder: `pathlib.Path` to write the data sets to; created if missing.

  Raises:
    ValueError: there are too few images.
  """
  images = sorted(pathlib.Path(scenes).rglob("*.jpg"))[:_NUM_IMAGES]
  if len(images) < _NUM_IMAGES:
    raise ValueError(
        f"{scenes}: expected {_NUM_IMAGES} JPEG images. Received: "
        f"{len(images)}.")
  _photos(folder, images)
  few = images[:4]
  _roboflow_csv(folder, few)
  _voc(folder, few)
  _flat_voc(folder, few)
  _coco(folder, few)
  _yolo(folder, few)
  _open_images(folder, few)
  _nus_wide(folder, few)
  _datalist(folder, few)


def _photos(folder, images):
  """The CSV file of README.md, and the files of docs/data.md."""
  rows = {"train": [], "test": []}
  for number, image in enumerate(images):
    _copy(image, folder / f"photos/{number}.jpg")
    labels = ("person", "person;boat", "")[number % 3]
    rows["test" if number % 4 == 0 else "train"].append(
        f"{number}.jpg,{labels}")
  for split, lines in rows.items():
    _text(folder / f"photos/{split}.csv", ["path,labels", *lines])
  for name in ("photos/beach/1.jpg", "photos/beach/2.jpg", "photos/empty.jpg",
               "photo.jpg"):
    _copy(images[0], folder / name)


def _roboflow_csv(folder, images):
  for split in ("train", "valid"):
    rows = [f"{i}.jpg,1,{i % 2},0" for i in range(len(images))]
    _text(folder / f"{split}/_classes.csv",
          ["filename, person, boat, unlabeled", *rows])
    for i, image in enumerate(images):
      _copy(image, folder / f"{split}/{i}.jpg")


def _voc(folder, images):
  names = [f"{i:06d}" for i in range(len(images))]
  root = folder / "VOCdevkit" / "VOC2007"
  for name, image, objects in zip(names, images, _objects(images)):
    _copy(image, root / f"JPEGImages/{name}.jpg")
    _text(root / f"Annotations/{name}.xml", [_xml(image, objects)])
  for image_set in ("trainval", "test"):
    _text(root / f"ImageSets/Main/{image_set}.txt", names)
  boxes = [np.array([_PERSON, _BOAT], np.float32)] * len(images)
  with open(folder / "voc_2007_trainval.pkl", "wb") as file:
    pickle.dump({"boxes": boxes, "indexes": names,
                 "scores": [np.array([0.9, 0.2])] * len(images)}, file)


def _flat_voc(folder, images):
  for split in ("train", "valid"):
    for i, (image, objects) in enumerate(zip(images, _objects(images))):
      _copy(image, folder / f"roboflow/{split}/{i}.jpg")
      _text(folder / f"roboflow/{split}/{i}.xml", [_xml(image, objects)])


def _coco(folder, images):
  content = {
      "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "boat"}],
      "images": [], "annotations": []}
  for i, (image, objects) in enumerate(zip(images, _objects(images))):
    width, height = _size(image)
    content["images"].append(
        {"id": i, "file_name": f"{i}.jpg", "width": width, "height": height})
    for class_id, (left, top, right, bottom) in objects:
      content["annotations"].append({
          "id": len(content["annotations"]), "image_id": i, "iscrowd": 0,
          "category_id": class_id + 1, "area": 1.0,
          "bbox": [left, top, right - left, bottom - top]})
    _copy(image, folder / f"coco/train2017/{i}.jpg")
  for path in ("coco/annotations/instances_train2017.json",
               "roboflow/train/_annotations.coco.json"):
    _text(folder / path, [json.dumps(content)])


def _yolo(folder, images):
  _text(folder / "dataset/data.yaml", [
      "train: images/train", "val: images/val", "names: [person, boat]"])
  for split in ("train", "val"):
    for i, (image, objects) in enumerate(zip(images, _objects(images))):
      _copy(image, folder / f"dataset/images/{split}/{i}.jpg")
      _text(folder / f"dataset/labels/{split}/{i}.txt", [
          f"{class_id} 0.3 0.3 0.2 0.2" for class_id, _ in objects])


def _open_images(folder, images):
  _text(folder / "oidv7-class-descriptions.csv", [
      "LabelName,DisplayName", "/m/dog,Dog", "/m/cat,Cat", "/m/boat,Boat"])
  for i, image in enumerate(images):
    _copy(image, folder / f"validation/{i:016x}.jpg")
  _text(folder / "validation-annotations-human-imagelabels.csv", [
      "ImageID,Source,LabelName,Confidence",
      *(f"{i:016x},verification,/m/{name},{value}"
        for i in range(len(images))
        for name, value in (("dog", 1), ("cat", i % 2), ("boat", 0)))])
  _text(folder / "validation-annotations-bbox.csv", [
      "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
      "IsTruncated,IsGroupOf,IsDepiction,IsInside",
      *(f"{i:016x},xclick,/m/dog,1,0.1,0.5,0.1,0.5,0,0,0,0,0"
        for i in range(len(images)))])


def _nus_wide(folder, images):
  root = folder / "NUS-WIDE"
  _text(root / "ConceptsList/Concepts81.txt", ["person", "boat"])
  _text(root / "ImageList/TrainImagelist.txt",
        [f"actor\\{i}.jpg" for i in range(len(images))])
  for name, every in (("person", 1), ("boat", 2)):
    _text(root / f"Groundtruth/TrainTestLabels/Labels_{name}_Train.txt",
          [str(int(i % every == 0)) for i in range(len(images))])
  for i, image in enumerate(images):
    _copy(image, root / f"Flickr/actor/{i}.jpg")


def _datalist(folder, images):
  _text(folder / "classes.txt", ["person", "boat"])
  lines = []
  for i, (image, objects) in enumerate(zip(images, _objects(images))):
    _copy(image, folder / f"JPEGImages/{i}.jpg")
    lines.append(f"{i}.jpg 1 {i % 2} " + " ".join(
        f"{left} {top} {right} {bottom} 0.5"
        for _, (left, top, right, bottom) in objects))
  _text(folder / "train.txt", lines)


def _objects(images):
  """(class id, box) of the objects of each image."""
  return [[(0, _PERSON), (1, _BOAT)][:1 + i % 2] for i in range(len(images))]


def _xml(image, objects):
  width, height = _size(image)
  return (
      f"<annotation><size><width>{width}</width><height>{height}</height>"
      "</size>" + "".join(
          f"<object><name>{('person', 'boat')[class_id]}</name><difficult>0"
          f"</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
          f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
          for class_id, (left, top, right, bottom) in objects)
      + "</annotation>")


def _size(image):
  with Image.open(image) as opened:
    return opened.size


def _copy(image, path):
  path.parent.mkdir(parents=True, exist_ok=True)
  shutil.copy(image, path)


def _text(path, lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("\n".join(lines) + "\n", encoding="utf-8")
