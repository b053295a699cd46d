"""Backbones against `tf.keras.applications`, and what freezing does."""

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import backbones


def _images(side, seed=0):
  return tf.constant(np.random.RandomState(seed).uniform(
      0, 255, [1, side, side, 3]), tf.float32)


def _copy_weights(network, backbone):
  for stage in backbone.stages:
    for layer in stage:
      for part in getattr(layer, "layers", [layer]):
        if part.weights:
          part.set_weights(network.get_layer(part.name).get_weights())


def _enliven(network, seed=1):
  """Gives a network weights by which the image reaches the end of it."""
  random = np.random.RandomState(seed)
  for variable in network.weights:
    if "mean" in variable.name:
      variable.assign(random.uniform(-0.1, 0.1, variable.shape))
    elif "variance" in variable.name or "gamma" in variable.name:
      variable.assign(random.uniform(0.5, 1.5, variable.shape))
    elif "kernel" in variable.name:
      fan_in = np.prod(
          variable.shape[:2 if "depthwise" in variable.name else 3])
      variable.assign(random.normal(
          size=variable.shape, scale=np.sqrt(2 / fan_in)))


class BackbonesTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(
      ("vgg16", 64, 4, 512), ("small", 64, 8, 128), ("small", 160, 20, 128),
      ("mobilenet_v2", 64, 4, 576))
  def test_map_has_the_stride_and_channels_announced(
      self, name, side, cells, channels):
    backbone = backbones.make(name)
    self.assertAllEqual([1, cells, cells, channels],
                        backbone(_images(side)).shape)
    self.assertEqual(side // cells, backbone.stride)
    self.assertEqual(channels, backbone.num_channels)

  @parameterized.parameters(
      ("vgg16", 1.0, 32, 2, 512), ("small", 1.0, 32, 4, 128),
      ("mobilenet_v2", 0.35, 64, 2, 1280))
  def test_whole_network_ends_before_its_mean(
      self, name, width, side, cells, channels):
    backbone = backbones.make(name, width=width, whole=True)
    self.assertAllEqual([1, cells, cells, channels],
                        backbone(_images(side)).shape)
    self.assertEqual(side // cells, backbone.stride)
    self.assertEqual(channels, backbone.num_channels)

  @parameterized.parameters(("resnet50", 1024), ("efficientnet_b0", 112))
  def test_detectors_of_deep_networks_end_at_stride_16(self, name, channels):
    backbone = backbones.make(name)
    self.assertAllEqual([1, 4, 4, channels], backbone(_images(64)).shape)
    self.assertEqual(16, backbone.stride)

  @parameterized.parameters(
      ("resnet50", "ResNet50", "conv1_pad", "conv5_block3_out", 2048),
      ("efficientnet_b0", "EfficientNetB0", "stem_conv_pad", "top_activation",
       1280))
  def test_whole_network_equals_keras_applications(
      self, name, application, first, last, channels):
    network = getattr(tf.keras.applications, application)(
        include_top=False, weights=None, input_shape=(None, None, 3))
    if name == "efficientnet_b0":  # Fresh, it gives 1e-6 of any image.
      _enliven(network)
    backbone = backbones.make(name, whole=True)
    images = _images(64)
    backbone(images)
    _copy_weights(network, backbone)
    if name == "resnet50":
      prepared = images[..., ::-1] - tf.constant([103.52, 116.28, 123.675])
    else:
      prepared = (images / 255.0 - tf.constant([0.485, 0.456, 0.406])
                  ) / tf.constant([0.229, 0.224, 0.225])
    expected = tf.keras.Model(
        network.get_layer(first).input, network.get_layer(last).output)(
            prepared, training=False)
    self.assertGreater(np.std(expected), 0.01)
    self.assertAllClose(expected, backbone(images), rtol=1e-3, atol=1e-4)
    self.assertAllEqual([1, 2, 2, channels], expected.shape)
    self.assertEqual(32, backbone.stride)
    self.assertEqual(channels, backbone.num_channels)

  def test_vgg16_equals_keras_applications(self):
    network = tf.keras.applications.VGG16(include_top=False, weights=None)
    backbone = backbones.make("vgg16")
    images = _images(32)
    backbone(images)
    _copy_weights(network, backbone)
    # The same preparation but for the means, which differ by under half a
    # grey level.
    means = tf.constant([103.52, 116.28, 123.675])
    expected = tf.keras.Model(
        network.input, network.get_layer("block5_conv3").output)(
            images[..., ::-1] - means)
    self.assertGreater(np.max(expected), 0.0)
    self.assertAllClose(expected, backbone(images), rtol=1e-4, atol=1e-4)

  def test_mobilenet_v2_equals_keras_applications_at_inference(self):
    network = tf.keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=0.35,
        input_shape=(None, None, 3))
    _enliven(network)
    backbone = backbones.make("mobilenet_v2", width=0.35)
    images = _images(64)
    backbone(images)
    _copy_weights(network, backbone)
    cut = tf.keras.Model(
        network.input, network.get_layer("block_13_expand_relu").output)
    prepared = tf.keras.applications.mobilenet_v2.preprocess_input(images)
    expected = cut(prepared, training=False)
    self.assertNotAllClose(expected, cut(prepared - 0.1, training=False),
                           atol=0.1)
    self.assertAllClose(expected, backbone(images, training=True), rtol=1e-4,
                        atol=1e-4)

  def test_mobilenet_v2_learns_kernels_only_from_he_uniform(self):
    backbone = backbones.make("mobilenet_v2", width=0.35)
    names = [v.name for v in backbone.trainable_variables]
    self.assertLen(names, 1 + 2 + 3 * 12 + 1)      # Conv1, block 0, 1-12, 13
    self.assertFalse([n for n in names if "BN" in n or "bn" in n])
    # A depthwise kernel sees 3 x 3 values of its own channel only.
    kernel = backbone.stages[1][0].get_layer("block_1_depthwise").weights[0]
    self.assertBetween(np.max(np.abs(kernel)), 0.9 * np.sqrt(6 / 9),
                       np.sqrt(6 / 9))

  @parameterized.parameters(
      ("small", 4, 3), ("vgg16", 5, 9), ("mobilenet_v2", 5, 31))
  def test_frozen_stages_get_no_gradient_and_no_tape(
      self, name, num_stages, num_kernels_left):
    width = 0.35 if name == "mobilenet_v2" else 1.0
    images = _images(32)
    counts = []
    for frozen in (2, num_stages):
      backbone = backbones.make(name, width=width, frozen_stages=frozen)
      with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(backbone(images))
      kernels = [v for v in backbone.trainable_variables
                 if "kernel" in v.name]
      counts.append(len(kernels))
      sources = [images] + kernels
      gradients = tape.gradient(total, sources)
      # Even the images, which are watched, are out of reach.
      self.assertIsNone(gradients[0])
      self.assertNotIn(None, gradients[1:])
    self.assertEqual([num_kernels_left, 0], counts)

  def test_fresh_weights_are_he_uniform_and_keep_the_scale(self):
    backbone = backbones.make("small")
    features = backbone(_images(64))
    kernel = backbone.stages[1][1].kernel                  # 3 x 3 x 32 -> 64
    limit = np.sqrt(6 / (9 * 32))
    self.assertLessEqual(np.max(np.abs(kernel)), limit)
    self.assertGreater(np.max(np.abs(kernel)), 0.99 * limit)
    self.assertBetween(float(tf.math.reduce_std(features)), 0.1, 10.0)

  def test_fresh_weights_go_by_the_seed(self):
    images = _images(64)
    first, same, other = [
        backbones.make("small", seed=seed)(images) for seed in (1, 1, 2)]
    self.assertAllEqual(first, same)
    self.assertNotAllClose(first, other, rtol=0.1)

  @parameterized.parameters(
      dict(name="vgg19"), dict(name="vgg16", width=0.5),
      dict(name="mobilenet_v2", width=0.0),
      dict(name="small", frozen_stages=5),
      dict(name="small", frozen_stages=-1))
  def test_bad_settings_are_refused(self, **settings):
    with self.assertRaisesRegex(errors.InputError, "expected.*Received"):
      backbones.make(**settings)


if __name__ == "__main__":
  tf.test.main()
