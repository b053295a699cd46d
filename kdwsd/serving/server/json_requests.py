"""Requests and answers of TF Serving's REST API in JSON.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc. Where
the two differ the latter is followed: a plain string is taken for bytes too,
as UTF-8, whatever the input's name; only outputs whose name ends in `_bytes`
are written in base64.
"""

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_values

ROW, COLUMN = "instances", "inputs"


def signature_name(document):
  """The signature a request names; empty for the default one."""
  name = document.get("signature_name", "")
  if not isinstance(name, str):
    raise codes.invalid(
        "'signature_name' key must be a string value. Received: "
        f"{json_values.kind(name)}.")
  json_values.to_bytes(name, "'signature_name'")  # Refuses what is no Unicode.
  return name


def read_inputs(document, specs):
  """Reads the inputs of a predict request.

  Args:
    document: dict, with either the key "instances" or the key "inputs".
    specs: {name: `tf.TensorSpec`} of the signature.

  Returns:
    ({name: array}, the key).

  Raises:
    codes.ServingError: they are missing or not what the signature takes.
  """
  keys = [key for key in (ROW, COLUMN) if key in document]
  if not keys:
    raise codes.invalid(f"Missing '{COLUMN}' or '{ROW}' key")
  if len(keys) > 1:
    raise codes.invalid(
        f"JSON: expected one of the keys '{COLUMN}' and '{ROW}'. Received: "
        "both.")
  key, = keys
  columns = (_of_rows if key == ROW else _of_columns)(document[key], specs)
  return {
      name: json_values.array(value, specs[name].dtype, f"{key}: input {name}")
      for name, value in columns.items()}, key


def _of_rows(rows, specs):
  """{input: list of the value in each row}."""
  if not isinstance(rows, list) or not rows:
    raise codes.invalid(
        f"'{ROW}': expected a list of one value or more. Received: "
        f"{json_values.kind(rows)}.")
  named = _is_named(rows[0])
  if not named and len(specs) != 1:
    raise _not_named(ROW, "a list of objects", specs, rows[0])
  for index, row in enumerate(rows):
    if _is_named(row) != named:
      raise codes.invalid(
          f"'{ROW}': expected objects only, or none. Received: both, first at "
          f"{index}.")
    if named and row.keys() != specs.keys():
      raise codes.invalid(
          f"'{ROW}': expected keys equal to: {','.join(sorted(specs))}. "
          f"Received: {','.join(sorted(row))} at {index}.")
  if named:
    return {name: [row[name] for row in rows] for name in specs}
  return {next(iter(specs)): rows}


def _of_columns(value, specs):
  """{input: its value}; TF Serving ignores other keys too."""
  if not _is_named(value):
    if len(specs) != 1:
      raise _not_named(COLUMN, "an object", specs, value)
    return {next(iter(specs)): value}
  for name in specs:
    if name not in value:
      raise codes.invalid(
          f"Missing named input: {name} in '{COLUMN}' object. Received: "
          f"{', '.join(sorted(value)) or 'none'}.")
  return {name: value[name] for name in specs}


def _is_named(value):
  return isinstance(value, dict) and not json_values.is_base64(value)


def _not_named(key, expected, specs, value):
  return codes.invalid(
      f"'{key}': expected {expected} with the keys "
      f"{', '.join(sorted(specs)) or 'none'}. Received: "
      f"{json_values.kind(value)}.")


def write_outputs(arrays, key):
  """Writes what a predict request gave.

  Args:
    arrays: {name: array}; a single one drops its name.
    key: `ROW` or `COLUMN`, as the request had it.

  Returns:
    bytes of JSON.

  Raises:
    codes.ServingError: rows are asked for, and outputs have none in common.
  """
  def unnamed(values):
    return values if len(values) > 1 else next(iter(values.values()))

  shapes = {value.shape[:1] for value in arrays.values()}
  if key == ROW and (len(shapes) > 1 or () in shapes):
    raise codes.invalid(
        f"Outputs have no rows in common; ask with the key '{COLUMN}'.")
  plain = {name: json_values.plain(name, value)
           for name, value in arrays.items()}
  if key == COLUMN:
    return json_values.dump({"outputs": unnamed(plain)})
  return json_values.dump({"predictions": [
      unnamed(dict(zip(plain, row))) for row in zip(*plain.values())]})


def read_examples(document):
  """Reads the examples of a classify request.

  Args:
    document: dict with the keys "examples" and, perhaps, "context".

  Returns:
    [B] array of serialized `tf.Example`, the context merged into each.

  Raises:
    codes.ServingError: they are missing or malformed.
  """
  examples = document.get("examples")
  if not isinstance(examples, list) or not examples:
    raise codes.invalid(
        "'examples': expected a list of one object or more. Received: "
        f"{json_values.kind(examples)}.")
  context = _example(document.get("context", {}), "'context'")
  serialized = np.empty(len(examples), object)
  # Serialized protos that are joined are merged.
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
    json_values.to_bytes(name, where)
    _fill(example.features.feature[name],
          content if isinstance(content, list) else [content],
          f"{where}: {name}")
  return example.SerializeToString()


def _fill(feature, values, where):
  kinds = set(map(type, values))
  if not kinds:
    return
  if kinds <= {bool, int}:
    feature.int64_list.value.extend(
        json_values.numbers(list(map(int, values)), tf.int64, where).tolist())
  elif kinds <= {float, np.float64}:
    feature.float_list.value.extend(
        json_values.numbers(values, tf.float32, where).tolist())
  elif kinds <= {str, dict}:
    feature.bytes_list.value.extend(
        json_values.to_bytes(one, where) for one in values)
  else:
    raise codes.invalid(
        f"{where}: expected values of one type. Received: "
        f"{', '.join(sorted({json_values.kind(one) for one in values}))}.")
