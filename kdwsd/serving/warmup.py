"""Warm-up requests, which a server runs before it reports a model as ready.

TensorFlow Serving replays up to 1000 PredictionLogs of
`assets.extra/tf_serving_warmup_requests`, and does not load a version if one of
them fails. Source: its document saved_model_warmup.md.
"""

import os

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd import errors
from kdwsd.data import tuning
from kdwsd.serving import saved_model
from kdwsd.serving import signatures

MAX_REQUESTS = 1000


def path(directory):
  """Path of a version's warm-up requests."""
  return os.path.join(directory, "assets.extra", saved_model.WARMUP_FILE)


def write(directory, requests, *, model_name):
  """Writes the warm-up requests of a version; without any, writes no file.

  Args:
    directory: directory of the version.
    requests: list of (signature name, {input: array}).
    model_name: written into the requests, for information.

  Raises:
    errors.InputError: see `check_count`.
  """
  check_count(len(requests))
  if not requests:
    return
  os.makedirs(os.path.dirname(path(directory)), exist_ok=True)
  with tf.io.TFRecordWriter(path(directory)) as writer:
    for signature_name, inputs in requests:
      writer.write(
          _log(signature_name, inputs, model_name).SerializeToString())


def check_count(count):
  """Checks the number of requests.

  Raises:
    errors.InputError: there are more than TensorFlow Serving reads.
  """
  if count > MAX_REQUESTS:
    raise errors.InputError(
        f"--warmup: expected at most {MAX_REQUESTS} requests, the limit of "
        f"TensorFlow Serving. Received: {count}.")


def read(directory):
  """Reads the warm-up requests of a version as a server would.

  Args:
    directory: directory of the version.

  Returns:
    List of (signature name, {input: array}), without requests that are neither
    to predict nor to classify.

  Raises:
    errors.InputError: see `check_count`.
  """
  if not os.path.exists(path(directory)):
    return []
  requests = []
  for content in tuning.untuned(
      tf.data.TFRecordDataset(path(directory))).as_numpy_iterator():
    log = prediction_log_pb2.PredictionLog.FromString(content)
    kind = log.WhichOneof("log_type")
    if kind == "classify_log":
      request = log.classify_log.request
      examples = request.input.example_list.examples
      inputs = {signatures.EXAMPLES: np.array(
          [example.SerializeToString() for example in examples], object)}
    elif kind == "predict_log":
      request = log.predict_log.request
      inputs = {name: tf.make_ndarray(tensor)
                for name, tensor in request.inputs.items()}
    else:
      continue
    requests.append((request.model_spec.signature_name, inputs))
    check_count(len(requests))
  return requests


def _log(signature_name, inputs, model_name):
  log = prediction_log_pb2.PredictionLog()
  if signature_name == signatures.CLASSIFY:
    request = log.classify_log.request
    for example in inputs[signatures.EXAMPLES]:
      request.input.example_list.examples.append(
          tf.train.Example.FromString(example))
  else:
    request = log.predict_log.request
    for name, value in inputs.items():
      request.inputs[name].CopyFrom(tf.make_tensor_proto(
          value, tf.string if value.dtype == object else None))
  request.model_spec.name = model_name
  request.model_spec.signature_name = signature_name
  return log
