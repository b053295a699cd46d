"""One interface to exports and to models in memory: images in, scores out.

An export gets the bytes of a JPEG or PNG file and decodes them as on a server;
files of other formats are re-encoded as JPEG. A model in memory gets the pixels
that `kdwsd.data.images` decodes, resized as the input pipeline does for
evaluation.
"""

import dataclasses
import re
from typing import Callable
from typing import Optional

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd import literal_paths
from kdwsd import system_errors
from kdwsd.data import images
from kdwsd.data import proposals
from kdwsd.serving import saved_model
from kdwsd.serving import signatures

# First bytes of the formats that an export decodes: JPEG, PNG.
_DECODED_BY_EXPORT = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclasses.dataclass(frozen=True)
class Image:
  """An image to score.

  Attributes:
    path: path of its file, for messages.
    content: bytes of the file.
    decoded: an `images.DecodedImage`.
    proposals: [N, 4] float32; None for a classifier.
    objectness: [N] float32; None for a classifier.
  """
  path: str
  content: bytes
  decoded: images.DecodedImage
  proposals: Optional[np.ndarray] = None
  objectness: Optional[np.ndarray] = None


@dataclasses.dataclass(frozen=True)
class Scores:
  """A model's scores of an image.

  Attributes:
    probabilities: [C] float32.
    boxes: [N, 4] float32, the scored proposals; None for a classifier.
    proposal_scores: [N, C] float32; None for a classifier.
  """
  probabilities: np.ndarray
  boxes: Optional[np.ndarray] = None
  proposal_scores: Optional[np.ndarray] = None


@dataclasses.dataclass(frozen=True)
class Predictor:
  """An export or a model behind one function.

  Attributes:
    classes: C names, in the order of probabilities.
    is_detector: whether images need proposals.
    ask: function of a list of `Image`s to (probabilities [B, C], proposal
      scores [B, R, C] or None, B strings: the problem with an image, or
      empty). It raises TensorFlow's errors.
  """
  classes: tuple
  is_detector: bool
  ask: Callable


def read(path, settings=None, *, max_pixels=images.DEFAULT_MAX_PIXELS):
  """Reads an image file and, for a detector, computes its proposals.

  Args:
    path: image file.
    settings: `proposals.Settings` for a detector, else None.
    max_pixels: larger images are rejected.

  Returns:
    An `Image`.

  Raises:
    errors.InputError: the file is not a complete image.
  """
  content = images.read_bytes(path, path)
  decoded = images.decode(content, max_pixels=max_pixels, name=path)
  if settings is None:
    return Image(path, content, decoded)
  return Image(path, content, decoded,
               *proposals.propose(decoded.pixels, settings))


def score(predictor, batch, *, fill_to=0):
  """Scores images; a bad image does not affect the others.

  Args:
    predictor: a `Predictor`.
    batch: list of `Image`s.
    fill_to: a smaller batch is filled up to this size with its last image, so
      that the model is traced once.

  Returns:
    For each image its `Scores`, or an `errors.InputError` with the reason why
    it could not be scored.

  Raises:
    errors.InputError: the model returns NaN or infinity.
  """
  try:
    probabilities, proposal_scores, problems = predictor.ask(
        batch + batch[-1:] * (fill_to - len(batch)))
  except tf.errors.OpError as error:
    if len(batch) > 1:
      return [found for image in batch for found in score(predictor, [image])]
    return [_refusal(batch[0].path, error)]
  if not (np.isfinite(probabilities).all()
          and np.isfinite(0 if proposal_scores is None
                          else proposal_scores).all()):
    raise errors.InputError(
        "--model: expected finite scores; its training has probably diverged. "
        f"Received: NaN or infinity, for one of {batch[0].path} ... "
        f"{batch[-1].path}.")
  found = []
  for number, (image, problem) in enumerate(zip(batch, problems)):
    regions = ()
    if proposal_scores is not None:
      scores = proposal_scores[number, :len(image.proposals)]
      regions = image.proposals[:len(scores)], scores
    found.append(errors.InputError(f"{image.path}: {problem}") if problem
                 else Scores(probabilities[number], *regions))
  return found


