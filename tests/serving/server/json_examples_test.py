"""JSON of classify requests, to examples and back."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_examples


def _example(document):
  serialized = json_examples.read_examples(document)
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
    ({"examples": {}}, "an object"),
    ({"examples": []}, "an empty list"),
    ({"examples": [1]}, "'examples', 0: expected an object"),
    ({"examples": [{}], "context": 1}, "'context'"),
    ({"examples": [{"x": None}]}, "null"),
    ({"examples": [{"x": [[1]]}]}, "a list"),
    ({"examples": [{}, {"x": [1, "a"]}]}, "'examples', 1: x: expected values "
     "of one type"),
    ({"examples": [{"x": [1, 1.5]}]}, "one type"),
    ({"examples": [{"x": 2 ** 63}]}, "64-bit"),
    ({"examples": [{"x": {"b65": ""}}]}, "expected type: string"),
    ({"examples": [{"x": 1e300}]}, "without loss"),
    ({"examples": [{"\ud800": 1}]}, "Unicode"),
])
def test_what_is_wrong_in_examples_is_told(document, words):
  with pytest.raises(codes.ServingError) as caught:
    json_examples.read_examples(document)
  assert caught.value.code == "INVALID_ARGUMENT"
  assert words in caught.value.message


def test_classes_are_pairs_and_either_half_may_be_missing():
  classes = np.array([[b"a", b"b"]], object)
  scores = np.array([[0.25, 1]], np.float32)
  for given, expected in (((classes, scores), [["a", 0.25], ["b", 1.0]]),
                          ((None, scores), [["", 0.25], ["", 1.0]]),
                          ((classes, None), [["a", 0.0], ["b", 0.0]])):
    assert json.loads(json_examples.write_classes(*given)) == {
        "results": [expected]}
