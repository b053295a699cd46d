"""One version of a model, loaded: its signatures, checked and run."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2

from kdwsd.serving import native_session
from kdwsd.serving import warmup
from kdwsd.serving.server import codes

CLASSIFY = "tensorflow/serving/classify"


class Signature:
  """A signature of a loaded version, whose session it keeps in memory.

  Attributes:
    name: its key in the model.
    version: the model's.
    method_name: "tensorflow/serving/predict", for instance.
    inputs: {name: `tf.TensorSpec`}.
    joins: whether rows of several callers may be joined on axis 0; `batching`
      clears it when an output turns out not to have those rows.
  """

  def __init__(self, name, definition, session, version):
    self.name, self.version, self._session = name, version, session
    self.method_name = definition.method_name
    self.inputs, outputs = (
        {key: tf.TensorSpec(info.tensor_shape, info.dtype)
         for key, info in infos.items()}
        for infos in (definition.inputs, definition.outputs))
    self.joins = all(spec.shape.rank and spec.shape[0] is None
                     for spec in (*self.inputs.values(), *outputs.values()))

  def check(self, inputs):
    """Raises `codes.ServingError` unless {name: array} fits the signature."""
    if inputs.keys() != self.inputs.keys():
      raise codes.invalid(
          f"Signature {self.name}: expected the inputs {sorted(self.inputs)}. "
          f"Received: {sorted(inputs)}.")
    for name, value in inputs.items():
      spec = self.inputs[name]
      if (value.dtype != spec.dtype.as_numpy_dtype
          or not spec.shape.is_compatible_with(value.shape)):
        raise codes.invalid(
            f"Input {name}: expected {spec.dtype.name} of shape {spec.shape}. "
            f"Received: {tf.as_dtype(value.dtype).name} of shape "
            f"{value.shape}.")

  def run(self, inputs):
    """Maps {name: array} to {name: array}; strings are arrays of objects.

    Raises:
      native_session.NativeError: an operation failed.
    """
    return self._session.run(self.name, inputs)


class LoadedVersion:
  """A version of a model in memory.

  Attributes:
    version: its number.
    session: freed with the last reference to it.
    signatures: {name: `Signature`}.
    definitions: `SignatureDefMap` proto.
  """

  def __init__(self, path, version):
    self.version = version
    self.session = native_session.Session(path)
    self.definitions = get_model_metadata_pb2.SignatureDefMap(
        signature_def=tf.compat.v1.MetaGraphDef.FromString(
            self.session.meta_graph).signature_def)
    self.signatures = {
        name: Signature(
            name, self.definitions.signature_def[name], self.session, version)
        for name in self.session.signatures}

  def signature(self, name, method_name=None):
    """The signature of a name, or the default one; of a method, if given.

    The codes of the `codes.ServingError` are TF Serving's, which differ.
    """
    name = name or "serving_default"
    found = self.signatures.get(name)
    if not method_name and not found:
      raise codes.ServingError(
          codes.Code.FAILED_PRECONDITION,
          f'Serving signature key "{name}" not found. Available: '
          f"{sorted(self.signatures)}.")
    if method_name and (not found or found.method_name != method_name):
      raise codes.invalid(
          f"Signature {name}: expected method_name {method_name}. Received: "
          f"{found.method_name if found else 'not found'}.")
    return found


def load(path, version, stopping):
  """Loads a `LoadedVersion` from a directory and runs its warm-up requests.

  The requests end when the event `stopping` is set. It raises exceptions of
  many kinds where the version is broken.
  """
  loaded = LoadedVersion(path, version)
  for name, inputs in warmup.read(path):
    if stopping.is_set():
      break
    signature = loaded.signature(name)
    signature.check(inputs)
    signature.run(inputs)
  return loaded


def classification(outputs):
  """Outputs of a classify signature: bytes [B, C], float32 [B, C]."""
  classes, scores = outputs.get("classes"), outputs.get("scores")
  if (classes is None or scores is None or classes.ndim != 2
      or classes.shape != scores.shape or classes.dtype != object
      or scores.dtype != np.float32):
    raise codes.invalid(
        "Expected outputs classes and scores, strings and float32 of shape "
        f"[B,C]. Received: {outputs}.")
  return classes, scores
