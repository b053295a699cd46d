"""COCO's 12 detection metrics, computed by pycocotools.

Source: Lin et al., "Microsoft COCO", ECCV 2014, and its public evaluation.
Known difference: records hold boxes, not masks, so small (< 32 x 32 pixels),
medium and large refer to the area of the box instead of the mask. The metrics
over all areas are exactly COCO's. Crowds are treated as in COCO. VOC's
difficult objects count like all others, because COCO has no such flag. As in
pycocotools, the 100 best detections of each class in each image count;
published detectors often keep only 100 per image over all classes.
"""

import contextlib
import io

import numpy as np
from pycocotools import coco
from pycocotools import cocoeval

from kdwsd import boxes as box_ops

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl",
         "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def twelve_numbers(detections, images, num_classes):
  """Evaluates detections by COCO's rules.

  Evaluates one class at a time, with only the images that have the class or
  detections of it. The result is the same but needs less memory, because
  pycocotools makes millions of small dictionaries.

  Args:
    detections: list of `detection.Detections`, one per image, best first.
    images: list of `records.LabelledImage`, in the same order; those whose
      source has no box annotations are left out.
    num_classes: C.

  Returns:
    Dict of `NAMES` to float in [0, 1]; NaN if there are no such objects.
  """
  annotations = [[] for _ in range(num_classes)]
  found = [[] for _ in range(num_classes)]
  for index, (detected, image) in enumerate(zip(detections, images), start=1):
    if image.truth is None:
      continue
    for class_id, box, crowd in zip(
        image.truth.class_ids, _rectangles(image.truth.boxes, image),
        image.truth.crowd):
      # Ids start at 1, because pycocotools uses 0 for "no match".
      annotations[class_id].append({
          "id": len(annotations[class_id]) + 1, "image_id": index,
          "category_id": 1, "bbox": box.tolist(),
          "area": float(box[2] * box[3]), "iscrowd": int(crowd)})
    for class_id, box, score in zip(
        detected.class_ids, _rectangles(detected.boxes, image),
        detected.scores):
      found[class_id].append((index, *box.tolist(), float(score), 1))
  per_class = []
  for class_id in range(num_classes):
    if annotations[class_id]:
      per_class.append(_accumulate(annotations[class_id], found[class_id]))
    found[class_id] = None
  if not per_class:
    return dict.fromkeys(NAMES, float("nan"))
  whole = cocoeval.COCOeval(iouType="bbox")
  whole.eval = {
      "precision": np.concatenate([p for p, _ in per_class], axis=2),
      "recall": np.concatenate([r for _, r in per_class], axis=1),
  }
  with contextlib.redirect_stdout(io.StringIO()):
    whole.summarize()
  return {name: float(value) if value >= 0 else float("nan")
          for name, value in zip(NAMES, whole.stats)}


def _accumulate(annotations, found):
  """COCO's precision [T, R, 1, A, M] and recall [T, 1, A, M] of one class."""
  truth = coco.COCO()
  image_ids = sorted({a["image_id"] for a in annotations}
                     | {row[0] for row in found})
  truth.dataset = {
      "images": [{"id": i} for i in image_ids],
      "annotations": annotations, "categories": [{"id": 1}]}
  with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    predicted = coco.COCO()
    predicted.dataset = {"images": [], "annotations": [], "categories": []}
    predicted.createIndex()
    if found:
      predicted = truth.loadRes(np.array(found))
    evaluation = cocoeval.COCOeval(truth, predicted, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
  return evaluation.eval["precision"], evaluation.eval["recall"]


def _rectangles(boxes, image):
  """[K, 4] float64 (x, y, width, height) in pixels."""
  pixels = box_ops.to_pixels(boxes, image.height, image.width)
  ymin, xmin, ymax, xmax = pixels.astype(np.float64).T
  return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
