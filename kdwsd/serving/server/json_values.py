"""Values of JSON, strictly: what a client means and nothing else.

Source: TF Serving 2.15, util/json_tensor.cc.
"""

import base64
import json

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

_KINDS = {type(None): "null", bool: "a boolean", int: "an integer",
          float: "a number", np.float64: "NaN or Infinity", str: "a string",
          list: "a list", dict: "an object"}


def parse(body):
  """Parses a request's body.

  Of a key given twice the first value counts, as in TF Serving. NaN and
  Infinity are `np.float64`, which tells them from numbers too large for one.

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
    document = json.loads(
        body, parse_constant=np.float64,
        object_pairs_hook=lambda pairs: dict(reversed(pairs)))
  except RecursionError as error:
    raise codes.invalid("JSON Parse error: nested too deeply") from error
  except ValueError as error:  # Also of UTF-8, and of huge integers.
    raise codes.invalid(f"JSON Parse error: {error}") from error
  if not isinstance(document, dict):
    raise codes.invalid(
        f"JSON: expected an object. Received: {kind(document)}.")
  return document


def kind(value):
  """What a value is, in words."""
  return "an empty list" if value == [] else _KINDS[type(value)]


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
  # Lists stay lists where depth or length differs, and below 32 dimensions.
  values = np.array(value, object)
  flat = values.ravel().tolist()
  if list in set(map(type, flat)):
    raise codes.invalid(
        f"{where}: expected lists of one length at each depth. Received: "
        f"lists that differ below shape {list(values.shape)}.")
  if dtype == tf.string:
    made = np.empty(len(flat), object)
    made[:] = [to_bytes(one, where) for one in flat]
  else:
    made = numbers(flat, dtype, where)
  return made.reshape(values.shape)


def numbers(flat, dtype, where):
  """Makes an array [N] of a list of numbers or booleans; see `array`."""
  numpy_dtype = np.dtype(dtype.as_numpy_dtype)
  allowed = {"float32": {int, float, np.float64},
             "float64": {int, float, np.float64}, "bool": {bool}}.get(
                 dtype.name, {int} if numpy_dtype.kind in "iu" else None)
  if allowed is None:
    raise codes.ServingError(
        codes.Code.UNIMPLEMENTED,
        f"{where}: type {dtype.name} cannot be read from JSON.")
  kinds = set(map(type, flat))
  for wrong in kinds - allowed:
    raise codes.invalid(
        f"{where}: expected values of type {dtype.name}. Received: "
        f"{_KINDS[wrong]}, which is not of expected type: {dtype.name}.")
  if dtype.is_integer and flat:
    limits = np.iinfo(numpy_dtype)
    if min(flat) < limits.min or max(flat) > limits.max:
      raise codes.invalid(
          f"{where}: expected values of type {dtype.name}, {limits.min} to "
          f"{limits.max}. Received: {min(flat)} to {max(flat)}.")
  if dtype.is_floating:
    return _floats(flat, numpy_dtype, where)
  return np.array(flat, numpy_dtype)


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
          f"{where}: cannot convert a value to {dtype.name} without loss of "
          f"precision: expected integers below {exact} and numbers of "
          f"{largest:.6g} at most.")
  return values.astype(dtype)


def to_bytes(value, where):
  """Bytes of a string, as UTF-8, or of base64; see `array`."""
  if isinstance(value, str):
    try:
      return value.encode("utf-8")
    except UnicodeEncodeError as error:
      raise codes.invalid(f"{where}: expected Unicode. Received: {error}."
                          ) from error
  if not is_base64(value):
    raise codes.invalid(
        f"{where}: expected a string or {{\"b64\": base64 string}}. Received: "
        f"{kind(value)}, which is not of expected type: string.")
  try:
    return base64.b64decode(value["b64"], validate=True)
  except ValueError:  # To look for white space first takes a while.
    text = "".join(value["b64"].split())
  try:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
  except ValueError as error:
    raise codes.invalid(
        f"{where}: Unable to base64 decode: {error}.") from error


def plain(name, values):
  """Nested lists for JSON of an output.

  Args:
    name: of the output; strings of one that ends in `_bytes` are written in
      base64.
    values: array.

  Raises:
    codes.ServingError: its type cannot be written.
  """
  if values.dtype == object:
    flat = np.empty(values.size, object)
    flat[:] = [
        {"b64": base64.b64encode(one).decode("ascii")}
        if name.endswith("_bytes") else one.decode("utf-8", "replace")
        for one in values.ravel()]
    return flat.reshape(values.shape).tolist()
  if values.dtype == np.float32:
    # By way of text: 0.2 is to be 0.2, not 0.20000000298.
    return values.astype("U32").astype(np.float64).tolist()
  if values.dtype.kind not in "biuf":
    raise codes.invalid(
        f"Failed to write JSON value for tensor type: {values.dtype.name}")
  return values.tolist()


def dump(document):
  """JSON as bytes. Not finite numbers are NaN, Infinity and -Infinity."""
  return json.dumps(document, ensure_ascii=False).encode(
      "utf-8", "replace")
