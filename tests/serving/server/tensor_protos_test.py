"""Protos of the gRPC API, to arrays and back."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis import predict_pb2

from kdwsd.serving.server import codes
from kdwsd.serving.server import tensor_protos


@pytest.mark.parametrize("dtype", [
    np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8,
    np.uint32, np.uint64, np.bool_, np.float16])
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 4)])
def test_arrays_come_back(dtype, shape):
  array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
  response = predict_pb2.PredictResponse()
  tensor_protos.write(array, response.outputs["x"])
  np.testing.assert_array_equal(
      tf.make_ndarray(response.outputs["x"]), array)
  back = tensor_protos.read("x", response.outputs["x"])
  np.testing.assert_array_equal(back, array)
  assert back.dtype == dtype
  assert back.shape == shape


def test_strings_keep_their_last_zeros():
  array = np.array([[b"a\0\0"], [b"\xff"]], object)
  response = predict_pb2.PredictResponse()
  tensor_protos.write(array, response.outputs["x"])
  assert list(response.outputs["x"].string_val) == [b"a\0\0", b"\xff"]
  back = tensor_protos.read("x", response.outputs["x"])
  assert back.tolist() == array.tolist()


def test_values_are_in_the_fields_that_clients_read():
  response = predict_pb2.PredictResponse()
  tensor_protos.write(np.array([0.5, 1], np.float32), response.outputs["x"])
  tensor_protos.write(np.array([7]), response.outputs["n"])
  assert list(response.outputs["x"].float_val) == [0.5, 1]
  assert list(response.outputs["n"].int64_val) == [7]
  assert not response.outputs["x"].tensor_content


def test_what_a_client_makes_is_read():
  for value in ([1.5, 2.0], [[1, 2]], [b"a", b"b"], 3.0, True):
    proto = tf.make_tensor_proto(value)
    np.testing.assert_array_equal(
        tensor_protos.read("x", proto), tf.make_ndarray(proto))


def _proto(dtype, shape, **values):
  proto = tensor_pb2.TensorProto(dtype=dtype, **values)
  proto.tensor_shape.SetInParent()
  for size in shape:
    proto.tensor_shape.dim.add().size = size
  return proto


@pytest.mark.parametrize("proto", [
    _proto(types_pb2.DT_FLOAT, [10 ** 6, 10 ** 6], float_val=[1.0]),
    _proto(types_pb2.DT_FLOAT, [2 ** 62, 2 ** 62], float_val=[1.0]),
    _proto(types_pb2.DT_FLOAT, [2 ** 28 + 1], float_val=[1.0]),  # 1 GiB.
    _proto(types_pb2.DT_FLOAT, [-1], float_val=[1.0]),
    _proto(types_pb2.DT_FLOAT, [3], tensor_content=b"12345"),
    _proto(types_pb2.DT_FLOAT, [2], float_val=[1.0, 2.0, 3.0]),
    _proto(types_pb2.DT_STRING, [1000], string_val=[b"a"]),
    _proto(types_pb2.DT_STRING, [1], string_val=[b"a", b"b"]),
    _proto(types_pb2.DT_STRING, []),
    _proto(types_pb2.DT_INVALID, [1]),
    _proto(types_pb2.DT_RESOURCE, [1]),
    _proto(types_pb2.DT_VARIANT, [1]),
    tensor_pb2.TensorProto(),
])
def test_a_proto_that_contradicts_itself_is_refused(proto):
  with pytest.raises(codes.ServingError) as caught:
    tensor_protos.read("x", proto)
  assert caught.value.code.name == "INVALID_ARGUMENT"
  assert caught.value.message.startswith("Input x: expected")


def test_the_context_is_merged_into_each_example():
  proto = input_pb2.Input()
  with pytest.raises(codes.ServingError, match="Input is empty"):
    tensor_protos.read_examples(proto)
  with_context = proto.example_list_with_context
  with_context.context.features.feature["c"].int64_list.value.append(1)
  for number in (2, 3):
    with_context.examples.add().features.feature["n"].int64_list.value.append(
        number)
  serialized = tensor_protos.read_examples(proto)
  assert serialized.shape == (2,)
  for number, one in zip((2, 3), serialized):
    feature = tf.train.Example.FromString(one).features.feature
    assert feature["c"].int64_list.value == [1]
    assert feature["n"].int64_list.value == [number]
