"""Values of JSON, strictly: what a client means and nothing else.

Source: TF Serving 2.15, util/json_tensor.cc.
"""

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

KINDS = {type(None): "null", bool: "a boolean", int: "an integer",
         float: "a number", str: "a string", list: "a list",
         dict: "an object"}
_MOST_DIMENSIONS = 32  # NumPy's own limit; TensorFlow's is 254.
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
        f"JSON: expected an object. Received: {kind(document)}.")
  return document


def is_base64(value):
  """Whether a value is bytes in base64: {"b64": "..."}."""
  return (isinstance(value, dict) and len(value) == 1
          and isinstance(value.get("b64"), str))


def array(value, dtype, where):
  """Makes an array of nested lists, strictly.

  Args:
    value: a list of lists of ..., all of one shape; or a value.
    dtype: `tf.DType`.
    where: starts an error message.

  Returns:
    An array; strings are bytes, in an array of objects.

  Raises:
    codes.ServingError: it is not regular, or a value is of another type.
  """
  shape, inner = [], value
  while isinstance(inner, list):
    shape.append(len(inner))
    if not inner:
      break
    inner = inner[0]
  if len(shape) > _MOST_DIMENSIONS:
    raise codes.invalid(
        f"{where}: expected lists nested {_MOST_DIMENSIONS} deep at most. "
        f"Received: {len(shape)}.")
  flat = [value]
  for depth, size in enumerate(shape):
    for part in flat:
      if not isinstance(part, list) or len(part) != size:
        raise codes.invalid(
            f"{where}: expected lists of {size} at depth {depth}, all alike. "
            f"Received: {kind(part)}"
            f"{f' of {len(part)}' if isinstance(part, list) else ''}.")
    flat = [one for part in flat for one in part]
  if dtype == tf.string:
    values = np.empty(len(flat), object)
    values[:] = [to_bytes(one, where) for one in flat]
  else:
    values = numbers(flat, dtype, where)
  return values.reshape(shape)


def numbers(flat, dtype, where):
  """Makes an array [N] of a list of numbers or booleans; see `array`."""
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
  for wrong in set(map(type, flat)) - allowed:
    raise codes.invalid(
        f"{where}: expected values of type {name}. Received: {KINDS[wrong]}, "
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


def to_bytes(value, where):
  """Bytes of a string, as UTF-8, or of base64; see `array`."""
  if isinstance(value, str):
    return encoded(value, where)
  if not is_base64(value):
    raise codes.invalid(
        f"{where}: expected a string or {{\"b64\": base64 string}}. Received: "
        f"{kind(value)}, which is not of expected type: string.")
  text = "".join(value["b64"].split())
  try:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
  except (binascii.Error, ValueError) as error:
    raise codes.invalid(
        f"{where}: Unable to base64 decode: {error}.") from error


def encoded(text, where):
  """UTF-8 of a string; see `array`."""
  try:
    return text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise codes.invalid(f"{where}: expected Unicode. Received: {error}."
                        ) from error


def plain(name, values):
  """Nested lists for JSON of an output.

  Args:
    name: of the output; one that ends in `_bytes` is written in base64.
    values: array.
  """
  if values.dtype == object:
    as_bytes = name.endswith("_bytes")
    flat = np.empty(values.size, object)
    flat[:] = [
        {"b64": base64.b64encode(one).decode("ascii")} if as_bytes
        else one.decode("utf-8", "replace") for one in values.ravel()]
    return flat.reshape(values.shape).tolist()
  if values.dtype == np.float32:
    # By way of text: 0.2 is to be 0.2, not 0.20000000298.
    return values.astype("U32").astype(np.float64).tolist()
  return values.tolist()


def dump(document):
  """JSON as bytes."""
  return json.dumps(document, ensure_ascii=False).encode(
      "utf-8", "replace")


def kind(value):
  """What a value is, in words."""
  return KINDS[type(value)]
