"""Between the protos of TF Serving's gRPC API and arrays."""

import math

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

# As TF Serving answers: in the typed fields, which clients read by name, not in
# `tensor_content`.
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int8": "int_val",
    "int16": "int_val", "int32": "int_val", "uint8": "int_val",
    "int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val",
    "uint64": "uint64_val", "string": "string_val"}

# A few bytes can declare a tensor of terabytes: one value, repeated.
_MAX_BYTES = 2 ** 30


def read(name, proto):
  """Reads a `TensorProto`, the input of a name; strings are objects.

  Raises:
    codes.ServingError: it contradicts itself, or is huge.
  """
  try:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    dtype = tf.as_dtype(proto.dtype)
    if (proto.tensor_shape.unknown_rank or min(shape, default=0) < 0
        or math.prod(shape) * dtype.size > _MAX_BYTES):
      raise ValueError(
          f"shape {shape}, not known or of more than {_MAX_BYTES} bytes")
    if dtype != tf.string:
      return tf.make_ndarray(proto)
    # make_ndarray would fill up missing strings.
    return np.array(list(proto.string_val), object).reshape(shape)
  except Exception as error:  # Of a dozen kinds.
    raise codes.invalid(
        f"Input {name}: expected a tensor whose values fit its type and "
        f"shape. Received: {error}.") from error


def read_examples(proto):
  """[B] array of an `Input`'s serialized examples, the context in each."""
  with_context = proto.example_list_with_context  # Or empty.
  examples = proto.example_list.examples or with_context.examples
  if not examples:
    raise codes.invalid("Input is empty.")
  context = with_context.context.SerializeToString()
  # Serialized protos that are concatenated are merged.
  return np.array(
      [context + one.SerializeToString() for one in examples], object)


def write(array, proto):
  """Writes an array to a `TensorProto`."""
  dtype = tf.as_dtype(array.dtype)
  if dtype.name not in _FIELDS:
    proto.CopyFrom(tf.make_tensor_proto(array))
    return
  proto.dtype = dtype.as_datatype_enum
  proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
  getattr(proto, _FIELDS[dtype.name]).extend(array.ravel().tolist())
