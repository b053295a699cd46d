"""The one owner of the record format: what a TFRecord of kdwsd holds.

One `tf.train.Example` an image. Boxes are as `kdwsd.boxes` says: (ymin, xmin,
ymax, xmax) as fractions of the upright image.

| key | type | what |
|---|---|---|
| image/encoded | bytes | JPEG, upright, RGB or grey |
| image/id | bytes | unique in the data set, UTF-8 |
| image/height, image/width | int64 | pixels of the encoded image |
| labels/ids | int64 [L] | classes present, indices into the card's classes |
| labels/unknown_ids | int64 [U] | classes neither present nor absent |
| proposals/boxes | float [4 N] | best first |
| proposals/scores | float [N] | objectness, not increasing |
| truth/known | int64 | 1 if the source has boxes, else 0 |
| truth/boxes | float [4 M] | for evaluation only |
| truth/class_ids | int64 [M] | |
| truth/difficult, truth/crowd | int64 [M] | 0 or 1 |

A class is unknown in a VOC image whose only objects of it are difficult.
Training reads `TRAINING_FEATURES`, which has no `truth/` key. Every record read
is checked: one written by another tool, or by a bug, could silently cause a NaN
loss or an ignored label. For files of records see `record_files`.
"""

import dataclasses

from google.protobuf import message as protobuf
import numpy as np
import tensorflow as tf

from kdwsd.data import tuning

FORMAT_VERSION = 1

_BYTES = tf.io.FixedLenFeature([], tf.string)
_INTEGER = tf.io.FixedLenFeature([], tf.int64)
_INTEGERS = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
_FLOATS = tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)

_LABEL_FEATURES = {
    "image/id": _BYTES, "image/height": _INTEGER, "image/width": _INTEGER,
    "labels/ids": _INTEGERS, "labels/unknown_ids": _INTEGERS}
TRAINING_FEATURES = {
    **_LABEL_FEATURES, "image/encoded": _BYTES, "proposals/boxes": _FLOATS,
    "proposals/scores": _FLOATS}
TRUTH_FEATURES = {
    **_LABEL_FEATURES, "truth/known": _INTEGER, "truth/boxes": _FLOATS,
    "truth/class_ids": _INTEGERS, "truth/difficult": _INTEGERS,
    "truth/crowd": _INTEGERS}
FEATURES = {**TRAINING_FEATURES, **TRUTH_FEATURES}

# TensorFlow's type: (name in a `tf.train.Feature`, its list, NumPy's type).
_KINDS = {tf.string: ("bytes", tf.train.BytesList, None),
          tf.int64: ("int64", tf.train.Int64List, np.int64),
          tf.float32: ("float", tf.train.FloatList, np.float32)}

# Edges may miss 0 or 1 by an error of rounding; RoI pooling clips them.
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Truth:
  """Annotated objects of one image; for evaluation only.

  Attributes:
    boxes: [M, 4] float32.
    class_ids: [M] int64.
    difficult: [M] bool; ignored by VOC's metrics.
    crowd: [M] bool; ignored by COCO's metrics.
  """
  boxes: np.ndarray
  class_ids: np.ndarray
  difficult: np.ndarray
  crowd: np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelledImage:
  """The part of a record that evaluation needs beside the pixels.

  Attributes:
    image_id: unique in the data set.
    height, width: size of the JPEG image, pixels.
    label_ids: [L] int64, classes present.
    unknown_label_ids: [U] int64.
    truth: None where the source has no boxes.
  """
  image_id: str
  height: int
  width: int
  label_ids: np.ndarray
  unknown_label_ids: np.ndarray = dataclasses.field(
      default_factory=lambda: np.zeros([0], np.int64))
  truth: Truth = None


@dataclasses.dataclass(frozen=True)
class Record(LabelledImage):
  """All that is stored of one image.

  Attributes, beside those of `LabelledImage`:
    encoded: JPEG bytes, upright.
    proposal_boxes: [N, 4] float32, best first.
    proposal_scores: [N] float32.
  """
  encoded: bytes = b""
  proposal_boxes: np.ndarray = dataclasses.field(
      default_factory=lambda: np.zeros([0, 4], np.float32))
  proposal_scores: np.ndarray = dataclasses.field(
      default_factory=lambda: np.zeros([0], np.float32))


