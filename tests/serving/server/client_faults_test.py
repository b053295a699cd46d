"""Whatever a client sends wrong is told as its own fault, and logs nothing."""

import base64
import json
import random

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import predict_pb2

from tests.serving.server import clients
from tests.serving.server import fakes

_MODEL = "/v1/models/student"
_JPEG = b"\xff\xd8" + bytes(range(256))
_B64 = clients.b64(_JPEG)
_ROW = {"a": 1.0, "b": [1, 2, 3], "flag": True}
_SIGNATURES = ("", "serving_default", "images", "classify", "many", "total",
               "absent", "é")


@pytest.fixture(scope="module", name="server")
def fixture_server(tmp_path_factory):
  base = tmp_path_factory.mktemp("model")
  fakes.write(str(base), 1)
  with fakes.server(base, version_labels={"stable": 1}) as server:
    yield server


@pytest.fixture(scope="module", name="ask")
def fixture_ask(server):
  rest = clients.Rest(server.rest_port)
  yield rest
  rest.close()


@pytest.fixture(scope="module", name="client")
def fixture_client(server):
  client = clients.Grpc(server.grpc_port)
  yield client
  client.close()


@pytest.fixture(autouse=True)
def fixture_no_errors_logged(caplog):
  yield
  assert not [record for record in caplog.records
              if record.levelname == "ERROR"]


def _named(signature, **body):
  return {"signature_name": signature, **body}


@pytest.mark.parametrize("body", [
    # A serialized tf.Example is wanted, an image comes.
    _named("classify", instances=[_B64]), _named("classify", inputs=[_B64]),
    _named("classify", instances=[{"inputs": _B64}, {"inputs": _B64}]),
    _named("classify", instances=["", "abc"]),
    _named("classify", instances=["dög \x00"]),
    # Types.
    {"instances": [1]}, {"instances": [None]}, {"instances": [True]},
    {"instances": [["a"], ["b"]]}, {"instances": "a"}, {"instances": {}},
    {"instances": None}, {"instances": []}, {"instances": [[]]},
    {"instances": [{}]}, {"inputs": {}}, {"inputs": None},
    {"inputs": 1}, {"inputs": [[_B64]]}, {"inputs": _B64}, {"inputs": "a"},
    {"instances": [{"b64": 1}]}, {"instances": [{"b64": "*"}]},
    {"instances": [{"b64": "YQ==", "x": 1}]}, {"instances": [{"b64": None}]},
    {"instances": [_B64, {"image_bytes": _B64}]},
    {"instances": [{"image_bytes": _B64, "x": 1}]},
    {"instances": [_B64], "inputs": [_B64]}, {}, {"instances ": [_B64]},
    {"instances": [{"image_bytes": [_B64, _B64]}]},
    {"inputs": {"image_byte": [_B64]}},
    # Numbers, ranks, shapes.
    _named("images", instances=[_B64]), _named("images", instances=["1"]),
    _named("images", instances=[1]), _named("images", instances=[[[[1]]]]),
    _named("images", instances=[[[["1", 2, 3]] * 2] * 2]),
    _named("images", instances=[[[[1e39, 2, 3]] * 2] * 2]),
    _named("images", instances=[[[[10 ** 400, 2, 3]] * 2] * 2]),
    _named("images", inputs=[[[[1, 2, 3]] * 2, [[1, 2, 3]]]]),
    _named("images", inputs={"images": 1}),
    _named("many", instances=[{**_ROW, "a": "1"}]),
    _named("many", instances=[{**_ROW, "a": [1.0]}]),
    _named("many", instances=[{**_ROW, "b": [1, 2]}]),
    _named("many", instances=[{**_ROW, "b": [1, 2, 3.5]}]),
    _named("many", instances=[{**_ROW, "b": [1, 2, 2 ** 63]}]),
    _named("many", instances=[{**_ROW, "b": [1, 2, 1e3]}]),
    _named("many", instances=[{**_ROW, "flag": 1}]),
    _named("many", instances=[{**_ROW, "flag": "true"}]),
    _named("many", instances=[_ROW, {**_ROW, "b": [1]}]),
    _named("many", instances=[_ROW, 1]), _named("many", instances=[1]),
    _named("many", inputs={"a": [1], "b": [[1, 2, 3]]}),
    _named("many", inputs={"a": 1, "b": [1, 2, 3], "flag": True}),
    # Signatures.
    _named("absent", instances=[_B64]), _named(None, instances=[_B64]),
    _named(["classify"], instances=[_B64]), _named("\ud800", instances=[_B64]),
])
def test_predict_by_rest(ask, body):
  status, answer = ask(f"{_MODEL}:predict", body)
  assert status == 400, answer
  assert list(answer) == ["error"]
  assert "{{" not in answer["error"]
  assert len(answer["error"]) < 1100


