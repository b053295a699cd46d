"""Requests and answers of TF Serving's REST API in JSON, strictly.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc. Where
the two differ the latter is followed: a plain string is taken for bytes too, as
UTF-8, whatever the input's name; only outputs whose name ends in `_bytes` are
written in base64. Invalid requests raise `codes.ServingError`.
"""

import base64
import json
import reprlib

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import servables

ROW, COLUMN = "instances", "inputs"


def _object(pairs):
  """A dict, or the bytes of {"b64": text}; the first of equal keys counts."""
  found = dict(reversed(pairs))
  text = found.get("b64")
  if len(found) > 1 or not isinstance(text, str):
    return found
  if any(space in text for space in " \t\r\n"):  # Faster than a split.
    text = "".join(text.split())
  try:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
  except ValueError as error:
    raise codes.invalid(
        f"JSON: expected base64 in b64. Received: {error}.") from error


# NaN and Infinity are `np.float64`, which tells them from numbers too large for
# a float.
_DECODER = json.JSONDecoder(
    parse_constant=np.float64, object_pairs_hook=_object)
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def parse(body):
  """Parses a body, which must be an object; {"b64": ...} are bytes in it."""
  try:
    document = _DECODER.decode(body.decode("utf-8"))
  except (ValueError, RecursionError) as error:  # Also of huge integers.
    raise codes.invalid(f"JSON Parse error: {error}") from error
  return _expect(isinstance(document, dict), "JSON", "an object", document)


def signature_name(document):
  """The signature a request names; empty for the default one."""
  name = document.get("signature_name", "")
  return _expect(
      isinstance(name, str), "'signature_name'", "a string", name)


def read_inputs(document, specs):
  """Reads a predict request; specs: {name: `tf.TensorSpec`} of the inputs.

  Returns:
    ({name: array}, the key that held them: `ROW` or `COLUMN`).
  """
  keys = [key for key in (ROW, COLUMN) if key in document]
  _expect(len(keys) == 1, "JSON", f"one key of '{COLUMN}' and '{ROW}'", keys)
  key, value = keys[0], document[keys[0]]
  if key == ROW:
    _expect(isinstance(value, list) and value, f"'{ROW}'", "a list", value)
  # The name of a single input may be left out.
  if len(specs) == 1 and not any(
      isinstance(one, dict) for one in (value if key == ROW else [value])):
    columns = {next(iter(specs)): value}
  elif key == ROW:
    names = ",".join(sorted(specs))
    for index, row in enumerate(value):
      _expect(isinstance(row, dict) and row.keys() == specs.keys(), f"'{ROW}', "
              f"{index}", f"an object with keys equal to: {names}", row)
    columns = {name: [row[name] for row in value] for name in specs}
  else:
    for name in specs:  # Other keys are ignored, as by TF Serving.
      _expect(isinstance(value, dict) and name in value, f"'{COLUMN}'",
              f"an object with the named input: {name}", value)
    columns = {name: value[name] for name in specs}
  return {name: array(one, specs[name].dtype, f"{key}: input {name}")
          for name, one in columns.items()}, key


def read_examples(document):
  """[B] array of serialized `tf.Example`s, the context merged into each."""
  examples = document.get("examples")
  _expect(isinstance(examples, list) and examples,
          "'examples'", "a list of objects", examples)
  context = _example(document.get("context", {}), "'context'")
  # Serialized protos that are concatenated are merged.
  return np.array([context + _example(one, f"'examples', {index}")
                   for index, one in enumerate(examples)], object)


def _example(value, where):
  _expect(isinstance(value, dict), where, "an object of features", value)
  example = tf.train.Example()
  for name, values in value.items():
    _flat([name], tf.string, where)
    feature = example.features.feature[name]
    values = values if isinstance(values, list) else [values]
    kinds = set(map(type, values))
    field, dtype = (("int64_list", tf.int64) if kinds <= {bool, int} else
                    ("float_list", tf.float32) if kinds <= {float, np.float64}
                    else ("bytes_list", tf.string))
    if dtype == tf.int64:
      values = list(map(int, values))
    if values:
      getattr(feature, field).value.extend(
          _flat(values, dtype, f"{where}: {name}"))
  return example.SerializeToString()


