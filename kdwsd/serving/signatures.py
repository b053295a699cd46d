"""Serving signatures: names, shapes and order of their tensors.

This module owns the names. C classes, K = min(5, C), S the side of the
student's images, E the side of the detector's:

| signature | inputs | outputs |
|---|---|---|
| serving_default | image_bytes [B] string | probabilities, classes, top_k_* |
| per_image | image_bytes [B] string | the same, and status |
| images | images [B, S, S, 3] float32 | as serving_default |
| classify | inputs [B] string, tf.Example | classes, scores |

| output | shape | what |
|---|---|---|
| probabilities | [B, C] float32 | in [0, 1], order of the class list |
| classes | [B, C] string | the class list, the same in each row |
| top_k_classes | [B, K] string | best first |
| top_k_probabilities | [B, K] float32 | best first |
| proposal_scores | [B, R, C] float32 | detectors only; 0 for padding |
| status | [B] string | empty, or why the image was not scored |

A detector takes two more inputs, `proposals` [B, R, 4] float32, fractions
(ymin, xmin, ymax, xmax) of the upright image, and `objectness` [B, R] float32;
a proposal of zero area is padding. Its images are [B, E, E, 3], and it has no
`classify`. A tf.Example holds its image under `image/encoded`, as records do.

One undecodable image fails a request to `serving_default`, together with every
request that the server has batched with it. `per_image` never fails because of
an image: a bad one has its reason in `status`, -1 for every probability and
score (JSON has no NaN), and empty strings for classes. For a detector, an image
whose proposals are out of range has a status as well.

Images are RGB 0..255. Shapes are asserted in the graph, because TensorFlow
Serving does not enforce a signature's shapes.
"""

import dataclasses

import tensorflow as tf

from kdwsd.serving import image_decoding
from kdwsd.serving import proposal_inputs

DEFAULT = "serving_default"
PER_IMAGE = "per_image"
IMAGES = "images"
CLASSIFY = "classify"

# The method name in TensorFlow Serving's API. TensorFlow Serving checks it on
# :classify only under --enable_signature_method_name_check.
CLASSIFY_METHOD = "tensorflow/serving/classify"

IMAGE_BYTES = "image_bytes"
PROPOSALS = proposal_inputs.PROPOSALS
OBJECTNESS = proposal_inputs.OBJECTNESS
EXAMPLES = "inputs"
EXAMPLE_IMAGE = "image/encoded"

PROBABILITIES = "probabilities"
CLASSES = "classes"
TOP_K_CLASSES = "top_k_classes"
TOP_K_PROBABILITIES = "top_k_probabilities"
PROPOSAL_SCORES = "proposal_scores"
SCORES = "scores"
STATUS = "status"

TOP_K = 5
# Stands in for every number of an image that was not scored; no probability is
# negative.
NO_ANSWER = -1.0

def names(*, detector):
  """Names of a model's signatures."""
  both = (DEFAULT, PER_IMAGE, IMAGES)
  return both if detector else (*both, CLASSIFY)


@dataclasses.dataclass(frozen=True)
class Servable:
  """A model with its signatures, ready for `saved_model.write`.

  Attributes:
    module: `tf.Module` that holds every variable of the signatures. It does not
      refer to the Keras model, whose layers Keras would save a second time,
      with functions for training.
    signatures: {name: concrete function}.
    classes: C names.
    detector: whether it takes proposals.
    image_size: image side of the signature `images`, pixels.
  """
  module: tf.Module
  signatures: dict
  classes: tuple[str, ...]
  detector: bool
  image_size: int


def classifier(model, *, classes, image_size, eval_size):
  """Makes a student servable.

  Args:
    model: `student.Student`, built under the dtype policy float32.
    classes: C names.
    image_size: S, of the student's images.
    eval_size: E, the side that images are warped to first, as in evaluation.

  Returns:
    A `Servable`.

  Raises:
    ValueError: the model does not compute in float32.
  """
  _check_float32(model)

  def serving_default(image_bytes):
    squares = image_decoding.decode(
        _checked(image_bytes, [None], IMAGE_BYTES), eval_size)
    scores = model.score({"image": squares})["image_scores"]      # [B, C]
    return _answers(scores, classes)

  def per_image(image_bytes):
    squares, status = image_decoding.decode_each(
        _checked(image_bytes, [None], IMAGE_BYTES), eval_size)
    scores = model.score({"image": squares})["image_scores"]      # [B, C]
    return _marked(_answers(scores, classes), status)

  def images(images):
    squares = _checked(images, [None, image_size, image_size, 3], IMAGES)
    return _answers(tf.sigmoid(model(squares)), classes)

  def classify(inputs):
    # A missing image becomes an empty one, so that the error names its index.
    parsed = tf.io.parse_example(
        _checked(inputs, [None], EXAMPLES),
        {EXAMPLE_IMAGE: tf.io.FixedLenFeature([], tf.string, "")})
    squares = image_decoding.decode(
        parsed[EXAMPLE_IMAGE], eval_size, name=f"{EXAMPLE_IMAGE} of {EXAMPLES}")
    scores = model.score({"image": squares})["image_scores"]      # [B, C]
    return {CLASSES: _class_rows(scores, classes), SCORES: scores}

  return _servable(model, classes, detector=False, image_size=image_size, **{
      DEFAULT: _concrete(serving_default, _strings(IMAGE_BYTES)),
      PER_IMAGE: _concrete(per_image, _strings(IMAGE_BYTES)),
      IMAGES: _concrete(images, _images(image_size)),
      CLASSIFY: _concrete(classify, _strings(EXAMPLES)),
  })


