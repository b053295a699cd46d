"""Between the JSON of TF Serving's REST API and arrays.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc. Where
the two differ the latter is followed: a plain string is taken for bytes too,
as UTF-8, whatever the input's name; only outputs whose name ends in `_bytes`
are written in base64.
"""

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

ROW, COLUMN = "instances", "inputs"

_KINDS = {type(None): "null", bool: "a boolean", int: "an integer",
          float: "a number", str: "a string", list: "a list",
          dict: "an object"}
_FLOATS = ("float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
             "uint64")


def parse(body):
  """Parses a request's body.

  Args:
    body: bytes.

  Returns:
    dict.

  Raises:
    codes.ServingError: it is no JSON object.
  """
  if not body.strip():
    raise codes.invalid("JSON Parse error: The document is empty")
  try:
    document = json.loads(body)
  except RecursionError as error:
    raise codes.invalid("JSON Parse error: nested too deeply") from error
  except ValueError as error:  # Also of UTF-8, and of huge integers.
    raise codes.invalid(f"JSON Parse error: {error}") from error
  if not isinstance(document, dict):
    raise codes.invalid(
        f"JSON: expected an object. Received: {_kind(document)}.")
  return document


def signature_name(document):
  """The signature a request names; empty for the default one."""
  name = document.get("signature_name", "")
  if not isinstance(name, str):
    raise codes.invalid(
        "'signature_name' key must be a string value. Received: "
        f"{_kind(name)}.")
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
  if ROW in document and COLUMN in document:
    raise codes.invalid(
        f"JSON: expected one of the keys '{COLUMN}' and '{ROW}'. Received: "
        "both.")
  if ROW not in document and COLUMN not in document:
    raise codes.invalid(f"Missing '{COLUMN}' or '{ROW}' key")
  if ROW in document:
    columns = _columns_of_rows(document[ROW], specs)
    where = ROW
  else:
    columns = _columns(document[COLUMN], specs)
    where = COLUMN
  return {name: _array(value, specs[name].dtype, f"{where}: input {name}")
          for name, value in columns.items()}, where


def _columns_of_rows(rows, specs):
  """{input: list of the value in each row}."""
  if not isinstance(rows, list) or not rows:
    raise codes.invalid(
        f"'{ROW}': expected a list of one value or more. Received: "
        f"{'an empty list' if rows == [] else _kind(rows)}.")
  named = _is_named(rows[0])
  if not named and len(specs) != 1:
    raise codes.invalid(
        f"'{ROW}': expected a list of objects with the keys "
        f"{', '.join(sorted(specs))}, for the signature has more inputs than "
        f"one. Received: {_kind(rows[0])} at 0.")
  for index, row in enumerate(rows):
    if _is_named(row) != named:
      raise codes.invalid(
          f"'{ROW}': expected objects only, or none. Received: both, first at "
          f"{index}.")
    if named and set(row) != set(specs):
      raise codes.invalid(
          f"'{ROW}': expected keys equal to: {','.join(sorted(specs))}. "
          f"Received: {','.join(sorted(row))} at {index}.")
  if named:
    return {name: [row[name] for row in rows] for name in specs}
  return {next(iter(specs)): rows}


def _columns(value, specs):
  """{input: its value}."""
  if not _is_named(value):
    if len(specs) != 1:
      raise codes.invalid(
          f"'{COLUMN}': expected an object with the keys "
          f"{', '.join(sorted(specs))}. Received: {_kind(value)}.")
    return {next(iter(specs)): value}
  for name in specs:
    if name not in value:
      raise codes.invalid(f"Missing named input: {name} in '{COLUMN}' object.")
  for name in value:
    # TF Serving does not look at these; a misspelt name is better told.
    if name not in specs:
      raise codes.invalid(
          f"'{COLUMN}': expected the keys {', '.join(sorted(specs))}. "
          f"Received: {name}.")
  return value


def _is_named(value):
  return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
  return (isinstance(value, dict) and len(value) == 1
          and isinstance(value.get("b64"), str))


def _array(value, dtype, where):
  """Makes an array of nested lists, strictly.

  Args:
    value: a list of lists of ..., all of one shape; or a value.
    dtype: `tf.DType`.
    where: starts an error message.
  """
  shape, inner = [], value
  while isinstance(inner, list):
    shape.append(len(inner))
    if not inner:
      break
    inner = inner[0]
  flat = [value]
  for depth, size in enumerate(shape):
    for part in flat:
      if not isinstance(part, list) or len(part) != size:
        raise codes.invalid(
            f"{where}: expected lists of {size} at depth {depth}, all alike. "
            f"Received: {_kind(part)}"
            f"{f' of {len(part)}' if isinstance(part, list) else ''}.")
    flat = [one for part in flat for one in part]
  if dtype == tf.string:
    values = np.empty(len(flat), object)
    values[:] = [_bytes(one, where) for one in flat]
  else:
    values = _numbers(flat, dtype, where)
  return values.reshape(shape)


