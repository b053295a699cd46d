"""Between the protos of TF Serving's gRPC API and arrays."""

import math

import numpy as np
import tensorflow as tf

from kdwsd.serving.server import codes

# Where TF Serving's answers have their values: its default is the typed
# fields, not `tensor_content`, and clients read them by name.
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int8": "int_val",
    "int16": "int_val", "int32": "int_val", "uint8": "int_val",
    "int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val",
    "uint64": "uint64_val", "string": "string_val"}

# A few bytes can declare a tensor of terabytes: one value, repeated.
_MOST_BYTES = 2 ** 30


def read(name, proto):
  """Reads a `TensorProto`, the input of a name; strings are objects.

  One that contradicts itself, or is huge, raises a `codes.ServingError`.
  """
  try:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
      raise ValueError(f"shape {shape}, which is not known")
    size = math.prod(shape)
    dtype = tf.as_dtype(proto.dtype)
    if size * dtype.size > _MOST_BYTES:
      raise ValueError(f"shape {shape}, more than {_MOST_BYTES} bytes")
    if dtype != tf.string:
      return tf.make_ndarray(proto)
    values = np.empty(len(proto.string_val), object)
    values[:] = proto.string_val  # make_ndarray would fill up missing ones.
    return values.reshape(shape)
  except Exception as error:  # Of a dozen kinds.
    raise codes.invalid(
        f"Input {name}: expected a tensor whose values fit its type and "
        f"shape. Received: {error}.") from error


def read_examples(proto):
  """[B] array of an `Input`'s serialized examples, the context in each."""
  context = b""
  examples = proto.example_list.examples
  if proto.WhichOneof("kind") == "example_list_with_context":
    # Serialized protos that are joined are merged.
    context = proto.example_list_with_context.context.SerializeToString()
    examples = proto.example_list_with_context.examples
  if not examples:
    raise codes.invalid("Input is empty.")
  serialized = np.empty(len(examples), object)
  serialized[:] = [context + one.SerializeToString() for one in examples]
  return serialized


def write(array, proto):
  """Writes an array to a `TensorProto`."""
  dtype = tf.as_dtype(array.dtype)
  if dtype.name not in _FIELDS:
    proto.CopyFrom(tf.make_tensor_proto(array))
    return
  proto.dtype = dtype.as_datatype_enum
  proto.tensor_shape.SetInParent()
  for size in array.shape:
    proto.tensor_shape.dim.add(size=size)
  getattr(proto, _FIELDS[dtype.name]).extend(array.ravel().tolist())
