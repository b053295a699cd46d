"""What must hold of a record's values, beside its keys and types.

The converter keeps these rules, and a shard's checksums keep the bytes. Records
of another tool, or of a bug, may break them, and what came of that would be
silent: a NaN loss, a label that nobody sees. So training and evaluation check
every record that they read, by the same rules that `record_faults` names a
fault with.
"""

from typing import Any
from typing import Callable
from typing import NamedTuple

import tensorflow as tf

_KINDS = {tf.string: "bytes", tf.int64: "int64", tf.float32: "float"}

# Edges that went through float32 arithmetic elsewhere may miss 0 or 1 by a
# hair; RoI pooling clips them.
_TOLERANCE = 1e-4


class Rule(NamedTuple):
  """One rule, applied to one record.

  Attributes:
    expected: in words.
    holds: scalar bool tensor.
    received: function without arguments that says in words what came; only for
      eager tensors of which the rule does not hold.
  """
  expected: str
  holds: Any
  received: Callable


def odd_key(example, features):
  """Finds a key that is missing or of the wrong type.

  Where a list of numbers is missing, `tf.io.parse_single_example` says nothing
  and gives an empty one.

  Args:
    example: `tf.train.Example`.
    features: as `tf.io.parse_single_example` takes them.

  Returns:
    (expected, received) in words, or None where all keys are there.
  """
  for key, spec in sorted(features.items()):
    kind, scalar = _KINDS[spec.dtype], isinstance(spec, tf.io.FixedLenFeature)
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


def for_training(parsed, num_classes=None):
  """Rules of what training and prediction read.

  A box without an area, an image without proposals or labels, and scores of
  any size and sign break none.

  Args:
    parsed: by `records.TRAINING_FEATURES`.
    num_classes: C; None where it is not known.

  Returns:
    List of `Rule`s; each presumes those before it.
  """
  boxes, scores = parsed["proposals/boxes"], parsed["proposals/scores"]
  corners = tf.reshape(boxes[:tf.size(boxes) // 4 * 4], [-1, 4])  # [N, 4]
  ymin, xmin, ymax, xmax = tf.unstack(corners, axis=1)
  inside = ((ymin >= -_TOLERANCE) & (xmin >= -_TOLERANCE)
            & (ymax <= 1 + _TOLERANCE) & (xmax <= 1 + _TOLERANCE)
            & (ymin <= ymax) & (xmin <= xmax))                    # [N]
  finite = tf.reduce_all(tf.math.is_finite(corners), axis=1)      # [N]
  rules = [
      Rule("4 numbers in proposals/boxes for each of proposals/scores",
           tf.equal(tf.size(boxes), 4 * tf.size(scores)),
           lambda: f"{int(tf.size(boxes))} for {int(tf.size(scores))}"),
      Rule("finite numbers in proposals/boxes", tf.reduce_all(finite),
           lambda: _first(corners, ~finite, "box")),
      Rule("finite numbers in proposals/scores",
           tf.reduce_all(tf.math.is_finite(scores)),
           lambda: _first(scores, ~tf.math.is_finite(scores), "score")),
      Rule("proposals/boxes as ymin, xmin, ymax, xmax within [0, 1]",
           tf.reduce_all(inside), lambda: _first(corners, ~inside, "box"))]
  return rules + [
      _in_range(key, parsed[key], num_classes)
      for key in ("labels/ids", "labels/unknown_ids") if num_classes]


def for_truth(parsed, num_classes=None):
  """Rules of what evaluation reads beside the image.

  Args:
    parsed: by `records.TRUTH_FEATURES`.
    num_classes: C; None where it is not known.

  Returns:
    List of `Rule`s; each presumes those before it.
  """
  boxes, ids = parsed["truth/boxes"], parsed["truth/class_ids"]
  rules = [
      Rule("4 numbers in truth/boxes for each of truth/class_ids",
           tf.equal(tf.size(boxes), 4 * tf.size(ids)),
           lambda: f"{int(tf.size(boxes))} for {int(tf.size(ids))}"),
      Rule("finite numbers in truth/boxes",
           tf.reduce_all(tf.math.is_finite(boxes)),
           lambda: _first(boxes, ~tf.math.is_finite(boxes), "number"))]
  for key in ("truth/difficult", "truth/crowd"):
    rules.append(Rule(
        f"a number in {key} for each of truth/class_ids",
        tf.equal(tf.size(parsed[key]), tf.size(ids)),
        lambda key=key: f"{int(tf.size(parsed[key]))} for {int(tf.size(ids))}"))
  return rules + [
      _in_range(key, parsed[key], num_classes)
      for key in ("labels/ids", "labels/unknown_ids", "truth/class_ids")
      if num_classes]


def require(rules, image_id):
  """An operation that fails unless all rules hold.

  Args:
    rules: list of `Rule`s.
    image_id: scalar string tensor, for the message.

  Returns:
    What `tf.control_dependencies` takes; in eager mode it fails at once, with
    `tf.errors.InvalidArgumentError`.
  """
  holds = tf.stack([rule.holds for rule in rules])
  return tf.debugging.Assert(
      tf.reduce_all(holds),
      ["A record breaks the rules of its format; image", image_id,
       "which hold:", holds], summarize=len(rules))


def _in_range(key, ids, num_classes):
  inside = (ids >= 0) & (ids < num_classes)
  return Rule(f"{key} from 0 to {num_classes - 1}, the classes of the card",
              tf.reduce_all(inside), lambda: _first(ids, ~inside, "number"))


def _first(values, bad, what):
  """The first bad one of some values, in words."""
  index = int(tf.argmax(tf.cast(bad, tf.int32)))
  return f"{values[index].numpy().tolist()}, {what} {index} (counted from 0)"
