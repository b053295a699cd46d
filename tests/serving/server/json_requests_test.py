"""JSON of the REST API, to arrays and back."""

import base64
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_requests

_IMAGE = {"image_bytes": tf.TensorSpec([None], tf.string)}
_X = {"x": tf.TensorSpec(None, tf.float32)}
_TWO = {"a": tf.TensorSpec([None], tf.float32),
        "b": tf.TensorSpec([None, 2], tf.int32)}


def _read(document, specs):
  return json_requests.read_inputs(
      json_requests.parse(json.dumps(document).encode()), specs)


def _refused(document, specs, words):
  with pytest.raises(codes.ServingError) as caught:
    _read(document, specs)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert words in caught.value.message, caught.value.message


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_single_input_needs_no_name(key):
  inputs, where = _read({key: [[1, 2.5], [3, 4]]}, _X)
  assert where == key
  assert inputs["x"].dtype == np.float32
  np.testing.assert_array_equal(inputs["x"], [[1, 2.5], [3, 4]])


def test_rows_and_columns_of_several_inputs_are_the_same():
  rows, _ = _read({"instances": [
      {"a": 1, "b": [1, 2]}, {"b": [3, 4], "a": 2}]}, _TWO)
  columns, _ = _read({"inputs": {"a": [1, 2], "b": [[1, 2], [3, 4]]}}, _TWO)
  for name in _TWO:
    np.testing.assert_array_equal(rows[name], columns[name])
    assert rows[name].dtype == columns[name].dtype == (
        _TWO[name].dtype.as_numpy_dtype)


@pytest.mark.parametrize("content", [
    b"", b"\x00", b"tail\x00\x00", bytes(range(256))])
def test_base64_gives_the_very_bytes(content):
  text = base64.b64encode(content).decode()
  for shape in ([{"b64": text}], [{"b64": text.rstrip("=")}],
                [{"image_bytes": {"b64": text}}],
                [{"b64": text[:3] + "\n" + text[3:]}]):
    inputs, _ = _read({"instances": shape}, _IMAGE)
    assert inputs["image_bytes"].tolist() == [content]
  inputs, _ = _read({"inputs": {"b64": text}}, _IMAGE)
  assert inputs["image_bytes"].tolist() == content
  assert inputs["image_bytes"].shape == ()


def test_a_plain_string_is_utf_8():
  inputs, _ = _read({"instances": ["dög"]}, _IMAGE)
  assert inputs["image_bytes"].tolist() == ["dög".encode()]


@pytest.mark.parametrize("document, specs, words", [
    ({}, _X, "Received: []"),
    ({"inputs": [1], "instances": [1]}, _X, "['instances', 'inputs']"),
    ({"instances": []}, _X, "Received: []"),
    ({"instances": {"x": 1}}, _X, "Received: {'x': 1}"),
    ({"instances": [[1, 2], [3]]}, _X, "lists of one length at each depth"),
    ({"instances": [[1, 2], 3]}, _X, "differ below shape [2]"),
    ({"instances": [1, [2]]}, _X, "differ below shape [2]"),
    ({"instances": ["1"]}, _X, "of type float32"),
    ({"instances": [True]}, _X, "of type float32"),
    ({"instances": [1.5, None]}, _X, "Received: None"),
    ({"instances": [{"x": 1}, 2]}, _X, "'instances', 1: expected an object"),
    ({"instances": [2, {"x": 1}]}, _X, "'instances', 0: expected an object"),
    ({"instances": [{"x": 1, "y": 2}]}, _X, "keys equal to: x"),
    ({"instances": [{"a": 1}]}, _TWO, "keys equal to: a,b"),
    ({"instances": [1]}, _TWO, "an object with keys equal to: a,b"),
    ({"inputs": [1]}, _TWO, "expected an object with the named input"),
    ({"inputs": {"a": [1]}}, _TWO, "object with the named input: b"),
    ({"inputs": {"a": [1], "b": [[1.0, 2]]}}, _TWO, "of type int32"),
    ({"inputs": {"a": [1], "b": [[2 ** 31, 2]]}}, _TWO, "2147483647"),
    ({"instances": [1e39]}, _X, "in the range of float32"),
    ({"instances": [10 ** 400]}, _X, "in the range of float32"),
    ({"instances": [{"b64": "a"}]}, _IMAGE, "expected base64"),
    ({"instances": [{"b64": "a\u00e9=="}]}, _IMAGE, "expected base64"),
    ({"instances": [{"b64": "!!!!"}]}, _IMAGE, "expected base64"),
    ({"instances": [{"b64": 1}]}, _IMAGE, "keys equal to: image_bytes"),
    ({"inputs": [{"b64": "YQ==", "x": 1}]}, _IMAGE, "of type string"),
    ({"instances": [1]}, _IMAGE, "of type string"),
    ({"instances": ["\ud800"]}, _IMAGE, "expected Unicode"),
    ({"instances": [[[[1]], [[2, 3]]]]}, _X, "differ below shape [1, 2, 1]"),
    ({"inputs": [{"a": 1}]}, _X, "Received: {'a': 1}"),
    ({"inputs": {"x": {"b64": "YQ=="}}}, _X, "of type float32"),
    ({"inputs": "1"}, _X, "of type float32"),
    ({"inputs": None}, _X, "Received: None"),
    ({"instances": [{}]}, _TWO, "keys equal to: a,b"),
    ({"instances": [[]]}, _TWO, "Received: []"),
    ({"inputs": {}}, _X, "object with the named input: x"),
])
def test_what_is_wrong_is_told(document, specs, words):
  _refused(document, specs, words)