@pytest.mark.parametrize("text", [
    '{"instances": [NaN]}', '{"instances": [nan]}', '{"instances": [Inf]}',
    '{"signature_name": "total", "inputs": [1e999]}',
    '{"signature_name": "total", "inputs": [-1e999, 1]}',
    '{"signature_name": "many", "instances": [{"a": 1, "b": [1, 2, NaN], '
    '"flag": true}]}',
    '{"instances": ["a"', "[]", '"a"', "null", "1", "NaN", "[" * 10 ** 5,
    '{"a":' * 10 ** 5, '{"inputs": ' + "[" * 40 + "]" * 40 + "}",
    '{"inputs": [' + "9" * 5000 + "]}", "\ufeff{}", "{}{}", "\0"])
def test_json_by_rest(ask, text):
  status, answer = ask(f"{_MODEL}:predict", text.encode("utf-8"))
  assert status == 400, answer
  assert list(answer) == ["error"]


def test_nan_and_infinity_are_numbers(ask):
  status, answer = ask(f"{_MODEL}:predict", (
      b'{"signature_name": "total", "inputs": [Infinity, 1, 2]}'))
  assert (status, answer) == (200, {"outputs": float("inf")})


@pytest.mark.parametrize("body", [
    _named("classify", examples=[{"image/encoded": value}]) for value in (
        1, 1.5, True, None, [], ["a", "b"], [1, "a"], {}, {"b64": 1}, [[_B64]],
        {"x": _B64}, 2 ** 70, 1e300)] + [
            _named("classify", examples=examples) for examples in (
                [_B64], [{}], [{"other": _B64}], [], {}, None, "a", [1], ["a"],
                [[]], [{"image/encoded": _B64}, {"x": 1}])] + [
                    {}, _named("classify"), _named("classify", context={}),
                    _named("classify", context=1, examples=[{}]),
                    _named("classify", context={"image/encoded": 1},
                           examples=[{}]),
                    _named("classify", instances=[_B64]),
                    {"examples": [{"image/encoded": _B64}]},
                    _named("absent", examples=[{"image/encoded": _B64}])])
def test_classify_by_rest(ask, body):
  status, answer = ask(f"{_MODEL}:classify", body)
  assert status == 400, answer
  assert list(answer) == ["error"]


@pytest.mark.parametrize("status, where", [
    (404, "other"), (404, "student/versions/7"), (400, "student/labels/beta"),
    (404, "student%00"), (404, "student%FF"), (404, "%s"), (404, "%25"),
    (400, "student/versions/-1"), (400, f"student/versions/{10 ** 20}"),
    (404, "student/versions/9223372036854775807"), (400, ""), (400, "a/b"),
    (400, "student/labels/"), (400, "student/labels/a%2Fb"),
    (404, "student?label=stable")])
def test_names_by_rest(ask, status, where):
  assert ask(f"/v1/models/{where}:predict", {"instances": [_B64]})[0] == (
      status if "?" not in where else 404)
  assert ask(f"/v1/models/{where}:classify", _named(
      "classify", examples=[{"image/encoded": _B64}]))[0] == status


