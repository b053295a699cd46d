"""One version of a model, loaded: its signatures, checked and run."""

import os

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd import literal_paths
from kdwsd.serving.server import codes
from kdwsd.serving.server import tensor_protos

CLASSIFY = "tensorflow/serving/classify"

# Source: TF Serving 2.15, servables/tensorflow/saved_model_warmup_util.cc.
WARM_UP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MAX_WARM_UPS = 1000


class Signature:
  """A signature of a loaded version, whose session it keeps open.

  Attributes:
    name: its key in the model.
    version: the model's.
    method_name: "tensorflow/serving/predict", for instance.
    inputs, outputs: {name: `tf.Tensor` of the graph}.
    joins: whether rows of several callers may be joined on axis 0; `batching`
      clears it when an output turns out not to have those rows.
  """

  def __init__(self, name, definition, session, version):
    self.name, self.version, self._session = name, version, session
    self.method_name = definition.method_name
    self.inputs, self.outputs = (
        {key: session.graph.get_tensor_by_name(info.name)
         for key, info in infos.items()}
        for infos in (definition.inputs, definition.outputs))
    self.joins = all(
        info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1
        for infos in (definition.inputs, definition.outputs)
        for info in infos.values())

  def check(self, inputs):
    """Raises `codes.ServingError` unless {name: array} fits the signature."""
    if inputs.keys() != self.inputs.keys():
      raise codes.invalid(
          f"Signature {self.name}: expected the inputs {sorted(self.inputs)}. "
          f"Received: {sorted(inputs)}.")
    for name, value in inputs.items():
      tensor = self.inputs[name]
      if (value.dtype != tensor.dtype.as_numpy_dtype
          or not tensor.shape.is_compatible_with(value.shape)):
        raise codes.invalid(
            f"Input {name}: expected {tensor.dtype.name} of shape "
            f"{tensor.shape}. Received: {tf.as_dtype(value.dtype).name} of "
            f"shape {value.shape}.")

  def run(self, inputs):
    """Maps {name: array} to {name: array}; strings are arrays of objects.

    Raises:
      tf.errors.OpError, UnicodeDecodeError: an operation failed.
    """
    outputs = self._session.run(list(self.outputs.values()), {
        self.inputs[name]: value for name, value in inputs.items()})
    return {name: np.asarray(value, tensor.dtype.as_numpy_dtype)
            for (name, tensor), value in zip(self.outputs.items(), outputs)}


class LoadedVersion:
  """A version of a model in memory.

  Attributes:
    version: its number.
    session: its variables are freed with the last reference to it.
    signatures: {name: `Signature`}.
    definitions: {name: `SignatureDef` proto}.
  """

  def __init__(self, path, version):
    self.version = version
    # A session, as in TF Serving. The functions of `tf.saved_model.load` take
    # more time a call, and leave cycles that only `gc` frees.
    self.session = tf.compat.v1.Session(graph=tf.Graph())
    with self.session.graph.as_default():
      graph = tf.compat.v1.saved_model.load(
          self.session, ["serve"], literal_paths.literal(path))
    self.definitions = dict(graph.signature_def)
    self.signatures = {
        name: Signature(name, definition, self.session, version)
        for name, definition in self.definitions.items()
        if not name.startswith("__")}  # "__saved_model_init_op" is none.

  def signature(self, spec, method_name=None):
    """The signature that a `ModelSpec` names, of a method if that is given.

    The codes of the `codes.ServingError` are TF Serving's, which differ.
    """
    name = spec.signature_name or "serving_default"
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

  def read(self, request):
    """(`Signature`, {name: array}) of a predict or classify request proto."""
    if hasattr(request, "inputs"):
      return self.signature(request.model_spec), {
          name: tensor_protos.read(name, proto)
          for name, proto in request.inputs.items()}
    return self.signature(request.model_spec, CLASSIFY), {
        "inputs": tensor_protos.read_examples(request.input)}


def load(path, version, stopping):
  """Loads a `LoadedVersion` from a directory and replays its warm-up requests.

  The requests end when the event `stopping` is set. It raises exceptions of
  many kinds where the version is broken.
  """
  loaded = LoadedVersion(path, version)
  path = os.path.join(path, WARM_UP_FILE)
  requests = tf.data.TFRecordDataset(path) if os.path.exists(path) else ()
  for number, record in enumerate(requests):
    if stopping.is_set():
      break
    if number >= _MAX_WARM_UPS:
      raise codes.invalid(f"{path}: expected {_MAX_WARM_UPS} requests at most. "
                          "Received: more.")
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    for kind in ("predict_log", "classify_log"):  # Others are not served.
      if log.HasField(kind):
        signature, inputs = loaded.read(getattr(log, kind).request)
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
