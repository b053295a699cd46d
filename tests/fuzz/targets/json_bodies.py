"""Bodies of requests to the local server."""

import json
import os

from hypothesis import strategies as st
import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_requests
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

REFUSALS = (codes.ServingError,)
_SPECS = {"image_bytes": tf.TensorSpec([None], tf.string),
          "boxes": tf.TensorSpec([None, None, 4], tf.float32),
          "count": tf.TensorSpec([None], tf.int64)}
_ONE = {"image_bytes": {"b64": "AAEC"}, "boxes": [[0, 0, 0.5, 1]], "count": 3}
_BODIES = (
    {"signature_name": "x", "instances": [_ONE, _ONE]},
    {"inputs": {"image_bytes": ["a", {"b64": "/w=="}],
                "boxes": [[[0, 0, 1, 1]], [[0.5, 0, 1, 1]]], "count": [1, 2]}},
    {"context": {"a": "b"}, "examples": [
        {"image_bytes": {"b64": "AAEC"}, "n": [1, 2], "x": 0.5}]})


def examples():
  """Sound bodies: rows, columns, examples."""
  return [{"body": json.dumps(body).encode()} for body in _BODIES]


def grammar():
  """Bodies with something wrong in them."""
  return st.sampled_from(_BODIES).flatmap(g.altered_json).map(
      lambda content: {"body": content})


def check(folder):
  """Tensors of the types asked for, all of one number of rows where rows."""
  document = json_requests.parse(sourced.read(os.path.join(folder, "body")))
  json_requests.signature_name(document)
  if "examples" in document:
    serialized = json_requests.read_examples(document)
    oracle.demand(len(serialized) == len(document["examples"]),
                  "examples lost")
    for one in serialized:
      tf.train.Example.FromString(one)
    return
  arrays, where = json_requests.read_inputs(document, _SPECS)
  oracle.demand(set(arrays) == set(_SPECS), f"inputs {set(arrays)}")
  for name, array in arrays.items():
    wanted = _SPECS[name].dtype.as_numpy_dtype
    oracle.demand(array.dtype == (object if wanted is object else wanted)
                  or array.dtype == np.dtype(object), f"type {array.dtype}")
  if where == json_requests.ROW:
    oracle.demand({len(array) for array in arrays.values()}
                  == {len(document["instances"])}, "rows lost")


def refusal(error, folder):
  """A status of the caller's own fault, and a message to go with it."""
  del folder  # A request has no file.
  oracle.demand(400 <= error.http_status < 600 and error.message,
                f"a refusal with {error.http_status}: {error.message!r}")
  error.message.encode("utf-8", "replace")
