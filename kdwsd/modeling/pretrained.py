"""Loads pretrained weights from Keras files, completely or not at all.

Layout: HDF5 files by layer name, as `tf.keras.Model.save_weights` writes them,
such as those of `tf.keras.applications`. Caffe, in contrast, silently skips
layers whose names it does not find.
"""

import os

from absl import logging
import h5py
import numpy as np
import tensorflow as tf

from kdwsd import errors

_APPLICATIONS = {"vgg16": "VGG16", "mobilenet_v2": "MobileNetV2",
                 "resnet50": "ResNet50", "efficientnet_b0": "EfficientNetB0"}

# File names in `tf.keras.applications`, without the classifier.
_FILE_NAMES = {
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "mobilenet_v2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_"
                    "{width}_224_no_top.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "efficientnet_b0": "efficientnetb0_notop.h5",
}

# Layers of a VGG16 file with the classifier, and ours.
_CLASSIFIER_LAYERS = {"fc1": "fc6", "fc2": "fc7"}


def load(model, weights):
  """Loads ImageNet weights into a built model.

  If a VGG16 file includes the classifier, its fc1 and fc2 are loaded into a
  model's fc6 and fc7 of 4096 units; otherwise these keep their initial values,
  and a log line says so. Other layers of the file are ignored.

  Args:
    model: a built `wsddn.WSDDN`, or anything with `backbone` and perhaps
      layers fc6 and fc7.
    weights: "none", "imagenet" (downloaded by `tf.keras.applications`), the
      path of an .h5 file, or a folder of such files under their names in
      `tf.keras.applications`.

  Returns:
    Names of the layers that were loaded, in order; [] for "none".

  Raises:
    errors.InputError: the file cannot be read or downloaded, or it lacks a
      layer of the backbone or has it in another shape. No layer is changed.
  """
  if weights == "none":
    return []
  layers = {layer.name: layer for layer in _weighted(model.backbone)}
  if weights == "imagenet":
    where, source = _fetch(model)
  else:
    where = _in_folder(weights, model.config) if os.path.isdir(
        weights) else weights
    source = _read(where)
  targets = [(layer, name) for name, layer in layers.items()]
  targets += _classifier_targets(model, source, where)
  _check(targets, source, where)
  for layer, name in targets:
    for variable, value in zip(layer.weights, source[name]):
      variable.assign(value)
  loaded = [layer.name for layer, _ in targets]
  logging.info("Loaded %d layers from %s: %s.", len(loaded), where,
               " ".join(loaded))
  return loaded


def _weighted(backbone):
  """Layers of a backbone that hold variables, in order."""
  for stage in backbone.stages:
    for layer in stage:
      parts = layer.layers if isinstance(layer, tf.keras.Model) else [layer]
      yield from (part for part in parts if part.weights)


def _in_folder(folder, config):
  """Path of the backbone's file in a folder."""
  if config.backbone not in _FILE_NAMES:
    raise errors.InputError(
        f"{folder}: expected a file of weights or \"none\" for the backbone "
        f"{config.backbone}, which `tf.keras.applications` does not have. "
        "Received: a folder.")
  width = config.backbone_width
  return os.path.join(folder, _FILE_NAMES[config.backbone].format(
      width="1.0" if width == 1 else width))


def _read(path):
  """Reads {layer name: [arrays]} of a Keras .h5 file."""
  if not os.path.isfile(path):
    raise errors.InputError(
        f"{path}: expected \"imagenet\", \"none\", or a Keras .h5 file of "
        "weights. Received: no such file.")
  try:
    with h5py.File(path, "r") as file:
      root = file["model_weights"] if "model_weights" in file else file
      names = [_text(name) for name in root.attrs["layer_names"]]
      return {name: [np.asarray(root[name][_text(weight)])
                     for weight in root[name].attrs["weight_names"]]
              for name in names}
  except (OSError, KeyError) as error:
    raise errors.InputError(
        f"{path}: expected HDF5 weights by layer name, as Keras 2's "
        f"`save_weights(\"....h5\")` writes. Received: {error}.") from error


def _text(name):
  """Decodes a name; older files store bytes, newer ones text."""
  return name.decode("utf-8") if isinstance(name, bytes) else name


def _fetch(model):
  """Downloads ImageNet weights; returns (name, {layer name: [arrays]})."""
  config = model.config
  where = f"ImageNet weights of {config.backbone}"
  arguments = dict(
      weights="imagenet", input_shape=(224, 224, 3), include_top=False)
  if config.backbone not in _APPLICATIONS:
    raise errors.InputError(
        f"backbone_weights of {config.backbone}: expected \"none\" or the path "
        "of an .h5 file, since there are no ImageNet weights for it. Received: "
        "\"imagenet\".")
  make = getattr(tf.keras.applications, _APPLICATIONS[config.backbone])
  if config.backbone == "vgg16":
    # The classifier takes 500 of the file's 550 MB: only if it can be used.
    arguments.update(include_top=config.fc_units == 4096)
  elif config.backbone == "mobilenet_v2":
    arguments.update(alpha=config.backbone_width)
  try:
    network = make(**arguments)
  # Keras raises a bare Exception when a download fails.
  except Exception as error:  # pylint: disable=broad-exception-caught
    raise errors.InputError(
        f"{where}: expected to download them; without a network, pass the path "
        f"of the .h5 file instead. Received: {error}.") from error
  return where, {
      layer.name: layer.get_weights() for layer in network.layers}


def _classifier_targets(model, source, where):
  """Pairs (layer, name in the file) for fc6 and fc7, if their shapes match."""
  if not all(source.get(name) for name in _CLASSIFIER_LAYERS):
    return []
  targets = [(getattr(model, layer, None), name)
             for name, layer in _CLASSIFIER_LAYERS.items()]
  for layer, name in targets:
    shape = tuple(source[name][0].shape)
    if layer is None or tuple(layer.weights[0].shape) != shape:
      logging.info(
          "%s: fc6 and fc7 are not loaded: %s has shape %s in the file, %s in "
          "the model.",
          where, name, shape,
          "none" if layer is None else tuple(layer.weights[0].shape))
      return []
  return targets


def _check(targets, source, where):
  """Raises unless the file has every layer in the right shape."""
  problems = []
  for layer, name in targets:
    expected = [tuple(variable.shape) for variable in layer.weights]
    received = [value.shape for value in source.get(name, [])]
    if expected != received:
      problems.append(f"{name}: expected shapes {expected}, got "
                      f"{received or 'none'}")
  if problems:
    shown = "; ".join(problems[:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    there = ", ".join(name for name in list(source)[:5])
    raise errors.InputError(
        f"{where}: expected weights of all {len(targets)} layers. Received: "
        f"{len(problems)} that do not match: {shown}{more}. The file's layers "
        f"start with {there}.")
