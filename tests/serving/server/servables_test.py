"""A version is loaded with its signatures, and warmed up first."""

import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd import errors
from kdwsd.serving import native_session
from kdwsd.serving import warmup
from kdwsd.serving.server import codes
from kdwsd.serving.server import servables
from tests.serving.server import fakes


@pytest.fixture(scope="module", name="path")
def fixture_path(tmp_path_factory):
  return fakes.write(str(tmp_path_factory.mktemp("model")), 1)


@pytest.fixture(scope="module", name="loaded")
def fixture_loaded(path):
  return servables.load(path, 1, threading.Event())


def _signature(loaded, name="", *method_name):
  return loaded.signature(name, *method_name)


def test_signatures_are_those_of_the_export(loaded):
  assert set(loaded.signatures) == {
      "serving_default", "images", "classify", "many", "total", "held"}
  assert _signature(loaded) is _signature(loaded, "serving_default")
  assert _signature(loaded, "classify").method_name == servables.CLASSIFY
  images = _signature(loaded, "images").inputs["images"]
  assert images.shape.as_list() == [None, 2, 2, 3]
  assert images.dtype == tf.float32
  assert _signature(loaded, "images").joins
  assert not _signature(loaded, "total").joins  # Its output has no rows.
  with pytest.raises(codes.ServingError) as caught:
    _signature(loaded, "absent")
  assert caught.value.code.name == "FAILED_PRECONDITION"


def test_runs_a_signature(loaded):
  outputs = _signature(loaded).run(
      {"image_bytes": np.array([b"abc\0\0", b""], object)})
  np.testing.assert_allclose(
      outputs["probabilities"], [fakes.probabilities(b"12345", 1), [0, 1]])
  assert outputs["classes"].dtype == object
  assert outputs["classes"][0].tolist() == [b"cat", "dög".encode()]


@pytest.mark.parametrize("inputs, words", [
    ({}, "inputs ['images']. Received: []"),
    ({"images": np.zeros([1, 2, 2, 3], np.float32), "x": np.zeros(1)},
     "Received: ['images', 'x']"),
    ({"images": np.zeros([1, 2, 3, 3], np.float32)},
     "float32 of shape (None, 2, 2, 3). Received: float32 of shape "
     "(1, 2, 3, 3)"),
    ({"images": np.zeros([2, 2, 3], np.float32)}, "Received: float32 of"),
    ({"images": np.zeros([1, 2, 2, 3])}, "Received: float64"),
    ({"images": np.full([1, 2, 2, 3], b"", object)}, "Received: string"),
])
def test_inputs_the_graph_is_not_made_for_are_refused(loaded, inputs, words):
  with pytest.raises(codes.ServingError) as caught:
    _signature(loaded, "images").check(inputs)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert words in caught.value.message


def test_a_classify_signature_is_asked_for_by_its_method(loaded):
  assert _signature(loaded, "classify", servables.CLASSIFY)
  with pytest.raises(codes.ServingError) as caught:
    _signature(loaded, "", servables.CLASSIFY)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert "Received: tensorflow/serving/predict" in caught.value.message
  with pytest.raises(codes.ServingError) as caught:
    _signature(loaded, "absent", servables.CLASSIFY)
  assert caught.value.code.name == "INVALID_ARGUMENT"


def _write_warm_up(path, logs):
  file = warmup.path(path)
  os.makedirs(os.path.dirname(file), exist_ok=True)
  with tf.io.TFRecordWriter(file) as writer:
    for log in logs:
      writer.write(log.SerializeToString())


def test_warm_up_requests_are_run_and_a_failing_one_fails_the_load(
    path, monkeypatch):
  runs = []
  run = servables.Signature.run
  monkeypatch.setattr(servables.Signature, "run", lambda self, inputs: (
      runs.append((self.name, len(next(iter(inputs.values()))))),
      run(self, inputs))[1])
  classify = prediction_log_pb2.PredictionLog()
  request = classify.classify_log.request
  request.model_spec.signature_name = "classify"
  example = request.input.example_list.examples.add()
  example.features.feature["image/encoded"].bytes_list.value.append(b"abc")
  other = prediction_log_pb2.PredictionLog()
  other.session_run_log.SetInParent()
  _write_warm_up(path, [fakes.warm_up_request(b"abc"), other, classify])
  servables.load(path, 1, threading.Event())
  assert runs == [("serving_default", 1), ("classify", 1)]
  stopping = threading.Event()
  stopping.set()
  servables.load(path, 1, stopping)
  assert len(runs) == 2
  _write_warm_up(path, [fakes.warm_up_request(fakes.BAD)])
  with pytest.raises(native_session.NativeError, match="image_bytes.0."):
    servables.load(path, 1, threading.Event())
  monkeypatch.setattr(warmup, "MAX_REQUESTS", 2)
  _write_warm_up(path, [fakes.warm_up_request(b"abc")] * 3)
  with pytest.raises(errors.InputError, match="at most 2 requests"):
    servables.load(path, 1, threading.Event())
