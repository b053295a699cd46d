"""Signatures in a serialized MetaGraphDef, read without TensorFlow.

Hand-made because TensorFlow's own protocol buffers cannot be imported without
all of TensorFlow. Field numbers: tensorflow/core/protobuf/meta_graph.proto.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Signature:
  """A signature of a SavedModel.

  Attributes:
    inputs: {key: (tensor name, number of its DataType)}.
    outputs: like `inputs`.
    method_name: for example tensorflow/serving/predict.
  """
  inputs: dict
  outputs: dict
  method_name: str


def read_signatures(meta_graph):
  """Reads {name: `Signature`} from the bytes of a MetaGraphDef."""
  signatures = {}
  for number, entry in _fields(meta_graph):
    if number == 5:  # signature_def, a map
      name, signature = _map_entry(entry)
      ends, method = {1: {}, 2: {}}, ""
      for field, value in _fields(signature):
        if field in ends:
          key, info = _map_entry(value)
          parts = dict(_fields(info))
          ends[field][key] = parts.get(1, b"").decode(), parts.get(2, 0)
        elif field == 3:
          method = value.decode()
      if method:  # The initialiser has none.
        signatures[name] = Signature(ends[1], ends[2], method)
  return signatures


def _map_entry(entry):
  parts = dict(_fields(entry))
  return parts.get(1, b"").decode(), parts.get(2, b"")


def _fields(message):
  """Yields (number, int or bytes) of a serialized protocol buffer."""
  at = 0
  while at < len(message):
    tag, at = _varint(message, at)
    kind = tag & 7
    if kind == 0:
      value, at = _varint(message, at)
    else:
      size = {1: 8, 5: 4}.get(kind)
      if size is None:
        size, at = _varint(message, at)
      value, at = message[at:at + size], at + size
    yield tag >> 3, value


def _varint(message, at):
  value = shift = 0
  while True:
    byte = message[at]
    value |= (byte & 0x7f) << shift
    at, shift = at + 1, shift + 7
    if byte < 0x80:
      return value, at
