"""Tiny exports with the signatures of a classifier, and some odd ones.

Version v of the model answers an image of n bytes with the probabilities
[n * v / 1000, v], so that every answer tells which version gave it.
"""

import os
import shutil
import tempfile

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kdwsd.serving.server import local_server
from kdwsd.serving.server import options

CLASSES = ("cat", "dög")
BAD = b"bad"  # An image that starts so is refused.


class _Model(tf.Module):
  """Arithmetic in the place of a network."""

  def __init__(self, version):
    super().__init__()
    self.scale = tf.Variable(float(version))

  def answer(self, images):
    """[B] string -> probabilities [B, 2], classes [B, 2]."""
    bad = tf.where(tf.strings.substr(images, 0, len(BAD)) == BAD)[:, 0]
    first = tf.concat([bad, [-1]], 0)[0]
    message = tf.strings.format(
        "image_bytes[{}]: expected a JPEG or PNG.", first)
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.size(bad) == 0, [message])]):
      lengths = tf.cast(tf.strings.length(images), tf.float32)    # [B]
    probabilities = tf.stack(
        [lengths * self.scale / 1000.0, lengths * 0.0 + self.scale], 1)
    classes = tf.tile(tf.constant([CLASSES]), [tf.size(images), 1])
    return probabilities, classes

  @tf.function(input_signature=[
      tf.TensorSpec([None], tf.string, name="image_bytes")])
  def serving_default(self, image_bytes):
    probabilities, classes = self.answer(image_bytes)
    return {"probabilities": probabilities, "classes": classes}

  @tf.function(input_signature=[
      tf.TensorSpec([None, 2, 2, 3], tf.float32, name="images")])
  def images(self, images):
    return {"mean": tf.reduce_mean(images, [1, 2, 3]) * self.scale}

  @tf.function(input_signature=[
      tf.TensorSpec([None], tf.string, name="inputs")])
  def classify(self, inputs):
    features = tf.io.parse_example(
        inputs, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
    scores, classes = self.answer(features["image/encoded"])
    return {"classes": classes, "scores": scores}

  @tf.function(input_signature=[
      tf.TensorSpec([None], tf.float32, name="a"),
      tf.TensorSpec([None, 3], tf.int64, name="b"),
      tf.TensorSpec([None], tf.bool, name="flag")])
  def many(self, a, b, flag):
    return {"sum": a[:, tf.newaxis] + tf.cast(b, tf.float32),
            "log": tf.math.log(a), "flag": flag, "b": b,
            "raw_bytes": tf.fill([tf.size(a)], b"\xff\x00")}

  @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
  def total(self, x):
    return {"total": tf.reduce_sum(x)}

  @tf.function(input_signature=[
      tf.TensorSpec([None], tf.string, name="paths")])
  def held(self, paths):
    """Answers with its inputs when the first of them is a file; see `held`."""
    # The pattern changes with each turn, else it might be matched but once.
    turns = tf.while_loop(
        lambda turn: tf.size(tf.io.matching_files(tf.strings.join([
            paths[0], tf.strings.substr(tf.strings.as_string(turn), 0, 0)
        ]))) == 0,
        lambda turn: turn + 1, [tf.constant(0, tf.int64)])[0]
    nothing = tf.strings.substr(tf.strings.as_string(turns), 0, 0)
    return {"paths": tf.strings.join([paths, nothing])}


def write(base_path, version, *, warm_up=(), name=None):
  """Writes an export as a publisher does: aside, then renamed.

  Args:
    base_path: of the model.
    version: number, which is what it answers too.
    warm_up: `PredictionLog` protos.
    name: of the directory, if not the version.

  Returns:
    The version's directory.
  """
  os.makedirs(base_path, exist_ok=True)
  temporary = tempfile.mkdtemp(prefix="writing-", dir=base_path)
  model = _Model(version)
  tf.saved_model.save(model, temporary, signatures={
      "serving_default": model.serving_default, "images": model.images,
      "classify": model.classify, "many": model.many, "total": model.total,
      "held": model.held})
  updater = (
      tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(temporary))
  updater.replace_method_name(
      signature_key="classify", method_name="tensorflow/serving/classify")
  updater.save()
  if warm_up:
    folder = os.path.join(temporary, "assets.extra")
    os.makedirs(folder)
    with tf.io.TFRecordWriter(
        os.path.join(folder, "tf_serving_warmup_requests")) as writer:
      for log in warm_up:
        writer.write(log.SerializeToString())
  path = os.path.join(base_path, name or str(version))
  os.rename(temporary, path)
  return path


def publish(source, base_path, version):
  """Copies an export that `write` made to another place, as `write` does."""
  os.makedirs(base_path, exist_ok=True)
  temporary = os.path.join(base_path, f"writing-{version}")
  shutil.copytree(source, temporary)
  os.rename(temporary, os.path.join(base_path, str(version)))


def warm_up_request(image):
  """A `PredictionLog` of one image."""
  log = prediction_log_pb2.PredictionLog()
  log.predict_log.request.model_spec.signature_name = "serving_default"
  log.predict_log.request.inputs["image_bytes"].CopyFrom(
      tf.make_tensor_proto([image]))
  return log


def probabilities(image, version):
  """What a version answers an image."""
  return [len(image) * version / 1000.0, float(version)]


def held(path):
  """The body of a call that is answered once there is a file of this name."""
  return {"signature_name": "held", "instances": [str(path)]}


def server(base_path, **changes):
  """A `LocalServer` on ports that are free, which gives everybody time."""
  return local_server.LocalServer(options.Options(
      "student", str(base_path), **{
          "port": 0, "rest_api_port": 0, "file_system_poll_wait_seconds": 0.05,
          "read_seconds": 300.0, "rest_api_timeout_in_ms": 300_000,
          "drain_seconds": 300.0, **changes}))
