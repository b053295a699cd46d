"""Example requests for checking and warming up an export."""

import dataclasses

import numpy as np
import tensorflow as tf

from kdwsd.data import images
from kdwsd.data import records
from kdwsd.data import scenes
from kdwsd.data import tuning
from kdwsd.serving import signatures

# Few, because a detector's cost grows with them.
_DRAWN_PROPOSALS = 16


@dataclasses.dataclass(frozen=True)
class Example:
  """An image as a client sends it, with its proposals.

  Attributes:
    encoded: JPEG bytes, upright.
    proposals: [N, 4] float32.
    objectness: [N] float32.
  """
  encoded: bytes
  proposals: np.ndarray
  objectness: np.ndarray


def from_records(record_set, count, *, num_proposals):
  """The first images of a split.

  Args:
    record_set: a `record_files.RecordSet`.
    count: largest number of images; -1 for all.
    num_proposals: largest number of proposals of an image.

  Returns:
    List of `Example`s.
  """
  dataset = tuning.untuned(
      tf.data.TFRecordDataset(list(record_set.paths)).take(count))
  found = []
  for parsed in map(records.parse_for_training, dataset):
    found.append(Example(
        encoded=parsed["encoded"].numpy(),
        proposals=parsed["proposals"].numpy()[:num_proposals],
        objectness=parsed["objectness"].numpy()[:num_proposals]))
  return found


def drawn(count, *, seed=0):
  """Procedural scenes, for a run without records.

  Args:
    count: number of images.
    seed: seed of the random generator.

  Returns:
    List of `Example`s.
  """
  generator = np.random.default_rng(seed)
  found = []
  for _ in range(count):
    corners = np.sort(generator.uniform(
        0, 1, [_DRAWN_PROPOSALS, 2, 2]).astype(np.float32), axis=1)
    found.append(Example(
        encoded=images.encode(scenes.draw(generator, 256).image),
        proposals=corners.reshape(-1, 4),
        objectness=generator.uniform(
            0, 0.5, _DRAWN_PROPOSALS).astype(np.float32)))
  return found


def batch(chosen, size):
  """Builds a batch as the input pipeline does for evaluation.

  Args:
    chosen: list of B `Example`s.
    size: side S in pixels.

  Returns:
    Dict with `image` [B, S, S, 3] float32, `proposals` [B, R, 4], `objectness`
    [B, R] and `valid` [B, R]; R is the largest number of proposals, at least 1.
  """
  count = max([1, *(len(example.proposals) for example in chosen)])
  proposals = np.zeros([len(chosen), count, 4], np.float32)
  objectness = np.zeros([len(chosen), count], np.float32)
  for row, example in enumerate(chosen):
    proposals[row, :len(example.proposals)] = example.proposals
    objectness[row, :len(example.objectness)] = example.objectness
  squares = [
      tf.image.resize(
          tf.io.decode_jpeg(example.encoded, channels=3,
                            dct_method="INTEGER_ACCURATE"),
          [size, size], "bilinear", antialias=False)
      for example in chosen]
  return {
      "image": tf.stack(squares),
      "proposals": tf.constant(proposals),
      "objectness": tf.constant(objectness),
      "valid": tf.constant(
          np.all(proposals[..., 2:] > proposals[..., :2], axis=-1)),
  }


def requests(servable, chosen):
  """Builds one request for each signature.

  Args:
    servable: a `signatures.Servable`.
    chosen: list of B `Example`s.

  Returns:
    List of (signature name, {input: array}).
  """
  content = batch(chosen, servable.image_size)
  encoded = np.array([example.encoded for example in chosen], object)
  boxes = {}
  if servable.detector:
    boxes = {signatures.PROPOSALS: content["proposals"].numpy(),
             signatures.OBJECTNESS: content["objectness"].numpy()}
  made = []
  for name in servable.signatures:
    if name in (signatures.DEFAULT, signatures.PER_IMAGE):
      made.append((name, {signatures.IMAGE_BYTES: encoded, **boxes}))
    elif name == signatures.IMAGES:
      made.append(
          (name, {signatures.IMAGES: content["image"].numpy(), **boxes}))
    else:
      made.append((name, {signatures.EXAMPLES: np.array(
          [_tf_example(content) for content in encoded], object)}))
  return made


def _tf_example(encoded):
  feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
  return tf.train.Example(features=tf.train.Features(
      feature={signatures.EXAMPLE_IMAGE: feature})).SerializeToString()