def _code(call, request):
  try:
    call(request, timeout=300)
  except grpc.RpcError as error:
    assert len(error.details()) < 1100
    return error.code().name
  return "OK"


def _predict(signature="", **inputs):
  request = predict_pb2.PredictRequest()
  clients.fill(request.model_spec, signature=signature)
  for name, proto in inputs.items():
    request.inputs[name].CopyFrom(proto)
  return request


def _tensor(dtype, shape, **values):
  proto = tensor_pb2.TensorProto(dtype=dtype, **values)
  proto.tensor_shape.SetInParent()
  for size in shape:
    proto.tensor_shape.dim.add().size = size
  return proto


@pytest.mark.parametrize("signature, value", [
    ("classify", [_JPEG]), ("classify", [b"", b"abc"]), ("classify", [[b""]]),
    ("classify", [1]), ("", [b"bad"]), ("", [1.5]), ("", b""),
    ("images", [_JPEG]), ("images", np.zeros([1, 2, 2, 3])),
    ("images", np.zeros([1, 2, 2], np.float32)), ("total", ["1"])])
def test_predict_by_grpc(client, signature, value):
  name = {"": "image_bytes", "classify": "inputs", "images": "images",
          "total": "x"}[signature]
  assert _code(client.service.Predict, _predict(
      signature, **{name: tf.make_tensor_proto(value)})) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("dtype", [
    *range(31), *range(100, 124), 1000, -1])
def test_every_number_of_a_type_by_grpc(client, dtype):
  for values in ({"tensor_content": b"\xff\xd8abcd"}, {"float_val": [1.0]},
                 {"string_val": [b"a"]}, {"int_val": [1]}, {"half_val": [1]},
                 {"resource_handle_val": [{}]}, {"variant_val": [{}]}, {}):
    for shape in ([1], [], [-1], [2 ** 62, 4], [1] * 40):
      code = _code(client.service.Predict, _predict(
          "images", images=_tensor(dtype, shape, **values)))
      assert code == "INVALID_ARGUMENT", (values, shape)


def test_names_by_grpc(client):
  image = tf.make_tensor_proto([b"abc"])
  for code, spec in (
      ("NOT_FOUND", {"name": "other"}), ("NOT_FOUND", {"version": 7}),
      ("NOT_FOUND", {"version": -1}), ("NOT_FOUND", {"version": 2 ** 63 - 1}),
      ("INVALID_ARGUMENT", {"label": "beta"}),
      ("INVALID_ARGUMENT", {"label": ""}), ("INVALID_ARGUMENT", {"name": ""}),
      ("FAILED_PRECONDITION", {"signature": "absent"})):
    request = predict_pb2.PredictRequest()
    clients.fill(request.model_spec, **spec)
    request.inputs["image_bytes"].CopyFrom(image)
    assert _code(client.service.Predict, request) == code, spec
  request = predict_pb2.PredictRequest()
  request.inputs["image_bytes"].CopyFrom(image)
  assert _code(client.service.Predict, request) == "INVALID_ARGUMENT"


def test_examples_by_grpc(client):
  def ask(**feature):
    request = classification_pb2.ClassificationRequest()
    clients.fill(request.model_spec, signature="classify")
    example = request.input.example_list.examples.add()
    for name, value in feature.items():
      example.features.feature[name.replace("_", "/")].CopyFrom(value)
    return _code(client.service.Classify, request)

  assert ask(image_encoded=tf.train.Feature(
      bytes_list={"value": [b"abc"]})) == "OK"
  for feature in (
      {}, {"other": tf.train.Feature(bytes_list={"value": [b"a"]})},
      {"image_encoded": tf.train.Feature()},
      {"image_encoded": tf.train.Feature(bytes_list={})},
      {"image_encoded": tf.train.Feature(bytes_list={"value": [b"a", b"b"]})},
      {"image_encoded": tf.train.Feature(int64_list={"value": [1]})},
      {"image_encoded": tf.train.Feature(float_list={"value": [1]})}):
    assert ask(**feature) == "INVALID_ARGUMENT", feature