def serialize(record):
  """Serializes a `Record`; the same record always gives the same bytes."""
  truth = record.truth or Truth(*[np.zeros([0])] * 4)
  values = {
      "image/encoded": record.encoded,
      "image/id": record.image_id.encode("utf-8"),
      "image/height": record.height, "image/width": record.width,
      "labels/ids": record.label_ids,
      "labels/unknown_ids": record.unknown_label_ids,
      "proposals/boxes": record.proposal_boxes,
      "proposals/scores": record.proposal_scores,
      "truth/known": record.truth is not None,
      **{f"truth/{name}": value for name, value in vars(truth).items()},
  }
  feature = {}
  for key, value in values.items():
    kind, make, dtype = _KINDS[FEATURES[key].dtype]
    # A list: protobuf takes several times as long over an array's numbers.
    value = np.asarray(value, dtype).reshape(-1).tolist() if dtype else [value]
    feature[key] = tf.train.Feature(**{f"{kind}_list": make(value=value)})
  example = tf.train.Example(features=tf.train.Features(feature=feature))
  return example.SerializeToString(deterministic=True)


def parse(serialized, features, num_classes=None):
  """Parses one record and checks the rules of its values.

  Args:
    serialized: scalar string tensor.
    features: some of `FEATURES`.
    num_classes: C, that labels are checked against; None for no check.

  Returns:
    Dict of tensors under the keys of `features`.

  Raises:
    tf.errors.InvalidArgumentError: when the operation runs, the record breaks
      a rule; `record_files.naming_faults` tells the user which record.
  """
  parsed = tf.io.parse_single_example(serialized, features)
  holds = tf.stack([holds for _, holds, _ in _rules(parsed, num_classes)])
  check = tf.debugging.Assert(
      tf.reduce_all(holds),
      ["A record breaks the rules of its format; image", parsed["image/id"],
       "which hold:", holds], summarize=20)
  with tf.control_dependencies([check]):  # Eagerly, it has run already.
    return {key: tf.identity(value) for key, value in parsed.items()}


def parse_for_training(serialized, num_classes=None):
  """Parses one record without its ground truth; see `parse`.

  Returns:
    Dict of tensors: `encoded` string, `image_id` string, `height` and `width`
    int64, `label_ids` [L] and `unknown_label_ids` [U] int64, `proposals` [N, 4]
    and `objectness` [N] float32.
  """
  parsed = parse(serialized, TRAINING_FEATURES, num_classes)
  return {
      "encoded": parsed["image/encoded"],
      "image_id": parsed["image/id"],
      "height": parsed["image/height"], "width": parsed["image/width"],
      "label_ids": parsed["labels/ids"],
      "unknown_label_ids": parsed["labels/unknown_ids"],
      "proposals": tf.reshape(parsed["proposals/boxes"], [-1, 4]),
      "objectness": parsed["proposals/scores"],
  }


def read_labelled_images(paths, num_classes=None):
  """Reads the `LabelledImage`s of shard files, a list in file order.

  Args:
    paths: shard files, in the order wanted.
    num_classes: as `parse`.
  """
  @tf.autograph.experimental.do_not_convert
  def parse_whole(serialized):
    return parse(serialized, TRUTH_FEATURES, num_classes)

  dataset = tuning.untuned(tf.data.TFRecordDataset(paths).map(
      parse_whole, tuning.num_calls(), deterministic=True))
  return [labelled_image(parsed) for parsed in dataset.as_numpy_iterator()]


def labelled_image(parsed):
  """Makes a `LabelledImage` of parsed `TRUTH_FEATURES`, as NumPy values."""
  truth = None
  if parsed["truth/known"]:
    truth = Truth(
        boxes=parsed["truth/boxes"].reshape(-1, 4),
        class_ids=parsed["truth/class_ids"],
        difficult=parsed["truth/difficult"].astype(bool),
        crowd=parsed["truth/crowd"].astype(bool))
  return LabelledImage(
      image_id=parsed["image/id"].decode("utf-8", "replace"),
      height=int(parsed["image/height"]),
      width=int(parsed["image/width"]),
      label_ids=parsed["labels/ids"],
      unknown_label_ids=parsed["labels/unknown_ids"],
      truth=truth)


