"""The gRPC API over loopback: answers and every code."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import regression_pb2

from kdwsd import errors
from tests.serving.server import clients
from tests.serving.server import fakes

_JPEG = b"\xff\xd8" + bytes(range(256)) + b"\0\0"


@pytest.fixture(scope="module", name="server")
def fixture_server(tmp_path_factory):
  base = tmp_path_factory.mktemp("model")
  fakes.write(str(base), 1)
  fakes.publish(base / "1", base, 2)
  with fakes.server(base, version_labels={"stable": 1, "canary": 2},
                    max_request_bytes=2 ** 16) as server:
    yield server


@pytest.fixture(scope="module", name="client")
def fixture_client(server):
  client = clients.Grpc(server.grpc_port)
  yield client
  client.close()


def _refused(code, words, function, *arguments, **named):
  with pytest.raises(grpc.RpcError) as caught:
    function(*arguments, **named)
  assert caught.value.code() == grpc.StatusCode[code], caught.value
  assert words in caught.value.details(), caught.value.details()


@pytest.mark.parametrize("spec, version", [
    ({}, 2), ({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1),
    ({"label": "canary", "signature": "serving_default"}, 2)])
def test_predicts(client, spec, version):
  response = client.predict({"image_bytes": [_JPEG, b"abc"]}, **spec)
  assert response.model_spec.name == "student"
  assert response.model_spec.version.value == version
  assert response.model_spec.signature_name == "serving_default"
  assert set(response.outputs) == {"probabilities", "classes"}
  np.testing.assert_allclose(
      tf.make_ndarray(response.outputs["probabilities"]),
      [fakes.probabilities(_JPEG, 1), fakes.probabilities(b"abc", 1)],
      rtol=1e-6)
  assert list(response.outputs["classes"].string_val) == [
      b"cat", "dög".encode()] * 2


def test_an_output_filter_chooses(client):
  request = predict_pb2.PredictRequest(output_filter=["classes"])
  request.model_spec.name = "student"
  request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"a"]))
  assert list(client.service.Predict(request).outputs) == ["classes"]
  for names in (["scores"], ["classes", "classes"]):
    del request.output_filter[:]
    request.output_filter.extend(names)
    _refused("INVALID_ARGUMENT", "output_filter", client.service.Predict,
             request)


def test_classifies(client):
  response = client.classify([_JPEG, b"abc"], version=1)
  assert response.model_spec.version.value == 1
  assert response.model_spec.signature_name == "classify"
  rows = response.result.classifications
  assert [[one.label for one in row.classes] for row in rows] == [
      ["cat", "dög"]] * 2
  assert [one.score for one in rows[1].classes] == pytest.approx(
      fakes.probabilities(b"abc", 1))


def test_tells_status_and_metadata(client):
  request = get_model_status_pb2.GetModelStatusRequest()
  clients.fill(request.model_spec)
  statuses = client.models.GetModelStatus(request).model_version_status
  assert [(one.version, one.state, one.status.error_code)
          for one in statuses] == [(2, 30, 0), (1, 30, 0)]  # 30: AVAILABLE.
  clients.fill(request.model_spec, version=1)
  statuses = client.models.GetModelStatus(request).model_version_status
  assert [one.version for one in statuses] == [1]
  # A label is not looked at, be it known or not.
  for label in ("stable", "beta"):
    clients.fill(request.model_spec, label=label)
    statuses = client.models.GetModelStatus(request).model_version_status
    assert [one.version for one in statuses] == [2, 1]
  request = get_model_metadata_pb2.GetModelMetadataRequest(
      metadata_field=["signature_def"])
  clients.fill(request.model_spec)
  response = client.service.GetModelMetadata(request)
  assert response.model_spec.version.value == 2
  definitions = get_model_metadata_pb2.SignatureDefMap()
  assert response.metadata["signature_def"].Unpack(definitions)
  assert definitions.signature_def["classify"].method_name == (
      "tensorflow/serving/classify")
  del request.metadata_field[:]
  for fields in ([], ["weights"]):
    request.metadata_field.extend(fields)
    _refused("INVALID_ARGUMENT", "metadata_field",
             client.service.GetModelMetadata, request)


@pytest.mark.parametrize("code, words, inputs, spec", [
    ("NOT_FOUND", "Latest(other)", {}, {"name": "other"}),
    ("NOT_FOUND", "Specific(student, 7)", {}, {"version": 7}),
    ("INVALID_ARGUMENT", "label: beta", {}, {"label": "beta"}),
    ("INVALID_ARGUMENT", "no name", {}, {"name": ""}),
    ("FAILED_PRECONDITION", 'key "x" not found', {}, {"signature": "x"}),
    ("INVALID_ARGUMENT", "inputs ['image_bytes']. Received: []", {}, {}),
    ("INVALID_ARGUMENT", "Received: ['x']", {"x": [b""]}, {}),
    ("INVALID_ARGUMENT", "Received: float32", {"image_bytes": [1.0]}, {}),
    ("INVALID_ARGUMENT", "shape (1, 1)", {"image_bytes": [[b""]]}, {}),
    ("INVALID_ARGUMENT", "shape ()", {"image_bytes": b""}, {}),
    ("INVALID_ARGUMENT", "expected a tensor", {
        "image_bytes": tensor_pb2.TensorProto(
            dtype=7, tensor_shape={"unknown_rank": True})}, {}),
    ("INVALID_ARGUMENT", "image_bytes[1]: expected a JPEG or PNG",
     {"image_bytes": [b"good", b"bad"]}, {}),
    ("RESOURCE_EXHAUSTED", "larger than max",
     {"image_bytes": [bytes(2 ** 16)]}, {}),
    ("INVALID_ARGUMENT", "128 rows a request at most",
     {"image_bytes": [b""] * 129}, {}),
])
def test_errors_have_tf_servings_codes(client, code, words, inputs, spec):
  _refused(code, words, client.predict, inputs, **spec)


def test_a_request_without_a_model_is_refused(client):
  for request, call in (
      (predict_pb2.PredictRequest(), client.service.Predict),
      (classification_pb2.ClassificationRequest(), client.service.Classify),
      (get_model_status_pb2.GetModelStatusRequest(),
       client.models.GetModelStatus),
      (get_model_metadata_pb2.GetModelMetadataRequest(
          metadata_field=["signature_def"]), client.service.GetModelMetadata)):
    _refused("INVALID_ARGUMENT", "Missing ModelSpec", call, request)


def test_classify_refuses_other_signatures_and_no_examples(client):
  _refused("INVALID_ARGUMENT", "expected method_name", client.classify, [b"a"],
           signature="")
  _refused("INVALID_ARGUMENT", "not found", client.classify, [b"a"],
           signature="x")
  _refused("INVALID_ARGUMENT", "Input is empty", client.classify, [])
  _refused("INVALID_ARGUMENT", "image_bytes[1]", client.classify,
           [b"a", b"bad"])


def test_what_is_not_served_is_told(client):
  request = regression_pb2.RegressionRequest()
  clients.fill(request.model_spec)
  _refused("UNIMPLEMENTED", "not served", client.service.Regress, request)
  _refused("UNIMPLEMENTED", "", client.service.MultiInference,
           inference_pb2.MultiInferenceRequest())


def test_a_clients_deadline_is_kept(client, tmp_path):
  release = tmp_path / "release"
  try:
    _refused("DEADLINE_EXCEEDED", "", client.predict,
             {"paths": [str(release)]}, signature="held", timeout=0.2)
  finally:
    release.touch()


def test_a_taken_port_is_told(server, tmp_path):
  with pytest.raises(errors.InputError, match="--port: expected a free port"):
    fakes.server(tmp_path, port=server.grpc_port)
  with pytest.raises(errors.InputError, match="rest_api_port.*free port"):
    fakes.server(tmp_path, rest_api_port=server.rest_port)