def test_types_that_json_cannot_give_are_refused():
  _refused({"inputs": [1.0]}, {"x": tf.TensorSpec([None], tf.bfloat16)},
           "of type bfloat16")


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.complex64, tf.qint8])
def test_types_that_json_cannot_hold_are_not_written(dtype):
  with pytest.raises(codes.ServingError, match="Failed to write") as caught:
    json_requests.write_outputs(
        {"x": np.zeros([1], dtype.as_numpy_dtype)}, "inputs")
  assert caught.value.code.name == "INVALID_ARGUMENT"


def test_other_columns_are_passed_over_as_by_tf_serving():
  inputs, _ = _read({"inputs": {"x": [1], "y": "z"}}, _X)
  assert list(inputs) == ["x"]


def test_no_rows_are_an_empty_list():
  assert json.loads(json_requests.write_outputs(
      {"x": np.zeros([0, 2])}, "instances")) == {"predictions": []}


def test_a_number_beyond_its_type_is_not_taken_for_infinity():
  for text in (b"1e999", b"-1e999", b"[1, 1e39]"):
    with pytest.raises(codes.ServingError, match="in the range"):
      json_requests.read_inputs(
          json_requests.parse(b'{"inputs": %b}' % text), _X)


def test_outputs_of_several_names_are_rows_or_columns():
  outputs = {"p": np.array([[0.2, 1], [3, 4e-8]], np.float32),
             "n": np.array([1, 2])}
  rows = json_requests.write_outputs(outputs, "instances")
  # 0.2 and not 0.20000000298; 1.0 and not 1.
  assert b"[0.2, 1.0]" in rows
  assert json.loads(rows) == {"predictions": [
      {"p": [0.2, 1.0], "n": 1}, {"p": [3.0, 4e-8], "n": 2}]}
  assert json.loads(json_requests.write_outputs(outputs, "inputs")) == {
      "outputs": {"p": [[0.2, 1.0], [3.0, 4e-8]], "n": [1, 2]}}


def test_a_single_output_drops_its_name():
  outputs = {"p": np.array([[1], [2]], np.float32)}
  assert json.loads(json_requests.write_outputs(outputs, "instances")) == {
      "predictions": [[1.0], [2.0]]}
  assert json.loads(json_requests.write_outputs(outputs, "inputs")) == {
      "outputs": [[1.0], [2.0]]}


def test_only_outputs_named_bytes_are_base64():
  raw = np.array([[b"\xff\x00"], [b"d\xc3\xb6g"]], object)
  answer = json.loads(json_requests.write_outputs(
      {"x_bytes": raw, "classes": raw}, "instances"))["predictions"]
  assert answer[0]["x_bytes"] == [{"b64": "/wA="}]
  assert answer[1]["classes"] == ["dög"]


def test_numbers_that_are_not_finite_are_tokens():
  text = json_requests.write_outputs({
      "x": np.array([math.nan, math.inf, -math.inf], np.float32),
      "y": np.array([math.nan, 1, 2])}, "inputs")
  assert b'"x": [NaN, Infinity, -Infinity]' in text
  inputs, _ = json_requests.read_inputs(
      json_requests.parse(b'{"inputs": [NaN, Infinity, -Infinity]}'), _X)
  assert np.isnan(inputs["x"][0])
  np.testing.assert_array_equal(inputs["x"][1:], [math.inf, -math.inf])


@pytest.mark.parametrize("outputs", [
    {"x": np.float32(1)}, {"x": np.float32(1), "y": np.zeros([3])},
    {"x": np.zeros([2]), "y": np.zeros([3])}])
