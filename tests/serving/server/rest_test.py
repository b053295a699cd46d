"""The REST API over loopback: answers and every code."""

import gzip
import json

import pytest

from tests.serving.server import clients
from tests.serving.server import fakes

_MODEL = "/v1/models/student"
_JPEG = b"\xff\xd8" + bytes(range(256))


@pytest.fixture(scope="module", name="server")
def fixture_server(tmp_path_factory):
  base = tmp_path_factory.mktemp("model")
  fakes.write(str(base), 1)
  fakes.publish(base / "1", base, 2)
  with fakes.server(base, version_labels={"stable": 1, "ca nary": 2},
                    max_request_rows=20, max_request_bytes=2 ** 16) as server:
    yield server


@pytest.fixture(name="ask")
def fixture_ask(server):
  rest = clients.Rest(server.rest_port)
  yield rest
  rest.close()


def _images(*contents):
  return [clients.b64(content) for content in contents]


@pytest.mark.parametrize("where", [
  "", "/versions/1", "/versions/2", "/labels/stable", "/labels/ca%20nary"])
def test_predicts_rows(ask, where):
  status, answer = ask(
      f"{_MODEL}{where}:predict", {"instances": _images(_JPEG, b"")})
  assert status == 200
  rows = answer["predictions"]
  assert rows[0]["probabilities"] == pytest.approx(
      fakes.probabilities(_JPEG, 1))
  assert rows[1] == {"probabilities": [0.0, 1.0], "classes": ["cat", "dög"]}


def test_predicts_columns_and_names_may_be_given(ask):
  for inputs in (_images(_JPEG), {"image_bytes": _images(_JPEG)}):
    status, answer = ask(body={
        "signature_name": "serving_default", "inputs": inputs})
    assert status == 200
    assert answer["outputs"]["classes"] == [["cat", "dög"]]
    assert answer["outputs"]["probabilities"] == [
        pytest.approx(fakes.probabilities(_JPEG, 1))]


def test_a_single_output_drops_its_name(ask):
  picture = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
  body = {"signature_name": "images", "instances": [picture, picture]}
  assert ask(body=body) == (200, {"predictions": [6.5, 6.5]})
  body["inputs"] = body.pop("instances")
  assert ask(body=body) == (200, {"outputs": [6.5, 6.5]})


def test_many_inputs_and_outputs(ask):
  row = {"a": 0.0, "b": [1, 2, 3], "flag": True}
  expected = {"sum": [1.0, 2.0, 3.0], "log": float("-inf"), "flag": True,
              "b": [1, 2, 3], "raw_bytes": {"b64": "/wA="}}
  assert ask(body={"signature_name": "many", "instances": [row]}) == (
      200, {"predictions": [expected]})


def test_outputs_without_rows_are_columns_only(ask):
  body = {"signature_name": "total", "inputs": [1, 2.5]}
  assert ask(body=body) == (200, {"outputs": 3.5})
  status, answer = ask(
      body={"signature_name": "total", "instances": [1, 2.5]})
  assert status == 400
  assert "rows in common" in answer["error"]


def test_classifies(ask):
  status, answer = ask(f"{_MODEL}:classify", {
      "signature_name": "classify",
      "context": {"caption": "two"},
      "examples": [{"image/encoded": image} for image in _images(
          _JPEG, b"abc")]})
  assert status == 200
  assert [[name for name, _ in row] for row in answer["results"]] == [
      ["cat", "dög"]] * 2
  assert [score for _, score in answer["results"][1]] == pytest.approx(
      fakes.probabilities(b"abc", 1))


def test_tells_the_status(ask):
  expected = {"state": "AVAILABLE",
              "status": {"error_code": "OK", "error_message": ""}}
  # A label is not looked at, be it known or not.
  for where in ("", "/labels/stable", "/labels/beta"):
    assert ask(f"{_MODEL}{where}") == (200, {"model_version_status": [
        {"version": "2", **expected}, {"version": "1", **expected}]})
  assert ask(f"{_MODEL}/versions/1") == (
      200, {"model_version_status": [{"version": "1", **expected}]})


