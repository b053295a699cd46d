"""Inference over a split, averaged over image sizes and mirror images.

WSDDN (Bilen & Vedaldi, CVPR 2016, sec. 4) sums the proposal scores of 5 sizes x
2 flips. We average them: the ranking is the same, image scores stay in [0, 1]
and thresholds keep their meaning.
"""

import dataclasses
import itertools
import sys
from typing import Optional

import numpy as np
import tensorflow as tf
import tqdm

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.evaluation import device_batches

_READ = ("image", "proposals", "objectness", "valid")


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Scores of one image, padding removed.

  Attributes:
    image_scores: [C] float32 in [0, 1].
    boxes: [N, 4] float32, proposals of the upright image, not mirrored; None
      for a classifier.
    proposal_scores: [N, C] float32; None for a classifier.
    objectness: [N] float32, of the proposals; None for a classifier.
  """
  image_scores: np.ndarray
  boxes: Optional[np.ndarray]
  proposal_scores: Optional[np.ndarray]
  objectness: Optional[np.ndarray]


def predict(model, record_set, *, sizes=(672,), mirror=False,
            num_proposals=500, batch_size=None, progress=True):
  """Predicts a split and yields one image at a time, to bound memory.

  Args:
    model: function that maps a batch, see `input_pipeline.evaluation_batches`,
      to a dictionary with `image_scores` [B, C] and, if it is a detector,
      `proposal_scores` [B, R, C].
    record_set: `record_files.RecordSet`.
    sizes: sides S to which images are warped; scores are averaged over them.
    mirror: whether to average over the image and its mirror image.
    num_proposals: R; proposals beyond it are dropped.
    batch_size: B; None for that of the device, see `device_batches`.
    progress: whether to show a progress bar.

  Yields:
    A `Prediction` for each record, in order.

  Raises:
    errors.InputError: a score is not finite, or a record is invalid.
  """
  batch_size = batch_size or device_batches.default_size(
      max(sizes), num_proposals)

  # One trace per shape: with unknown sides of `crop_and_resize`, TensorFlow's
  # graph optimizer logs a page-long warning.
  @tf.function(autograph=False)
  def score(batch):
    outputs = model(batch)
    return {name: outputs[name] for name in ("image_scores", "proposal_scores")
            if name in outputs}

  datasets = [
      device_batches.copied_ahead(input_pipeline.evaluation_batches(
          record_set, size=size, num_proposals=num_proposals,
          batch_size=batch_size)) for size in sizes]
  with record_files.naming_faults(record_set), tqdm.tqdm(
      total=record_set.num_images, unit="image", desc="predict",
      disable=not progress,
      mininterval=0.5 if sys.stderr.isatty() else 60.0) as bar:
    for predictions in _fused(
        device_batches.Filled(score, batch_size), datasets, mirror):
      yield from predictions
      bar.update(len(predictions))


def _fused(score, datasets, mirror):
  """Yields a list of `Prediction` for each batch, averaged over its views.

  Args:
    score: function of a batch to a dictionary of NumPy arrays.
    datasets: of batches of the same images at several sides.
    mirror: whether to add the view of the mirror image at each side.
  """
  ways = ((lambda batch: batch), input_pipeline.mirrored)[:1 + mirror]
  for batches in zip(*datasets):
    fused = {}
    for batch, way in itertools.product(batches, ways):
      view = way(batch)
      for name, scores in score({key: view[key] for key in _READ}).items():
        share = scores.astype(np.float32) / (len(batches) * len(ways))
        fused[name] = fused.get(name, 0.0) + share
    _check_finite(fused, batches[0]["example_index"].numpy())
    boxes = batches[0]["proposals"].numpy()                       # [B, R, 4]
    objectness = batches[0]["objectness"].numpy()                 # [B, R]
    valid = batches[0]["valid"].numpy()                           # [B, R]
    if "proposal_scores" in fused:
      yield [Prediction(fused["image_scores"][row], boxes[row][keep],
                        fused["proposal_scores"][row][keep],
                        objectness[row][keep])
             for row, keep in enumerate(valid)]
    else:
      yield [Prediction(scores, None, None, None)
             for scores in fused["image_scores"]]


def _check_finite(fused, indices):
  finite = np.ones([len(indices)], bool)                          # [B]
  for scores in fused.values():
    finite &= np.isfinite(scores).reshape(len(indices), -1).all(axis=1)
  if not finite.all():
    raise errors.InputError(
        "model: expected finite scores; its training has probably diverged. "
        f"Received: NaN or infinity for image {indices[~finite][0]} of the "
        "split (counted from 0).")