def _numbers(flat, dtype, where):
  name = dtype.name
  if name in _FLOATS:
    allowed = {int, float}
  elif name in _INTEGERS:
    allowed = {int}
  elif name == "bool":
    allowed = {bool}
  else:
    raise codes.ServingError(
        codes.UNIMPLEMENTED, f"{where}: type {name} cannot be read from JSON.")
  for kind in set(map(type, flat)) - allowed:
    raise codes.invalid(
        f"{where}: expected values of type {name}. Received: {_KINDS[kind]}, "
        f"which is not of expected type: {name}.")
  if name in _INTEGERS and flat:
    limits = np.iinfo(dtype.as_numpy_dtype)
    if min(flat) < limits.min or max(flat) > limits.max:
      raise codes.invalid(
          f"{where}: expected values of type {name}, {limits.min} to "
          f"{limits.max}. Received: {min(flat)} to {max(flat)}.")
  if name in _FLOATS:
    exact = 2 ** 24 if name == "float32" else 2 ** 53
    if any(type(one) is int and abs(one) >= exact for one in flat):
      raise codes.invalid(
          f"{where}: cannot convert an integer to {name} without loss of "
          f"precision: expected less than {exact}.")
  values = np.array(
      flat, np.float64 if name in _FLOATS else dtype.as_numpy_dtype)
  if name == "float32":
    largest = np.finfo(np.float32).max
    if np.any(np.isfinite(values) & (np.abs(values) > largest)):
      raise codes.invalid(
          f"{where}: cannot convert a value to float without loss of "
          f"precision: expected {largest} at most.")
    values = values.astype(np.float32)
  return values


def _bytes(value, where):
  if isinstance(value, str):
    return _encoded(value, where)
  if not _is_base64(value):
    raise codes.invalid(
        f"{where}: expected a string or {{\"b64\": base64 string}}. Received: "
        f"{_kind(value)}, which is not of expected type: string.")
  text = "".join(value["b64"].split())
  try:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
  except (binascii.Error, ValueError) as error:
    raise codes.invalid(
        f"{where}: Unable to base64 decode: {error}.") from error


def _encoded(text, where):
  try:
    return text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise codes.invalid(f"{where}: expected Unicode. Received: {error}."
                        ) from error


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
        f"{'an empty list' if examples == [] else _kind(examples)}.")
  serialized = np.empty(len(examples), object)
  serialized[:] = [context + _example(one, f"'examples', {index}")
                   for index, one in enumerate(examples)]
  return serialized


def _example(value, where):
  if not isinstance(value, dict):
    raise codes.invalid(
        f"{where}: expected an object of features. Received: {_kind(value)}.")
  example = tf.train.Example()
  for name, content in value.items():
    _encoded(name, where)
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
    numbers = _numbers(values, tf.float32, where)
    feature.float_list.value.extend(numbers.tolist())
  elif kinds <= {str, dict}:
    feature.bytes_list.value.extend(_bytes(one, where) for one in values)
  else:
    raise codes.invalid(
        f"{where}: expected values of one type. Received: "
        f"{', '.join(sorted(_KINDS[kind] for kind in kinds))}.")


def write_outputs(arrays, where):
  """Writes what a predict request gave.

  Args:
    arrays: {name: array}; a single one drops its name.
    where: `ROW` or `COLUMN`, as the request had it.

  Returns:
    bytes of JSON. Not finite numbers are NaN, Infinity and -Infinity.

  Raises:
    codes.ServingError: rows are asked for, and outputs have none in common.
  """
  if where == ROW:
    lengths = {value.shape[:1] for value in arrays.values()}
    if len(lengths) > 1 or lengths & {(), (0,)}:
      raise codes.invalid(
          "Outputs have no rows in common; ask with the key 'inputs'.")
  plain = {name: _plain(name, value) for name, value in arrays.items()}
  if where == COLUMN:
    return dump({"outputs": _unnamed(plain)})
  return dump({"predictions": [
      _unnamed(dict(zip(plain, row))) for row in zip(*plain.values())]})


def write_classes(classes, scores):
  """Writes what a classify request gave.

  Args:
    classes: [B, C] array of bytes, or None.
    scores: [B, C] float32 array, or None.

  Returns:
    bytes of JSON.
  """
  shape = (scores if classes is None else classes).shape
  labels = _plain("", np.full(shape, b"", object)
                  if classes is None else classes)
  numbers = _plain("", np.zeros(shape, np.float32)
                   if scores is None else scores)
  return dump({"results": [
      [list(pair) for pair in zip(*row)] for row in zip(labels, numbers)]})


def _unnamed(values):
  return values if len(values) > 1 else next(iter(values.values()))


def _plain(name, array):
  """Nested lists for JSON."""
  if array.dtype == object:
    as_bytes = name.endswith("_bytes")
    flat = np.empty(array.size, object)
    flat[:] = [
        {"b64": base64.b64encode(one).decode("ascii")} if as_bytes
        else one.decode("utf-8", "replace") for one in array.ravel()]
    return flat.reshape(array.shape).tolist()
  if array.dtype == np.float32:
    # By way of text: 0.2 is to be 0.2, not 0.20000000298.
    return array.astype("U32").astype(np.float64).tolist()
  return array.tolist()


def dump(document):
  """JSON as bytes."""
  return json.dumps(document, ensure_ascii=False).encode(
      "utf-8", "replace")


def _kind(value):
  return _KINDS[type(value)]
