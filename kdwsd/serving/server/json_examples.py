"""Classify requests and answers of TF Serving's REST API.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc.
"""

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_values


def read_examples(document):
  """Reads the examples of a classify request.

  Args:
    document: dict with the keys "examples" and, perhaps, "context".

  Returns:
    [B] array of serialized `tf.Example`, the context merged into each.

  Raises:
    codes.ServingError: they are missing or malformed.
  """
  context = b""
  if "context" in document:
    context = _example(document["context"], "'context'")
  examples = document.get("examples")
  if not isinstance(examples, list) or not examples:
    raise codes.invalid(
        "'examples': expected a list of one object or more. Received: "
        f"{'an empty list' if examples == [] else json_values.kind(examples)}.")
  serialized = np.empty(len(examples), object)
  serialized[:] = [context + _example(one, f"'examples', {index}")
                   for index, one in enumerate(examples)]
  return serialized


def _example(value, where):
  if not isinstance(value, dict):
    raise codes.invalid(
        f"{where}: expected an object of features. Received: "
        f"{json_values.kind(value)}.")
  example = tf.train.Example()
  for name, content in value.items():
    json_values.encoded(name, where)
    content = content if isinstance(content, list) else [content]
    _fill(example.features.feature[name], content, f"{where}: {name}")
  return example.SerializeToString()


def _fill(feature, values, where):
  kinds = set(map(type, values))
  if not kinds:
    return
  if kinds <= {bool, int}:
    if not -2 ** 63 <= min(values) <= max(values) < 2 ** 63:
      raise codes.invalid(f"{where}: expected 64-bit integers.")
    feature.int64_list.value.extend(map(int, values))
  elif kinds == {float}:
    numbers = json_values.numbers(values, tf.float32, where)
    feature.float_list.value.extend(numbers.tolist())
  elif kinds <= {str, dict}:
    feature.bytes_list.value.extend(
        json_values.to_bytes(one, where) for one in values)
  else:
    raise codes.invalid(
        f"{where}: expected values of one type. Received: "
        f"{', '.join(sorted(json_values.KINDS[kind] for kind in kinds))}.")


def write_classes(classes, scores):
  """Writes what a classify request gave.

  Args:
    classes: [B, C] array of bytes, or None.
    scores: [B, C] float32 array, or None.

  Returns:
    bytes of JSON.
  """
  shape = (scores if classes is None else classes).shape
  if classes is None:
    classes = np.full(shape, b"", object)
  if scores is None:
    scores = np.zeros(shape, np.float32)
  labels = json_values.plain("", classes)
  numbers = json_values.plain("", scores)
  return json_values.dump({"results": [
      [list(pair) for pair in zip(*row)] for row in zip(labels, numbers)]})
