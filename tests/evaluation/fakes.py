"""Random images, objects and detections for the tests of evaluation."""

import numpy as np

from kdwsd.data import records
from kdwsd.evaluation import detection


def boxes(rng, count, height=100, width=100):
  """[count, 4] boxes whose edges are whole pixels, so that ties happen."""
  top_left = rng.integers(0, 70, [count, 2])
  size = rng.integers(5, 30, [count, 2])
  edges = np.concatenate([top_left, top_left + size], axis=1)
  return (edges / [height, width, height, width]).astype(np.float32)


def image(boxes_, class_ids, difficult=None, crowd=None, *, name="image",
          unknown=(), height=100, width=100):
  """A labelled image; a class of difficult objects alone is no label."""
  class_ids = np.asarray(class_ids, np.int64)
  none = np.zeros(len(class_ids), bool)
  difficult = none if difficult is None else np.asarray(difficult, bool)
  return records.LabelledImage(
      image_id=name, height=height, width=width,
      label_ids=np.unique(class_ids[~difficult]),
      unknown_label_ids=np.asarray(unknown, np.int64),
      truth=records.Truth(
          boxes=np.asarray(boxes_, np.float32).reshape(-1, 4),
          class_ids=class_ids, difficult=difficult,
          crowd=none if crowd is None else np.asarray(crowd, bool)))


def detections(boxes_, class_ids, scores):
  """Detections, put best first."""
  order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
  return detection.Detections(
      np.asarray(boxes_, np.float32).reshape(-1, 4)[order],
      np.asarray(class_ids, np.int32)[order],
      np.asarray(scores, np.float32)[order])


def split(rng, *, num_images, num_classes, max_objects=6, difficult=0.2,
          crowd=0.0, score_digits=3):
  """Images and detections around their objects, with duplicates and noise."""
  images, found = [], []
  for index in range(num_images):
    count = rng.integers(0, max_objects + 1)
    truth = boxes(rng, count)
    class_ids = rng.integers(0, num_classes, count)
    images.append(image(
        truth, class_ids, rng.random(count) < difficult,
        rng.random(count) < crowd, name=str(index)))
    near = np.repeat(truth, 2, axis=0)
    near = near + rng.normal(0, 0.02, near.shape)
    noise = boxes(rng, 5)
    around = np.concatenate([near, noise]).astype(np.float32)
    ids = np.concatenate(
        [np.repeat(class_ids, 2), rng.integers(0, num_classes, 5)])
    found.append(detections(
        around, ids, np.round(rng.random(len(ids)), score_digits)))
  return images, found