def of_model(model, *, classes, size, num_proposals=None):
  """Makes a predictor from a model in memory.

  Args:
    model: function of a batch of the input pipeline to a dictionary with
      `image_scores` [B, C] and, for a detector, `proposal_scores` [B, R, C].
    classes: C names.
    size: side that images are warped to, pixels: the run's --eval_size.
    num_proposals: R for a detector, None for a classifier.

  Returns:
    A `Predictor`.
  """

  @tf.function(autograph=False)
  def call(batch):
    outputs = model(batch)
    return {name: outputs[name] for name in ("image_scores", "proposal_scores")
            if name in outputs}

  def ask(batch):
    # Resized as in `input_pipeline`, one by one since sizes differ.
    inputs = {"image": tf.stack([
        tf.image.resize(image.decoded.pixels, [size, size], "bilinear",
                        antialias=False) for image in batch])}
    if num_proposals:
      boxes, objectness, valid = _pad(batch, num_proposals)
      inputs.update(proposals=tf.constant(boxes), valid=tf.constant(valid),
                    objectness=tf.constant(objectness))
    outputs = {name: np.asarray(values, np.float32)
               for name, values in call(inputs).items()}
    return (outputs["image_scores"], outputs.get("proposal_scores"),
            [""] * len(batch))

  return Predictor(tuple(classes), bool(num_proposals), ask)


def of_export(directory, num_proposals=None):
  """Makes a predictor from an export.

  Args:
    directory: a version, see `saved_model.find`.
    num_proposals: R that a detector gets; by default the largest number of
      proposals in the batch.

  Returns:
    A `Predictor`.

  Raises:
    errors.InputError: the export is damaged, or was not written by
      `kdwsd.export`.
  """
  classes = saved_model.read_classes(directory)
  try:
    loaded = tf.saved_model.load(literal_paths.literal(directory))
    signature = loaded.signatures[signatures.DEFAULT]
    names = set(signature.structured_input_signature[1])
    outputs = set(signature.structured_outputs)
    # Exports of earlier versions lack it.
    signature = loaded.signatures.get(signatures.PER_IMAGE, signature)
  except Exception as error:  # Damaged files raise nearly anything.
    raise errors.InputError(
        f"{directory}: expected a complete SavedModel with the signature "
        f"{signatures.DEFAULT}. Received: {system_errors.first_line(error)}."
    ) from error
  if signatures.IMAGE_BYTES not in names:
    raise errors.InputError(
        f"{directory}: expected a signature that takes "
        f"{signatures.IMAGE_BYTES}. Received: {', '.join(sorted(names))}.")
  is_detector = signatures.PROPOSALS in names
  needed = {signatures.PROBABILITIES} | (
      {signatures.PROPOSAL_SCORES} if is_detector else set())
  if not needed <= outputs:
    raise errors.InputError(
        f"{directory}: expected a signature that gives "
        f"{', '.join(sorted(needed))}. Received: "
        f"{', '.join(sorted(outputs))}.")

  def ask(batch, _loaded=loaded):  # `loaded` must outlive its signature.
    inputs = {signatures.IMAGE_BYTES: tf.constant(
        [_encoded(image) for image in batch])}
    if is_detector:
      most = num_proposals or max(len(image.proposals) for image in batch)
      boxes, objectness, _ = _pad(batch, most)
      inputs[signatures.PROPOSALS] = tf.constant(boxes)
      inputs[signatures.OBJECTNESS] = tf.constant(objectness)
    outputs = signature(**inputs)
    scores, problems = None, [""] * len(batch)
    if is_detector:
      scores = outputs[signatures.PROPOSAL_SCORES].numpy()
    if signatures.STATUS in outputs:
      problems = [text.decode() for text in outputs[signatures.STATUS].numpy()]
    return outputs[signatures.PROBABILITIES].numpy(), scores, problems

  return Predictor(classes, is_detector, ask)


def _encoded(image):
  if image.content.startswith(_DECODED_BY_EXPORT):
    return image.content
  return image.decoded.encoded


def _pad(batch, count):
  """Pads the proposals of several images to the same number.

  Returns:
    boxes [B, R, 4] float32 and objectness [B, R] float32, zeros where padded;
    valid [B, R] bool.
  """
  boxes = np.zeros([len(batch), count, 4], np.float32)
  objectness = np.zeros([len(batch), count], np.float32)
  valid = np.zeros([len(batch), count], bool)
  for row, image in enumerate(batch):
    number = min(count, len(image.proposals))
    boxes[row, :number] = image.proposals[:number]
    objectness[row, :number] = image.objectness[:number]
    valid[row, :number] = True
  return boxes, objectness, valid


def _refusal(path, error):
  """Turns a TensorFlow error for one image into an `errors.InputError`."""
  line = system_errors.first_line(error)
  # Our own exports name the image's index and what they expected.
  named = re.match(r"\w+\[\d+\]: (expected .*)", line)
  return errors.InputError(f"{path}: {named.group(1)}." if named else (
      f"{path}: expected an image that the model accepts. Received: {line}."))