def test_tells_the_metadata(ask):
  status, answer = ask(f"{_MODEL}/labels/stable/metadata")
  assert status == 200
  assert answer["model_spec"]["name"] == "student"
  assert answer["model_spec"]["version"] == "1"
  definition = answer["metadata"]["signature_def"]["signature_def"]
  images = definition["images"]["inputs"]["images"]
  assert images["dtype"] == "DT_FLOAT"
  assert [dim["size"] for dim in images["tensor_shape"]["dim"]] == [
      "-1", "2", "2", "3"]
  assert definition["classify"]["method_name"] == "tensorflow/serving/classify"
  assert ask(f"{_MODEL}/metadata")[1]["model_spec"]["version"] == "2"


_GOOD = {"instances": [{"b64": ""}]}


@pytest.mark.parametrize("status, method, path, body, words", [
    (404, "POST", "/v1/models/other:predict", _GOOD,
     "Servable not found for request: Latest(other)"),
    (404, "POST", f"{_MODEL}/versions/7:predict", _GOOD,
     "Specific(student, 7)"),
    (404, "POST", "/v1/models/other:classify", {"examples": [{"x": 1}]},
     "Latest(other)"),
    (501, "POST", "/v1/models/other:regress", {}, "regress is not served"),
    (400, "POST", f"{_MODEL}/labels/beta:predict", _GOOD,
     "Unrecognized servable version label: beta"),
    (400, "POST", f"{_MODEL}/versions/{2 ** 63}:predict", _GOOD,
     "to numeric"),
    (400, "POST", f"{_MODEL}/versions/{'9' * 5000}:predict", _GOOD,
     "Failed to convert version"),
    (400, "POST", f"{_MODEL}/versions/one:predict", _GOOD, "Malformed"),
    (400, "POST", f"{_MODEL}/versions/1/labels/stable:predict", _GOOD,
     "Malformed"),
    (400, "POST", f"{_MODEL}:infer", _GOOD, "Malformed request: POST"),
    (400, "POST", _MODEL, _GOOD, "Malformed request: POST"),
    (400, "POST", f"{_MODEL}/metadata", _GOOD, "Malformed"),
    (400, "GET", f"{_MODEL}:predict", None, "Malformed request: GET"),
    (400, "PUT", f"{_MODEL}:predict", _GOOD, "Malformed request: PUT"),
    (400, "DELETE", _MODEL, None, "Malformed request: DELETE"),
    (400, "GET", "/v1/models", None, "Missing model name"),
    (400, "GET", "/v1/x", None, "Malformed request: GET /v1/x"),
    (404, "GET", "/", None, "Expected a path"),
    (404, "POST", "/v2/models/student:predict", _GOOD, "Expected a path"),
    (404, "GET", "/v1/models/other", None, "any versions of model other"),
    (404, "GET", f"{_MODEL}/versions/7", None, "version 7 of model student"),
    (400, "GET", f"{_MODEL}/labels/beta/metadata", None, "label: beta"),
    (404, "GET", "/v1/models/other/metadata", None, "Latest(other)"),
    (400, "POST", f"{_MODEL}:predict", b"", "JSON Parse error"),
    (400, "POST", f"{_MODEL}:predict", b"instances = [1]", "JSON Parse error"),
    (400, "POST", "/v1/models/other:predict", b"{", "JSON Parse error"),
    (400, "POST", f"{_MODEL}:predict", {"instances": [1]},
     "of type string"),
    (400, "POST", f"{_MODEL}:predict", {"inputs": {"image": [""]}},
     "object with the named input: image_bytes"),
    (400, "POST", f"{_MODEL}:predict", {"inputs": [[""]]},
     "string of shape (None,). Received: string of shape (1, 1)"),
    (400, "POST", f"{_MODEL}:predict",
     {"signature_name": "images", "inputs": [[[[1, 2, 3]]]]},
     "float32 of shape (None, 2, 2, 3). Received: float32 of shape (1, 1, "),
    (400, "POST", f"{_MODEL}:predict", {"signature_name": "x", **_GOOD},
     'Serving signature key "x" not found'),
    (400, "POST", f"{_MODEL}:predict", {"signature_name": 1, **_GOOD},
     "expected a string"),
    (400, "POST", f"{_MODEL}:predict", {"inputs": [""] * 21},
     "Expected 20 rows a request at most (--max_request_rows). Received: 21"),
    (400, "POST", f"{_MODEL}:classify", {"examples": [{"x": 1}]},
     "expected method_name tensorflow/serving/classify"),
    (400, "POST", f"{_MODEL}:classify",
     {"signature_name": "x", "examples": [{"x": 1}]}, "not found"),
    (400, "POST", f"{_MODEL}:classify",
     {"signature_name": "classify", "examples": [{"x": 1}]},
     "image/encoded"),
    (400, "POST", f"{_MODEL}:classify", {"signature_name": "classify"},
     "'examples'"),
    (501, "POST", f"{_MODEL}:regress", {"signature_name": "classify"},
     "regress is not served"),
    (400, "POST", f"{_MODEL}:predict",
     {"instances": ["a", "b", "bad image", "bad"]},
     "image_bytes[2]: expected a JPEG or PNG"),
    (413, "POST", f"{_MODEL}:predict", b" " * (2 ** 16 + 1),
     "Expected 65536 bytes at most"),
])
def test_errors_have_tf_servings_codes(ask, status, method, path, body, words):
  got, answer = ask(path, body, method=method)
  assert got == status, answer
  assert list(answer) == ["error"]
  assert words in answer["error"]


