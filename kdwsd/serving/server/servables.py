"""One version of a model, loaded: its signatures, checked and run."""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd import literal_paths
from kdwsd.serving.server import codes
from kdwsd.serving.server import tensor_protos

DEFAULT_SIGNATURE = "serving_default"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

# Source: TF Serving 2.15, servables/tensorflow/saved_model_warmup_util.cc.
WARM_UP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MOST_WARM_UPS = 1000


class Signature:
  """A function of a model that can be called.

  Attributes:
    name: its key in the model.
    version: the model's.
    method_name: "tensorflow/serving/predict", for instance.
    inputs, outputs: {name: `tf.TensorSpec`}.
    joins: whether rows of several callers may be joined on axis 0; `batching`
      clears it when outputs turn out not to have those rows.
  """

  def __init__(self, name, definition, function, owner):
    self.name = name
    self.version = owner.version
    self._owner = owner  # A call keeps the signature, and that its version.
    self.method_name = definition.method_name
    self.inputs = _specs(definition.inputs)
    self.outputs = _specs(definition.outputs)
    self.joins = all(
        spec.shape.rank and spec.shape[0] is None
        for spec in (*self.inputs.values(), *self.outputs.values()))
    self._function = function

  def check(self, inputs):
    """Refuses {name: array} if one is missing, unknown or of a wrong type."""
    missing = sorted(set(self.inputs) - set(inputs))
    extra = sorted(set(inputs) - set(self.inputs))
    if missing or extra:
      raise codes.invalid(
          f"Signature {self.name}: expected the inputs "
          f"{', '.join(sorted(self.inputs))}. Received: "
          f"{', '.join(sorted(inputs)) or 'none'}. Missing but required: "
          f"{{{','.join(missing)}}}. Sent extra: {{{','.join(extra)}}}.")
    for name, value in inputs.items():
      spec = self.inputs[name]
      dtype = tf.as_dtype(value.dtype)
      if dtype != spec.dtype or not spec.shape.is_compatible_with(value.shape):
        raise codes.invalid(
            f"Input {name}: expected {_about(spec.dtype, spec.shape)}. "
            f"Received: {_about(dtype, tf.TensorShape(value.shape))}.")

  def run(self, inputs):
    """Runs the graph on, and returns, {name: array}; strings are objects.

    Raises:
      tf.errors.OpError, UnicodeDecodeError: the graph refused.
    """
    outputs = self._function(**{
        name: tf.constant(value, self.inputs[name].dtype)
        for name, value in inputs.items()})
    return {name: np.asarray(value.numpy())
            for name, value in outputs.items()}


class LoadedVersion:
  """A version of a model in memory, for as long as something refers to it.

  Attributes:
    version: its number.
    signatures: {name: `Signature`}.
    definitions: {name: `SignatureDef` proto}, also of what cannot be called.
  """

  def __init__(self, path, version):
    self.version = version
    self.definitions = _read_definitions(path)
    functions = tf.saved_model.load(literal_paths.literal(path)).signatures
    self.signatures = {
        name: Signature(name, self.definitions[name], function, self)
        for name, function in functions.items() if name in self.definitions}
    if not self.signatures:
      raise codes.ServingError(
          codes.Code.FAILED_PRECONDITION,
          f"{path}: expected signatures. Received: none that can be called.")

  def signature(self, name, method_name=None):
    """The signature of a name, or the default one if the name is empty.

    With a method name, it must be made for that. The codes of the
    `codes.ServingError` are TF Serving's, which differ.
    """
    name = name or DEFAULT_SIGNATURE
    found = self.signatures.get(name)
    if method_name is None and found is None:
      raise codes.ServingError(
          codes.Code.FAILED_PRECONDITION,
          f'Serving signature key "{name}" not found. There are: '
          f"{', '.join(sorted(self.signatures))}.")
    if method_name and (found is None or found.method_name != method_name):
      fit = sorted(one.name for one in self.signatures.values()
                   if one.method_name == method_name)
      raise codes.invalid(
          f"Signature {name}: expected method_name {method_name}. Was: "
          f"{found.method_name if found else 'not found'}. Signatures with "
          f"that method: {', '.join(fit) or 'none'}.")
    return found


def load(path, version, is_wanted=lambda: True):
  """Loads a version and replays its warm-up requests.

  Args:
    path: directory of a SavedModel.
    version: its number.
    is_wanted: asked between requests; the warm-up ends when it says no.

  Returns:
    A `LoadedVersion`. It raises exceptions of many kinds where it is broken.
  """
  loaded = LoadedVersion(path, version)
  path = os.path.join(path, WARM_UP_FILE)
  requests = tf.data.TFRecordDataset(path) if os.path.exists(path) else ()
  for number, record in enumerate(requests):
    if not is_wanted():
      break
    if number >= _MOST_WARM_UPS:
      raise codes.invalid(f"{path}: expected {_MOST_WARM_UPS} requests at "
                          "most. Received: more.")
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    if log.HasField("predict_log"):
      request = log.predict_log.request
      signature = loaded.signature(request.model_spec.signature_name)
      inputs = {name: tensor_protos.read(name, proto)
                for name, proto in request.inputs.items()}
    elif log.HasField("classify_log"):
      request = log.classify_log.request
      signature = loaded.signature(
          request.model_spec.signature_name, CLASSIFY)
      inputs = {"inputs": tensor_protos.read_examples(request.input)}
    else:  # Of an API that this server does not have.
      continue
    signature.check(inputs)
    signature.run(inputs)
  return loaded


def _read_definitions(path):
  """Signatures as the export declares them, by name."""
  with open(os.path.join(path, "saved_model.pb"), "rb") as file:
    saved_model = saved_model_pb2.SavedModel.FromString(file.read())
  for graph in saved_model.meta_graphs:
    if "serve" in graph.meta_info_def.tags:
      return dict(graph.signature_def)
  raise codes.ServingError(
      codes.Code.NOT_FOUND, f"{path}: expected a graph with the tag serve. "
      "Received: none.")


def _specs(infos):
  return {name: tf.TensorSpec(
      tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
          for name, info in infos.items()}


def _about(dtype, shape):
  if shape.rank is None:
    return f"{dtype.name} of any shape"
  sizes = ",".join("?" if size is None else str(size) for size in shape)
  return f"{dtype.name} of shape [{sizes}]"