def odd_key(example, features=FEATURES):
  """Finds a key that is missing or of the wrong type.

  Where a list is missing, `tf.io.parse_single_example` gives an empty one.

  Returns:
    (expected, received) in words, or None where all keys are there.
  """
  for key, spec in sorted(features.items()):
    kind = _KINDS[spec.dtype][0]
    scalar = isinstance(spec, tf.io.FixedLenFeature)
    if key not in example.features.feature:
      came, count = "none", 0
    else:
      feature = example.features.feature[key]
      came = (feature.WhichOneof("kind") or f"{kind}_list").split("_")[0]
      count = len(getattr(feature, f"{came}_list").value)
    if came != kind or (scalar and count != 1):
      return (f"{'one value' if scalar else 'values'} of {kind} under {key}",
              came if came == "none" else f"{count} {came}")
  return None


def fault(serialized, num_classes):
  """Finds the rule that a record breaks.

  Returns:
    The image's id or "", and (expected, received) in words or None.
  """
  try:
    example = tf.train.Example.FromString(serialized)
  except protobuf.DecodeError:
    return "", ("a tf.train.Example", f"{len(serialized)} bytes that are none")
  broken = odd_key(example)
  image_id = b" ".join(  # After `odd_key`, which adds the key.
      example.features.feature["image/id"].bytes_list.value)
  if not broken:
    parsed = tf.io.parse_single_example(serialized, FEATURES)
    broken = next(((expected, received()) for expected, holds, received in
                   _rules(parsed, num_classes) if not holds), None)
  return image_id.decode("utf-8", "replace"), broken


def _rules(parsed, num_classes):
  """Rules of parsed features; each presumes those before it.

  A box without area, an image without proposals or labels, and scores of any
  size and sign break none.

  Returns:
    List of (what is expected, in words; scalar bool tensor; function without
    arguments that says what was found, where an eager tensor is False).
  """
  rules = []

  def each(expected, values, good, what):
    def first():
      index = int(tf.argmin(tf.cast(good, tf.int32)))
      value = values[index].numpy().tolist()
      return f"{value}, {what} {index} (counted from 0)"
    rules.append((expected, tf.reduce_all(good), first))

  def count(expected, key, number, of):
    sizes = tf.size(parsed[key]), tf.size(parsed[of])
    rules.append((
        f"{expected} in {key} for each of {of}", sizes[0] == number * sizes[1],
        lambda: f"{int(sizes[0])} for {int(sizes[1])}"))

  if "proposals/boxes" in parsed:
    boxes, scores = parsed["proposals/boxes"], parsed["proposals/scores"]
    corners = tf.reshape(boxes[:tf.size(boxes) // 4 * 4], [-1, 4])  # [N, 4]
    ymin, xmin, ymax, xmax = tf.unstack(corners, axis=1)
    count("4 numbers", "proposals/boxes", 4, "proposals/scores")
    each("finite numbers in proposals/boxes", corners,
         tf.reduce_all(tf.math.is_finite(corners), axis=1), "box")
    each("finite numbers in proposals/scores", scores,
         tf.math.is_finite(scores), "score")
    each("proposals/boxes as ymin, xmin, ymax, xmax within [0, 1]", corners,
         (ymin >= -_TOLERANCE) & (xmin >= -_TOLERANCE)
         & (ymax <= 1 + _TOLERANCE) & (xmax <= 1 + _TOLERANCE)
         & (ymin <= ymax) & (xmin <= xmax), "box")
  if "truth/boxes" in parsed:
    boxes = parsed["truth/boxes"]
    count("4 numbers", "truth/boxes", 4, "truth/class_ids")
    each("finite numbers in truth/boxes", boxes, tf.math.is_finite(boxes),
         "number")
    count("a number", "truth/difficult", 1, "truth/class_ids")
    count("a number", "truth/crowd", 1, "truth/class_ids")
  for key in ("labels/ids", "labels/unknown_ids", "truth/class_ids"):
    if num_classes and key in parsed:
      each(f"{key} from 0 to {num_classes - 1}, the classes of the card",
           parsed[key], (parsed[key] >= 0) & (parsed[key] < num_classes),
           "number")
  return rules
