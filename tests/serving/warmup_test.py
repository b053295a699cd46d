"""Warm-up requests as TensorFlow Serving reads them."""

import os

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd import errors
from kdwsd.serving import examples
from kdwsd.serving import warmup
from tests.serving import fakes


def test_every_request_comes_back(tmp_path):
  servable = fakes.servable_student()
  chosen = examples.drawn(3)
  requests = [request for size in (1, 3)
              for request in examples.requests(servable, chosen[:size])]
  warmup.write(str(tmp_path), requests, model_name="student")
  found = warmup.read(str(tmp_path))
  assert [name for name, _ in found] == [
      "serving_default", "per_image", "images", "classify"] * 2
  for (_, expected), (_, inputs) in zip(requests, found):
    assert set(inputs) == set(expected)
    for key, value in expected.items():
      np.testing.assert_array_equal(inputs[key], value)


def test_logs_are_of_the_kind_that_the_method_needs(tmp_path):
  servable = fakes.servable_student()
  warmup.write(str(tmp_path), examples.requests(servable, examples.drawn(1)),
               model_name="student")
  path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
  logs = [prediction_log_pb2.PredictionLog.FromString(content) for content in
          tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
  assert [log.WhichOneof("log_type") for log in logs] == [
      "predict_log", "predict_log", "predict_log", "classify_log"]
  request = logs[0].predict_log.request
  assert request.model_spec.name == "student"
  assert request.model_spec.signature_name == "serving_default"
  assert request.inputs["image_bytes"].dtype == tf.string.as_datatype_enum
  (example,) = logs[3].classify_log.request.input.example_list.examples
  (image,) = example.features.feature["image/encoded"].bytes_list.value
  assert image.startswith(b"\xff\xd8")


def test_a_detectors_requests_have_proposals(tmp_path):
  servable = fakes.servable_teacher()
  warmup.write(str(tmp_path), examples.requests(servable, examples.drawn(2)),
               model_name="teacher")
  found = dict(warmup.read(str(tmp_path)))
  assert set(found) == {"serving_default", "per_image", "images"}
  for inputs in found.values():
    assert inputs["proposals"].shape == (2, 16, 4)
    assert inputs["objectness"].dtype == np.float32


def test_a_server_reads_a_thousand_at_most(tmp_path):
  request = ("images", {"images": np.zeros([1, 2, 2, 3], np.float32)})
  warmup.write(str(tmp_path / "most"), [request] * 1000, model_name="m")
  assert len(warmup.read(str(tmp_path / "most"))) == 1000
  with pytest.raises(errors.InputError, match="at most 1000.*Received: 1001"):
    warmup.write(str(tmp_path / "more"), [request] * 1001, model_name="m")
  assert not os.path.exists(tmp_path / "more")


def test_none_are_no_file(tmp_path):
  warmup.write(str(tmp_path), [], model_name="m")
  assert os.listdir(tmp_path) == []
  assert warmup.read(str(tmp_path)) == []
