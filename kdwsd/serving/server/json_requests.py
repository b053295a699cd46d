"""Requests and answers of TF Serving's REST API in JSON, strictly.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc. Where
the two differ the latter is followed: a plain string is taken for bytes too,
as UTF-8, whatever the input's name; only outputs whose name ends in `_bytes`
are written in base64. All that is wrong raises a `codes.ServingError`.
"""

import base64
import json

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

ROW, COLUMN = "instances", "inputs"
_KINDS = {type(None): "null", bool: "a boolean", int: "an integer",
          float: "a number", np.float64: "NaN or Infinity", str: "a string",
          list: "a list", dict: "an object"}
_NUMBERS = {int, float, np.float64}


def parse(body):
  """Parses a body, which must be an object.

  Of a key given twice the first value counts, as in TF Serving. NaN and
  Infinity are `np.float64`, which tells them from numbers too large for one.
  """
  if not body.strip():
    raise codes.invalid("JSON Parse error: The document is empty")
  try:
    document = json.loads(
        body, parse_constant=np.float64,
        object_pairs_hook=lambda pairs: dict(reversed(pairs)))
  except RecursionError as error:
    raise codes.invalid("JSON Parse error: nested too deeply") from error
  except ValueError as error:  # Also of UTF-8, and of huge integers.
    raise codes.invalid(f"JSON Parse error: {error}") from error
  if not isinstance(document, dict):
    raise _wrong("JSON", "an object", document)
  return document


def signature_name(document):
  """The signature a request names; empty for the default one."""
  name = document.get("signature_name", "")
  if not isinstance(name, str):
    raise codes.invalid(
        "'signature_name' key must be a string value. Received: "
        f"{_kind(name)}.")
  return _to_bytes(name, "'signature_name'").decode("utf-8")