def detector(model, *, classes, eval_size):
  """Makes a teacher servable.

  Args:
    model: `wsddn.WSDDN`, built under the dtype policy float32.
    classes: C names.
    eval_size: E, side of its images.

  Returns:
    A `Servable`.

  Raises:
    ValueError: as `classifier`.
  """
  _check_float32(model)

  def detect(squares, proposals, objectness):
    count = tf.shape(proposals)[1]                                # R
    # The model needs at least one proposal; padding will do.
    spare = tf.maximum(1 - count, 0)
    proposals = tf.pad(proposals, [[0, 0], [0, spare], [0, 0]])
    objectness = tf.pad(objectness, [[0, 0], [0, spare]])
    sides = proposals[..., 2:] - proposals[..., :2]               # [B, R, 2]
    outputs = model.portable({
        "image": squares, "proposals": proposals, "objectness": objectness,
        "valid": tf.reduce_all(sides > 0, axis=2)})
    return {**_answers(outputs["image_scores"], classes),
            PROPOSAL_SCORES: outputs["proposal_scores"][:, :count]}

  def serving_default(image_bytes, proposals, objectness):
    squares = image_decoding.decode(
        _checked(image_bytes, [None], IMAGE_BYTES), eval_size)
    return detect(squares, *proposal_inputs.in_range(
        *proposal_inputs.matching(squares, proposals, objectness)))

  def per_image(image_bytes, proposals, objectness):
    squares, status = image_decoding.decode_each(
        _checked(image_bytes, [None], IMAGE_BYTES), eval_size)
    proposals, objectness = proposal_inputs.matching(
        squares, proposals, objectness)
    problems = proposal_inputs.range_problems(
        proposals, objectness)                                    # [B]
    status = tf.where(status == "", problems, status)
    # Padding replaces numbers that the model cannot compute with.
    good = problems == ""
    return _marked(detect(
        squares, tf.where(good[:, tf.newaxis, tf.newaxis], proposals, 0.0),
        tf.where(good[:, tf.newaxis], objectness, 0.0)), status)

  def images(images, proposals, objectness):
    squares = _checked(images, [None, eval_size, eval_size, 3], IMAGES)
    return detect(squares, *proposal_inputs.in_range(
        *proposal_inputs.matching(squares, proposals, objectness)))

  boxes = (tf.TensorSpec([None, None, 4], tf.float32, PROPOSALS),
           tf.TensorSpec([None, None], tf.float32, OBJECTNESS))
  return _servable(model, classes, detector=True, image_size=eval_size, **{
      DEFAULT: _concrete(serving_default, _strings(IMAGE_BYTES), *boxes),
      PER_IMAGE: _concrete(per_image, _strings(IMAGE_BYTES), *boxes),
      IMAGES: _concrete(images, _images(eval_size), *boxes),
  })


def _servable(model, classes, *, detector, image_size, **signatures):
  module = tf.Module(name="servable")
  module.weights = list(model.variables)
  return Servable(module=module, signatures=signatures, classes=tuple(classes),
                  detector=detector, image_size=image_size)


def _answers(probabilities, classes):
  """The outputs that all models share, from [B, C] float32."""
  best, places = tf.math.top_k(probabilities, min(TOP_K, len(classes)))
  return {
      PROBABILITIES: probabilities,                               # [B, C]
      CLASSES: _class_rows(probabilities, classes),               # [B, C]
      TOP_K_CLASSES: tf.gather(tf.constant(list(classes)), places),
      TOP_K_PROBABILITIES: best,                                  # [B, K]
  }


def _marked(answers, status):
  """Adds `status` [B], and blanks the outputs of images that have one."""
  good = status == ""                                             # [B]
  marked = {STATUS: status}
  for name, values in answers.items():
    nothing = "" if values.dtype == tf.string else NO_ANSWER
    keep = tf.reshape(good, [-1] + [1] * (values.shape.rank - 1))
    marked[name] = tf.where(keep, values, nothing)
  return marked


def _class_rows(probabilities, classes):
  return tf.tile(tf.constant([list(classes)]),
                 [tf.shape(probabilities)[0], 1])                 # [B, C]


def _checked(tensor, shape, name):
  """Asserts the signature's shape and a batch of one image or more."""
  # Not `tf.debugging.assert_rank`: it trusts a statically known shape and adds
  # nothing to the graph.
  tensor = tf.ensure_shape(tensor, shape)
  with tf.control_dependencies([tf.debugging.Assert(
      tf.shape(tensor)[0] > 0,
      [f"{name}: expected at least one image. Received: none."])]):
    return tf.identity(tensor)


def _strings(name):
  return tf.TensorSpec([None], tf.string, name)


def _images(size):
  return tf.TensorSpec([None, size, size, 3], tf.float32, IMAGES)


def _concrete(function, *specs):
  return tf.function(function, input_signature=specs,
                     autograph=False).get_concrete_function()


def _check_float32(model):
  types = {layer.compute_dtype for layer in (model, *model.submodules)
           if isinstance(layer, tf.keras.layers.Layer)}
  types |= {variable.dtype.name for variable in model.variables}
  if types - {"float32"}:
    raise ValueError(
        "Invalid value for argument `model`. Expected a model built under the "
        f"dtype policy float32. Received: {sorted(types)}.")
