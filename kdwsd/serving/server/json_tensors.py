"""Predict requests and answers of TF Serving's REST API.

Source: TF Serving 2.15, the page "RESTful API" and util/json_tensor.cc. Where
the two differ the latter is followed: a plain string is taken for bytes too,
as UTF-8, whatever the input's name; only outputs whose name ends in `_bytes`
are written in base64.
"""

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
  return {
      name: json_values.array(
          value, specs[name].dtype, f"{where}: input {name}")
      for name, value in columns.items()}, where


def _columns_of_rows(rows, specs):
  """{input: list of the value in each row}."""
  if not isinstance(rows, list) or not rows:
    raise codes.invalid(
        f"'{ROW}': expected a list of one value or more. Received: "
        f"{'an empty list' if rows == [] else json_values.kind(rows)}.")
  named = _is_named(rows[0])
  if not named and len(specs) != 1:
    raise codes.invalid(
        f"'{ROW}': expected a list of objects with the keys "
        f"{', '.join(sorted(specs))}, for the signature has more inputs than "
        f"one. Received: {json_values.kind(rows[0])} at 0.")
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
          f"{', '.join(sorted(specs))}. Received: {json_values.kind(value)}.")
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
  return isinstance(value, dict) and not json_values.is_base64(value)


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
  plain = {name: json_values.plain(name, value)
           for name, value in arrays.items()}
  if where == COLUMN:
    return json_values.dump({"outputs": _unnamed(plain)})
  return json_values.dump({"predictions": [
      _unnamed(dict(zip(plain, row))) for row in zip(*plain.values())]})


def _unnamed(values):
  return values if len(values) > 1 else next(iter(values.values()))
