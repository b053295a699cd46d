"""Between the protos of TF Serving's gRPC API and arrays."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from kdwsd.serving.server import codes

# Where TF Serving's answers have their values: its default is the typed
# fields, not `tensor_content`, and clients read them by name.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val", types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val", types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val", types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val", types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val", types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_STRING: "string_val"}

# A few bytes can declare a tensor of terabytes: one value, repeated.
_MOST_BYTES = 2 ** 30


def read(protos):
  """Reads tensors.

  Args:
    protos: {name: `TensorProto`}.

  Returns:
    {name: array}; strings are bytes, in arrays of objects.

  Raises:
    codes.ServingError: a proto contradicts itself, or is huge.
  """
  return {name: _read(name, proto) for name, proto in protos.items()}


def _read(name, proto):
  shape = [dim.size for dim in proto.tensor_shape.dim]
  if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
    raise codes.invalid(
        f"Input {name}: expected a shape that is known. Received: {shape}.")
  size = 1
  for length in shape:
    size *= length
  if proto.dtype == types_pb2.DT_STRING:
    if len(proto.string_val) != size:
      raise codes.invalid(
          f"Input {name}: expected {size} strings for the shape {shape}. "
          f"Received: {len(proto.string_val)}.")
    values = np.empty(size, object)
    values[:] = list(proto.string_val)
    return values.reshape(shape)
  try:
    dtype = tf.as_dtype(proto.dtype).as_numpy_dtype
    if size * np.dtype(dtype).itemsize > _MOST_BYTES:
      raise ValueError(f"shape {shape}, more than {_MOST_BYTES} bytes")
    return tf.make_ndarray(proto)
  except Exception as error:
    raise codes.invalid(
        f"Input {name}: expected a tensor whose values fit its type and "
        f"shape. Received: {error}.") from error


def read_examples(proto):
  """Reads what `Classify` is asked.

  Args:
    proto: `Input`.

  Returns:
    [B] array of serialized `tf.Example`, the context merged into each.

  Raises:
    codes.ServingError: there is none.
  """
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


def write(arrays, protos):
  """Writes arrays.

  Args:
    arrays: {name: array}.
    protos: {name: `TensorProto`}, a map of a response.
  """
  for name, array in arrays.items():
    dtype = tf.as_dtype(array.dtype)
    field = _FIELDS.get(dtype.as_datatype_enum)
    if field is None:
      protos[name].CopyFrom(tf.make_tensor_proto(array))
      continue
    protos[name].dtype = dtype.as_datatype_enum
    protos[name].tensor_shape.SetInParent()
    for size in array.shape:
      protos[name].tensor_shape.dim.add().size = size
    getattr(protos[name], field).extend(array.ravel().tolist())