@pytest.mark.parametrize("stub, method, request_type", [
    ("service", "MultiInference", inference_pb2.MultiInferenceRequest),
    ("models", "HandleReloadConfigRequest",
     model_management_pb2.ReloadConfigRequest)])
def test_what_is_not_served_by_grpc(client, stub, method, request_type):
  with pytest.raises(grpc.RpcError, match="is not served") as caught:
    getattr(getattr(client, stub), method)(request_type(), timeout=300)
  assert caught.value.code().name == "UNIMPLEMENTED"


# --- By chance.


def _value(draw, depth):
  """A value of JSON."""
  kind = draw.random()
  if depth and kind < 0.35:
    return [_value(draw, depth - 1)] * draw.randint(0, 3)
  if depth and kind < 0.5:
    return {draw.choice(["a", "b", "flag", "b64", "image_bytes", "x", "inputs",
                         "image/encoded"]): _value(draw, depth - 1)
            for _ in range(draw.randint(0, 3))}
  return draw.choice([
      None, True, 0, -1, 1.5, 2 ** 24, 2 ** 31, 2 ** 63, 2 ** 64, 10 ** 400,
      1e39, float("nan"), float("-inf"), "", "a", "1", "\ud800", "\x00", "é",
      base64.b64encode(draw.randbytes(draw.randint(0, 40))).decode()])


def test_documents_by_chance_by_rest(ask):
  draw = random.Random(3)
  seen = set()
  for _ in range(1500):
    body = {
        key: _value(draw, 4)
        for key in ("instances", "inputs", "examples", "context")
        if draw.random() < 0.4}
    if draw.random() < 0.8:
      body["signature_name"] = draw.choice(_SIGNATURES)
    content = json.dumps(body).encode()
    status, answer = ask(
        f"{_MODEL}:{draw.choice(['predict', 'predict', 'classify'])}", content)
    seen.add(status)
    assert status in (200, 400), (content, answer)
    assert ("error" in answer) == (status == 400)
  assert seen == {200, 400}


def test_tensors_by_chance_by_grpc(client):
  draw = random.Random(4)
  names = ("image_bytes", "images", "inputs", "a", "b", "flag", "x", "")
  values = {
      "float_val": [1.5], "double_val": [1.5], "int_val": [-1, 300],
      "int64_val": [2 ** 62], "string_val": [_JPEG], "bool_val": [True],
      "half_val": [2 ** 31 - 1], "uint32_val": [1], "uint64_val": [2 ** 63],
      "scomplex_val": [1.0], "resource_handle_val": [{}], "variant_val": [{}]}
  seen = set()
  for _ in range(1500):
    request = _predict(draw.choice(_SIGNATURES))
    for name in draw.sample(names, draw.choice([0, 1, 1, 3])):
      proto = _tensor(
          draw.choice([*range(24), 101, 107, -5]),
          draw.choices([0, 1, 1, 2, 3, -1, 2 ** 40], k=draw.randint(0, 4)))
      if draw.random() < 0.3:
        proto.tensor_content = draw.randbytes(draw.choice([0, 1, 4, 8, 48]))
      for field in draw.sample(sorted(values), draw.choice([0, 1, 1, 2])):
        getattr(proto, field).MergeFrom(getattr(tensor_pb2.TensorProto(
            **{field: draw.choices(values[field], k=draw.randint(0, 3))}),
                                                field))
      proto.tensor_shape.unknown_rank = draw.random() < 0.05
      request.inputs[name].CopyFrom(proto)
    if draw.random() < 0.1:
      request.output_filter.append(draw.choice(["classes", "é", ""]))
    code = _code(client.service.Predict, request)
    seen.add(code)
    assert code in ("OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION"), (
        code, request)
  assert "INVALID_ARGUMENT" in seen
