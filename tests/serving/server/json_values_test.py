"""Values of JSON: strict on the way in, exact on the way out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kdwsd.serving.server import codes
from kdwsd.serving.server import json_values


@pytest.mark.parametrize("body", [
    b"", b"  ", b"{", b"[1]", b"1", b'"x"', b"nul", b"\xff\xfe\x00",
    b"{'a': 1}", b'{"instances": [1,]}', b'{"a":' * 100000, b"[" * 100000,
    b'{"instances": [' + b"9" * 5000 + b"]}", b'{"a": "\xff"}'])
def test_what_is_no_json_object_is_refused(body):
  with pytest.raises(codes.ServingError) as caught:
    json_values.parse(body)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert caught.value.message.startswith("JSON")


def test_lists_nested_too_deeply_are_refused():
  for dtype, one in ((tf.string, "a"), (tf.float32, 1.0)):
    for depth in (32, 33, 300):
      value = one
      for _ in range(depth):
        value = [value]
      if depth == 32:
        assert json_values.array(value, dtype, "x").ndim == 32
        continue
      with pytest.raises(codes.ServingError) as caught:
        json_values.array(value, dtype, "x")
      assert caught.value.code.name == "INVALID_ARGUMENT"
      assert "differ below shape [1, 1" in caught.value.message


def test_every_float32_comes_back():
  random = np.random.RandomState(0)
  values = random.randint(0, 2 ** 32, 2000, np.int64).astype(
      np.uint32).view(np.float32)
  values = values[np.isfinite(values)]
  text = json_values.dump(json_values.plain("x", values))
  np.testing.assert_array_equal(
      np.array(json.loads(text)).astype(np.float32), values)


def test_of_a_key_given_twice_the_first_counts():
  assert json_values.parse(b'{"a": 1, "b": {"c": 2, "c": 3}, "a": 4}') == {
      "a": 1, "b": {"c": 2}}