def read_inputs(document, specs):
  """Reads a predict request; specs: {name: `tf.TensorSpec`} of the inputs.

  Returns:
    ({name: array}, the key that held them: `ROW` or `COLUMN`).
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
  return {name: array(value, specs[name].dtype, f"{key}: input {name}")
          for name, value in columns.items()}, key


def _of_rows(rows, specs):
  """{input: list of the value in each row}."""
  if not isinstance(rows, list) or not rows:
    raise _wrong(f"'{ROW}'", "a list of one value or more", rows)
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


def _not_named(key, expected, specs, value):
  names = ", ".join(sorted(specs)) or "none"
  return _wrong(f"'{key}'", f"{expected} with the keys {names}", value)


def read_examples(document):
  """[B] array of serialized `tf.Example`s, the context merged into each."""
  examples = document.get("examples")
  if not isinstance(examples, list) or not examples:
    raise _wrong("'examples'", "a list of one object or more", examples)
  context = _example(document.get("context", {}), "'context'")
  # Serialized protos that are joined are merged.
  return _objects([context + _example(one, f"'examples', {index}")
                   for index, one in enumerate(examples)])


def _example(value, where):
  if not isinstance(value, dict):
    raise _wrong(where, "an object of features", value)
  example = tf.train.Example()
  for name, content in value.items():
    _to_bytes(name, where)
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
        _numbers(list(map(int, values)), tf.int64, where).tolist())
  elif kinds <= {float, np.float64}:
    feature.float_list.value.extend(
        _numbers(values, tf.float32, where).tolist())
  elif kinds <= {str, dict}:
    feature.bytes_list.value.extend(_to_bytes(one, where) for one in values)
  else:
    raise codes.invalid(
        f"{where}: expected values of one type. Received: "
        f"{', '.join(sorted({_kind(one) for one in values}))}.")


def array(value, dtype, where):
  """Makes an array of a value, or of lists of lists of ... of one shape.

  Strings become bytes, in an array of objects. `where` starts error messages.
  """
  # Lists stay lists where depth or length differs, and below 32 dimensions.
  values = np.array(value, object)
  flat = values.ravel().tolist()
  if list in set(map(type, flat)):
    raise codes.invalid(
        f"{where}: expected lists of one length at each depth. Received: "
        f"lists that differ below shape {list(values.shape)}.")
  made = (_objects([_to_bytes(one, where) for one in flat])
          if dtype == tf.string else _numbers(flat, dtype, where))
  return made.reshape(values.shape)


def _numbers(flat, dtype, where):
  """[N] array of a list of numbers or booleans."""
  allowed = (_NUMBERS if dtype in (tf.float32, tf.float64)
             else {bool} if dtype == tf.bool
             else {int} if dtype.is_integer else None)
  if allowed is None:
    raise codes.ServingError(
        codes.Code.UNIMPLEMENTED,
        f"{where}: type {dtype.name} cannot be read from JSON.")
  for wrong in set(map(type, flat)) - allowed:
    raise codes.invalid(
        f"{where}: expected values of type {dtype.name}. Received: "
        f"{_KINDS[wrong]}, which is not of expected type: {dtype.name}.")
  if dtype.is_integer and flat and (
      min(flat) < dtype.min or max(flat) > dtype.max):
    raise codes.invalid(
        f"{where}: expected values of type {dtype.name}, {dtype.min} to "
        f"{dtype.max}. Received: {min(flat)} to {max(flat)}.")
  if dtype.is_floating:
    return _floats(flat, dtype.as_numpy_dtype, where)
  return np.array(flat, dtype.as_numpy_dtype)


def _floats(flat, dtype, where):
  exact = 2 ** (np.finfo(dtype).nmant + 1)  # Below it, all integers are.
  largest = float(np.finfo(dtype).max)
  try:
    values = np.array(flat, np.float64)
  except OverflowError:  # Of an integer.
    values = np.full(len(flat), np.inf)
  for index in np.flatnonzero(~(np.abs(values) < exact)):
    one = flat[index]
    if (isinstance(one, int) and abs(one) >= exact) or (
        type(one) is float and abs(one) > largest):
      raise codes.invalid(
          f"{where}: cannot convert a value to {np.dtype(dtype).name} without "
          f"loss of precision: expected integers below {exact} and numbers of "
          f"{largest:.6g} at most.")
  return values.astype(dtype)


def _to_bytes(value, where):
  """Bytes of a string, as UTF-8, or of base64."""
  if isinstance(value, str):
    try:
      return value.encode("utf-8")
    except UnicodeEncodeError as error:
      raise codes.invalid(
          f"{where}: expected Unicode. Received: {error}.") from error
  if not _is_base64(value):
    raise codes.invalid(
        f"{where}: expected a string or {{\"b64\": base64 string}}. Received: "
        f"{_kind(value)}, which is not of expected type: string.")
  try:
    return base64.b64decode(value["b64"], validate=True)
  except ValueError:  # To look for white space first takes a while.
    text = "".join(value["b64"].split())
  try:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
  except ValueError as error:
    raise codes.invalid(
        f"{where}: Unable to base64 decode: {error}.") from error


def _is_base64(value):
  return (isinstance(value, dict) and len(value) == 1
          and isinstance(value.get("b64"), str))


def _is_named(value):
  return isinstance(value, dict) and not _is_base64(value)


def _kind(value):
  return "an empty list" if value == [] else _KINDS[type(value)]


def _wrong(where, expected, value):
  return codes.invalid(
      f"{where}: expected {expected}. Received: {_kind(value)}.")


def _objects(values):
  made = np.empty(len(values), object)
  made[:] = values
  return made


def write_outputs(arrays, key):
  """JSON, as bytes, of {name: array}; a single one drops its name.

  With the `key` `ROW`, by row; then all must have their first axis in common.
  """
  def unnamed(values):
    return values if len(values) > 1 else next(iter(values.values()))

  shapes = {value.shape[:1] for value in arrays.values()}
  if key == ROW and (len(shapes) > 1 or () in shapes):
    raise codes.invalid(
        f"Outputs have no rows in common; ask with the key '{COLUMN}'.")
  values = {name: plain(name, value) for name, value in arrays.items()}
  if key == COLUMN:
    return dump({"outputs": unnamed(values)})
  return dump({"predictions": [
      unnamed(dict(zip(values, row))) for row in zip(*values.values())]})


def plain(name, values):
  """An output's array as nested lists for JSON."""
  if values.dtype == object:
    return _objects([
        {"b64": base64.b64encode(one).decode("ascii")}
        if name.endswith("_bytes") else one.decode("utf-8", "replace")
        for one in values.ravel()]).reshape(values.shape).tolist()
  if values.dtype == np.float32:
    # By way of text: 0.2 is to be 0.2, not 0.20000000298.
    return values.astype("U32").astype(np.float64).tolist()
  if values.dtype.kind not in "biuf":
    raise codes.invalid(
        f"Failed to write JSON value for tensor type: {values.dtype.name}")
  return values.tolist()


def dump(document):
  """JSON as bytes. Not finite numbers are NaN, Infinity and -Infinity."""
  return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