def test_outputs_without_common_rows_need_columns(outputs):
  outputs = {name: np.asarray(value) for name, value in outputs.items()}
  with pytest.raises(codes.ServingError, match="no rows in common"):
    json_requests.write_outputs(outputs, "instances")
  assert json.loads(json_requests.write_outputs(outputs, "inputs"))


def test_the_name_of_a_signature_is_a_string():
  assert json_requests.signature_name({}) == ""
  with pytest.raises(codes.ServingError, match="expected a string"):
    json_requests.signature_name({"signature_name": 100})


# --- Classify.


def _read_examples(document):
  return json_requests.read_examples(
      json_requests.parse(json.dumps(document).encode()))


def _example(document):
  serialized = _read_examples(document)
  return [tf.train.Example.FromString(one).features.feature
          for one in serialized]


def test_examples_have_features_of_every_kind_and_the_context():
  first, second = _example({
      "context": {"where": "sea"},
      "examples": [{"i": [1, True], "f": 1.5, "s": ["a", {"b64": "/w=="}]},
                   {"none": [], "i": -2 ** 63}]})
  assert first["i"].int64_list.value == [1, 1]
  assert first["f"].float_list.value == [1.5]
  assert first["s"].bytes_list.value == [b"a", b"\xff"]
  assert first["where"].bytes_list.value == [b"sea"]
  assert second["where"].bytes_list.value == [b"sea"]
  assert second["i"].int64_list.value == [-2 ** 63]
  assert second["none"].WhichOneof("kind") is None


@pytest.mark.parametrize("document, words", [
    ({}, "'examples': expected a list"),
    ({"examples": {}}, "expected a list"),
    ({"examples": []}, "Received: []"),
    ({"examples": [1]}, "'examples', 0: expected an object"),
    ({"examples": [{}], "context": 1}, "'context'"),
    ({"examples": [{"x": None}]}, "Received: None"),
    ({"examples": [{"x": [[1]]}]}, "Received: [1]"),
    ({"examples": [{}, {"x": ["a", 1]}]}, "'examples', 1: x: expected values "
     "of type string"),
    ({"examples": [{"x": [1, 1.5]}]}, "Received: 1"),
    ({"examples": [{"x": 2 ** 63}]}, "9223372036854775807"),
    ({"examples": [{"x": {"b65": ""}}]}, "of type string"),
    ({"examples": [{"x": 1e300}]}, "in the range of float32"),
    ({"examples": [{"\ud800": 1}]}, "Unicode"),
])
def test_what_is_wrong_in_examples_is_told(document, words):
  with pytest.raises(codes.ServingError) as caught:
    _read_examples(document)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert words in caught.value.message


@pytest.mark.parametrize("body", [
    b"", b"  ", b"{", b"[1]", b"1", b'"x"', b"nul", b"\xff\xfe\x00",
    b"{'a': 1}", b'{"instances": [1,]}', b'{"a":' * 100000, b"[" * 100000,
    b'{"instances": [' + b"9" * 5000 + b"]}", b'{"a": "\xff"}'])
def test_what_is_no_json_object_is_refused(body):
  with pytest.raises(codes.ServingError) as caught:
    json_requests.parse(body)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert caught.value.message.startswith("JSON")


def test_lists_nested_too_deeply_are_refused():
  most = 32 if np.__version__ < "2" else 64  # NumPy's.
  for dtype, one in ((tf.string, "a"), (tf.float32, 1.0)):
    for depth in (most, most + 1, 300):
      value = one
      for _ in range(depth):
        value = [value]
      if depth == most:
        assert json_requests.array(value, dtype, "x").ndim == most
        continue
      with pytest.raises(codes.ServingError) as caught:
        json_requests.array(value, dtype, "x")
      assert caught.value.code.name == "INVALID_ARGUMENT"
      assert "differ below shape [1, 1" in caught.value.message


def test_every_float32_comes_back():
  random = np.random.RandomState(0)
  values = random.randint(0, 2 ** 32, 2000, np.int64).astype(
      np.uint32).view(np.float32)
  values = values[np.isfinite(values)]
  text = json_requests.dump(json_requests.plain("x", values))
  np.testing.assert_array_equal(
      np.array(json.loads(text)).astype(np.float32), values)


def test_of_a_key_given_twice_the_first_counts():
  assert json_requests.parse(b'{"a": 1, "b": {"c": 2, "c": 3}, "a": 4}') == {
      "a": 1, "b": {"c": 2}}