@pytest.mark.parametrize("status, path", [
    (200, "/V1/Models/student"), (404, "/v1/models/Student"),
    (200, "/v1/models/student/VERSIONS/1/Metadata"),  # But that is the status.
    (404, "/v1/models/student?x=1"), (400, "/v1/models/student/"),
    (400, "/v1/models/student/metadata/"), (400, "/v1/models/")])
def test_paths_are_read_as_tf_serving_reads_them(ask, status, path):
  answered, answer = ask(path)
  assert answered == status
  if status == 200:
    assert "model_version_status" in answer


@pytest.mark.parametrize("method", [
    ":PREDICT", ":Classify", ":predict/", ":predict?x=1", ":predict:predict"])
def test_methods_are_taken_in_lower_case_alone(ask, method):
  status, answer = ask(f"{_MODEL}{method}", _GOOD)
  assert status == 400
  assert answer["error"] == f"Malformed request: POST {_MODEL}{method}"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "ODD"])
def test_other_http_methods_are_malformed(ask, method):
  status, answer = ask(_MODEL, method=method)
  assert status == 400
  if method != "HEAD":
    assert answer["error"] == f"Malformed request: {method} {_MODEL}"


def test_bodies_may_be_compressed(ask):
  body = gzip.compress(json.dumps({"instances": _images(_JPEG)}).encode())
  status, answer = ask(body=body, headers={"Content-Encoding": "gzip"})
  assert status == 200
  assert answer["predictions"][0]["probabilities"] == pytest.approx(
      fakes.probabilities(_JPEG, 1))


def test_metrics_count_calls_by_code(ask):
  def count(code):
    status, page = ask("/monitoring/prometheus/metrics")
    assert status == 200
    line = (':tensorflow:serving:request_count{model_name="student",'
            f'status="{code}"}} ')
    return sum(float(text[len(line):]) for text in page.splitlines()
               if text.startswith(line))

  before = {code: count(code) for code in ("OK", "INVALID_ARGUMENT")}
  assert ask(body={"instances": ["a"]})[0] == 200
  assert ask(body={"instances": ["bad"]})[0] == 400
  assert ask("/v1/models/made-up:predict", {"instances": ["a"]})[0] == 404
  assert count("OK") == before["OK"] + 1
  assert count("INVALID_ARGUMENT") == before["INVALID_ARGUMENT"] + 1
  assert "made-up" not in ask("/monitoring/prometheus/metrics")[1]


def test_a_connection_is_kept_through_errors(server):
  received = clients.raw(server.rest_port, b"".join(
      f"{line}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
      for line, body in (
          ("GET /v1/models/student HTTP/1.1", b""),
          (f"POST {clients.PREDICT} HTTP/1.1", b"{"),
          (f"POST {clients.PREDICT} HTTP/1.1\r\nConnection: close",
           json.dumps(_GOOD).encode()))))
  assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [
      b"200", b"400", b"200"]
