"""Weights files: all layers, or an error that names them."""

import dataclasses
import os
import unittest.mock

import h5py
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import pretrained
from kdwsd.modeling import student
from kdwsd.modeling import wsddn

_DATA = os.environ.get("KDWSD_DATA")


def _model(units=8, backbone="small", width=1.0):
  return wsddn.build(wsddn.WSDDNConfig(
      num_classes=3, backbone=backbone, backbone_width=width, fc_units=units))


def _convolutions(seed=0):
  """{layer: [kernel, bias]} of the small backbone, random."""
  random = np.random.RandomState(seed)
  shapes = {"conv1": (5, 5, 3, 32), "conv2": (3, 3, 32, 32),
            "conv3": (3, 3, 32, 64), "conv4": (3, 3, 64, 64),
            "conv5": (3, 3, 64, 96), "conv6": (3, 3, 96, 96),
            "conv7": (3, 3, 96, 128)}
  return {name: [random.randn(*shape), random.randn(shape[-1])]
          for name, shape in shapes.items()}


def _classifier(units, seed=1):
  random = np.random.RandomState(seed)
  return {"fc1": [random.randn(49 * 128, units), random.randn(units)],
          "fc2": [random.randn(units, units), random.randn(units)]}


class PretrainedTest(tf.test.TestCase):

  def test_folder_holds_each_backbones_file(self):
    model = student.build(student.StudentConfig(
        num_classes=3, image_size=64, backbone="mobilenet_v2",
        backbone_width=0.35, fc_units=0))
    folder = self.get_temp_dir()
    layers = {layer.name: [np.random.RandomState(0).rand(*v.shape)
                           for v in layer.weights]
              for stage, in model.backbone.stages
              for layer in stage.layers if layer.weights}
    os.rename(self._write(layers), os.path.join(
        folder, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_"
        "no_top.h5"))
    loaded = pretrained.load(model, folder)
    self.assertIn("Conv_1", loaded)  # The last stage's, at stride 32.
    self.assertAllClose(
        model.backbone.stages[-1][0].get_layer("Conv_1").kernel,
        layers["Conv_1"][0])
    with self.assertRaisesRegex(errors.InputError, "_1.0_224_no_top.h5"):
      pretrained.load(student.build(student.StudentConfig(
          num_classes=3, image_size=64, backbone="mobilenet_v2",
          fc_units=0)), folder)
    with self.assertRaisesRegex(errors.InputError, "Received: a folder"):
      pretrained.load(_model(), folder)

  def _write(self, layers, root=None, text=True):
    """Writes a file as Keras does, with text or, as old ones, bytes."""
    path = os.path.join(self.get_temp_dir(), "weights.h5")
    with h5py.File(path, "w") as file:
      top = file.create_group(root) if root else file
      names = list(layers)
      top.attrs["layer_names"] = names if text else [
          name.encode() for name in names]
      for name, values in layers.items():
        group = top.create_group(name)
        weights = [f"{name}_{i}:0" for i in range(len(values))]
        group.attrs["weight_names"] = weights if text else [
            weight.encode() for weight in weights]
        for weight, value in zip(weights, values):
          group.create_dataset(weight, data=np.float32(value))
    return path

  def test_loads_every_convolution(self):
    layers = _convolutions()
    for root, text in ((None, True), ("model_weights", False)):
      model = _model()
      loaded = pretrained.load(model, self._write(
          dict(layers, input_1=[], predictions=[np.ones([2, 2])]),
          root, text))
      self.assertEqual([f"conv{i}" for i in range(1, 8)], loaded)
      for variable in model.backbone.variables:
        name, leaf = variable.name.split("/")[-2:]
        self.assertAllClose(layers[name][leaf != "kernel:0"], variable)

  def test_none_loads_nothing(self):
    model = _model()
    before = model.get_weights()
    self.assertEqual([], pretrained.load(model, "none"))
    self.assertAllEqual(before[0], model.get_weights()[0])

  def test_classifier_starts_fc6_and_fc7(self):
    model, classifier = _model(units=8), _classifier(8)
    loaded = pretrained.load(
        model, self._write({**_convolutions(), **classifier}))
    self.assertEqual(["fc6", "fc7"], loaded[-2:])
    self.assertAllClose(classifier["fc1"][0], model.fc6.kernel)
    self.assertAllClose(classifier["fc2"][1], model.fc7.bias)

  def test_classifier_of_another_width_is_left_and_logged(self):
    model = _model(units=8)
    before = model.fc6.kernel.numpy()
    path = self._write({**_convolutions(), **_classifier(16)})
    with self.assertLogs("absl", level="INFO") as logs:
      loaded = pretrained.load(model, path)
    self.assertNotIn("fc6", loaded)
    self.assertAllEqual(before, model.fc6.kernel)
    self.assertIn("fc6 and fc7 are not loaded", "".join(logs.output))

  def test_mismatch_names_layers_and_loads_nothing(self):
    layers = _convolutions()
    del layers["conv7"]
    layers["conv2"][0] = layers["conv2"][0][..., :5]
    model = _model()
    before = model.get_weights()
    path = self._write(layers)
    with self.assertRaises(errors.InputError) as caught:
      pretrained.load(model, path)
    for text in (path, "conv2", "(3, 3, 32, 5)", "(3, 3, 32, 32)", "conv7",
                 "got none"):
      self.assertIn(text, str(caught.exception))
    for old, new in zip(before, model.get_weights()):
      self.assertAllEqual(old, new)

  def test_unreadable_files_are_refused(self):
    model = _model()
    path = os.path.join(self.get_temp_dir(), "not.h5")
    with open(path, "w", encoding="utf-8") as file:
      file.write("no HDF5")
    empty = os.path.join(self.get_temp_dir(), "empty.h5")
    with h5py.File(empty, "w"):
      pass
    for bad in (path, empty, path + ".missing", self.get_temp_dir()):
      with self.assertRaisesRegex(errors.InputError, "Received"):
        pretrained.load(model, bad)

  def test_no_imagenet_weights_of_small(self):
    with self.assertRaisesRegex(errors.InputError, "small.*none"):
      pretrained.load(_model(), "imagenet")

  def test_failed_download_says_what_to_do(self):
    model = _model()
    model.config = dataclasses.replace(model.config, backbone="mobilenet_v2")
    with unittest.mock.patch.object(
        tf.keras.applications, "MobileNetV2",
        side_effect=Exception("URL fetch failure")):
      with self.assertRaisesRegex(errors.InputError, "without a network"):
        pretrained.load(model, "imagenet")

  def test_real_weights_load(self):
    if not _DATA:
      self.skipTest("KDWSD_DATA is not set: no real weights to load")
    for backbone, width, count, name in (
        ("mobilenet_v2", 0.35, 80, "mobilenet_v2_weights_tf_dim_ordering_tf_"
         "kernels_0.35_224_no_top.h5"),
        ("vgg16", 1.0, 13,
         "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")):
      model = _model(backbone=backbone, width=width)
      path = os.path.join(_DATA, "weights", name)
      self.assertLen(pretrained.load(model, path), count)


if __name__ == "__main__":
  tf.test.main()