def array(value, dtype, where):
  """Makes an array of a value, or of nested lists of one shape.

  Strings become bytes, in an array of objects. `where` starts error messages.
  """
  # Lists stay lists where depth or length differs, and below NumPy's most
  # dimensions, 32 or 64.
  values = np.array(value, object)
  flat = values.ravel().tolist()
  if list in set(map(type, flat)):
    raise codes.invalid(
        f"{where}: expected lists of one length at each depth. Received: "
        f"lists that differ below shape {list(values.shape)}.")
  return _flat(flat, dtype, where).reshape(values.shape)


def _flat(values, dtype, where):
  """[N] array of a list of strings, bytes, numbers or booleans."""
  allowed = ({str, bytes} if dtype == tf.string else
             {bool} if dtype == tf.bool else {int} if dtype.is_integer else
             {int, float, np.float64} if dtype in (tf.float32, tf.float64)
             else set())
  for wrong in set(map(type, values)) - allowed:
    _expect(False, where, f"values of type {dtype.name}",
            next(one for one in values if type(one) is wrong))
  try:
    if dtype == tf.string:
      return np.array([one.encode("utf-8") if isinstance(one, str) else one
                       for one in values], object)
    if dtype.is_integer and values and (
        min(values) < dtype.min or max(values) > dtype.max):
      raise OverflowError
    with np.errstate(over="ignore"):
      made = np.array(values, dtype.as_numpy_dtype)
    if any(type(values[index]) is not np.float64
           for index in np.flatnonzero(np.isinf(made))):
      raise OverflowError
    return made
  except UnicodeEncodeError as error:
    raise codes.invalid(
        f"{where}: expected Unicode. Received: {error}.") from error
  except OverflowError as error:
    raise codes.invalid(
        f"{where}: expected values in the range of {dtype.name}, {dtype.min} "
        f"to {dtype.max}. Received: one outside of it.") from error


def _expect(is_so, where, expected, value):
  """Returns the value, or raises if it is not as expected."""
  if not is_so:
    raise codes.invalid(
        f"{where}: expected {expected}. Received: {reprlib.repr(value)}.")
  return value


def write_outputs(arrays, key):
  """JSON, as bytes, of {name: array}; the name of a single one is left out.

  With the `key` `ROW`, by row; then all must have the same number of rows.
  """
  def unnamed(values):
    return values if len(values) > 1 else next(iter(values.values()))

  lengths = {value.shape[:1] for value in arrays.values()}
  if key == ROW and (len(lengths) > 1 or () in lengths):
    raise codes.invalid(
        f"Outputs have no rows in common; ask with the key '{COLUMN}'.")
  values = {name: plain(name, value) for name, value in arrays.items()}
  if key == COLUMN:
    return dump({"outputs": unnamed(values)})
  return dump({"predictions": [
      unnamed(dict(zip(values, row))) for row in zip(*values.values())]})


def write_classes(outputs):
  """JSON, as bytes, of the outputs of a classify signature."""
  rows = zip(*(plain("", values)
               for values in servables.classification(outputs)))
  return dump({"results": [list(zip(*row)) for row in rows]})


def plain(name, values):
  """An output's array as nested lists for JSON."""
  if values.dtype == object:
    return np.array([
        {"b64": base64.b64encode(one).decode("ascii")}
        if name.endswith("_bytes") else one.decode("utf-8", "replace")
        for one in values.ravel()], object).reshape(values.shape).tolist()
  if values.dtype == np.float32:
    # By way of text: 0.2 is to be 0.2, not 0.20000000298.
    return values.astype("U32").astype(np.float64).tolist()
  if values.dtype.kind not in "biuf":
    raise codes.invalid(
        f"Failed to write JSON value for tensor type: {values.dtype.name}")
  return values.tolist()


def dump(document):
  """JSON as bytes. Not finite numbers are NaN, Infinity and -Infinity."""
  return _ENCODER.encode(document).encode("utf-8", "replace")
