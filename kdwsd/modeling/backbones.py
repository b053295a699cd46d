"""Convolutional backbones: images in, a feature map out.

Every backbone is a `Backbone`: its input is RGB images in 0..255, which the
model normalizes as its weights expect; its output is a feature map with
`stride` pixels per cell. `frozen_stages` counts stages; a frozen stage needs no
backward pass. A detector's backbone ends at stride 16 or less; a classifier's
is whole, up to the network's last layer before global pooling.

| name | stages | stride | channels | preparation |
|---|---|---|---|---|
| vgg16 | 5 (block1..block5, no pool5) | 16 | 512 | BGR minus means |
| small | 4 | 8 | 128 | BGR minus means, divided by 58 |
| mobilenet_v2 | 5, whole 6 | 16, 32 | 576, 1280 at width 1 | RGB to [-1, 1] |
| resnet50 | 4, whole 5 | 16, 32 | 1024, 2048 | BGR minus means |
| efficientnet_b0 | 4, whole 5 | 16, 32 | 112, 1280 | RGB standardised |

Sources: VGG16: Simonyan & Zisserman, "Very Deep Convolutional Networks",
ICLR 2015, configuration D; layer names and weights of `tf.keras.applications`.
MobileNetV2: Sandler et al., CVPR 2018; ResNet-50: He et al., CVPR 2016;
EfficientNet-B0: Tan & Le, ICML 2019; all through `tf.keras.applications`.
Means: the Caffe release of MLIC-KD-WSD (BGR 103.52, 116.28, 123.675).
"""

import math

import tensorflow as tf

from kdwsd import errors

NAMES = ("vgg16", "small", "mobilenet_v2", "resnet50", "efficientnet_b0")

_BGR_MEANS = (103.52, 116.28, 123.675)

# Approximate standard deviation of a channel of natural images in 0..255: He
# initialization without normalization layers assumes inputs of unit variance.
_PIXEL_DEVIATION = 58.0

_VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

# Mean and deviation of ImageNet's RGB in 0..1, which EfficientNet expects.
_RGB_MEANS = (0.485, 0.456, 0.406)
_RGB_DEVIATIONS = (0.229, 0.224, 0.225)

# Last layer of each stage; only classifiers have the last stage.
_CUTS = {
    # The two convolutions at stride 2, then the blocks at strides 4, 8, 16 (64
    # wide) and 16 (96 wide). block_13_expand_relu is the last layer at stride
    # 16.
    "mobilenet_v2": ("expanded_conv_project_BN", "block_2_add", "block_5_add",
                     "block_9_add", "block_13_expand_relu", "out_relu"),
    "resnet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out",
                 "conv4_block6_out", "conv5_block3_out"),
    "efficientnet_b0": ("block1a_project_bn", "block2b_add", "block3b_add",
                        "block5c_add", "top_activation"),
}


class Backbone(tf.keras.Model):
  """A chain of stages over prepared images.

  Attributes:
    stages: list of lists of layers.
    stride: pixels of the image per cell of the map.
    num_channels: channels of the map.
  """

  def __init__(self, stages, *, prepare, stride, num_channels,
               frozen_stages=0, name=None):
    """Makes a backbone.

    Args:
      stages: list of lists of layers, applied in order.
      prepare: function of [B, H, W, 3] RGB float32 0..255 -> the same shape.
      stride: pixels per cell of the last stage's output.
      num_channels: channels of the last stage's output.
      frozen_stages: number of leading stages that are not trained.
      name: name of the Keras model.

    Raises:
      errors.InputError: there are fewer stages than `frozen_stages`.
    """
    # Images are normalized in float32 under any dtype policy: bfloat16 resolves
    # interpolated values in 0..255 only to about one grey level.
    super().__init__(name=name, autocast=False)
    if not 0 <= frozen_stages <= len(stages):
      raise errors.InputError(
          f"frozen_stages of {name}: expected 0 to {len(stages)}. Received: "
          f"{frozen_stages}.")
    self.stages = stages
    self.stride = stride
    self.num_channels = num_channels
    self._prepare = prepare
    self._frozen_stages = frozen_stages
    for stage in stages[:frozen_stages]:
      for layer in stage:
        layer.trainable = False
    # A pooling layer at the start of the next stage is counted as frozen, too,
    # which makes the frozen map smaller.
    self._num_frozen = sum(map(len, stages[:frozen_stages]))
    if frozen_stages < len(stages) and isinstance(
        stages[frozen_stages][0], tf.keras.layers.MaxPool2D):
      self._num_frozen += 1

  def call(self, images, frozen_map=None):
    """Maps images to features.

    Args:
      images: [B, H, W, 3] RGB 0..255; not read if there is a `frozen_map`.
      frozen_map: the output of `frozen` for the images, if it is cached.

    Returns:
      [B, h, w, num_channels].
    """
    features = self.frozen(images) if frozen_map is None else frozen_map
    features = tf.cast(features, self.compute_dtype)
    for layer in self._layers_in_order[self._num_frozen:]:
      features = layer(features)
    return features

  def frozen(self, images):
    """Output of the frozen stages for [B, H, W, 3] RGB images in 0..255."""
    features = self._prepare(tf.cast(images, tf.float32))
    features = tf.cast(features, self.compute_dtype)
    for layer in self._layers_in_order[:self._num_frozen]:
      features = layer(features)
    if self._frozen_stages:
      # With trainable = False alone, an eager tape still runs back to the first
      # convolution, because it watches its variables.
      features = tf.stop_gradient(features)
    return features

  @property
  def frozen_variables(self):
    """Variables that `frozen` depends on, in order."""
    return [variable for stage in self.stages[:self._frozen_stages]
            for layer in stage for variable in layer.variables]

  @property
  def _layers_in_order(self):
    return [layer for stage in self.stages for layer in stage]


def make(name, *, width=1.0, whole=False, frozen_stages=0, seed=0):
  """Makes a backbone with random initial weights (He-uniform).

  Source of the initializer: He et al., "Delving Deep into Rectifiers", ICCV
  2015; 13 layers of ReLU without normalization do not train without it.

  Args:
    name: one of `NAMES`.
    width: channel multiplier of MobileNetV2 ("alpha"); 1 for the others.
    whole: whether to include the stage at stride 32, if the network has one.
    frozen_stages: number of leading stages that are not trained.
    seed: seed of the initializers.

  Returns:
    A `Backbone`.

  Raises:
    errors.InputError: a value out of range.
  """
  if name not in NAMES:
    raise errors.InputError(
        f"backbone: expected one of {', '.join(NAMES)}. Received: {name!r}.")
  if not width > 0:
    raise errors.InputError(
        f"backbone_width: expected a number above 0. Received: {width}.")
  if width != 1.0 and name != "mobilenet_v2":
    raise errors.InputError(
        f"backbone_width of {name}: expected 1 (only mobilenet_v2 has other "
        f"widths). Received: {width}.")
  if name in _CUTS:
    return _of_keras(name, width, whole, frozen_stages, seed)
  return (_vgg16 if name == "vgg16" else _small)(frozen_stages, seed)


def _vgg16(frozen_stages, seed):
  stages = []
  for block, (depth, filters) in enumerate(_VGG16_BLOCKS, 1):
    stage = []
    if block > 1:
      stage.append(tf.keras.layers.MaxPool2D(2, name=f"block{block - 1}_pool"))
    for i in range(1, depth + 1):
      stage.append(_convolution(
          filters, 3, name=f"block{block}_conv{i}",
          seed=_layer_seed(seed, 10 * block + i)))
    stages.append(stage)
  return Backbone(stages, prepare=_bgr_minus_means, stride=16,
                  num_channels=512, frozen_stages=frozen_stages, name="vgg16")


def _small(frozen_stages, seed):
  """A network for two CPU cores: 0.27 G multiply-adds for 160 x 160 pixels.

  Similar to VGG-F (Chatfield et al., BMVC 2014): a wide, strided first
  convolution, then a few 3 x 3 convolutions. Stride 8, because at stride 16
  images of 160 pixels have only 10 x 10 cells. Without normalization layers,
  training and inference compute the same function, and images of a batch are
  independent.
  """
  conv1 = [_convolution(32, 5, strides=2, name="conv1",
                        seed=_layer_seed(seed, 1)),
           _convolution(32, 3, name="conv2", seed=_layer_seed(seed, 2))]
  conv3 = [tf.keras.layers.MaxPool2D(2, name="pool1"),
           _convolution(64, 3, name="conv3", seed=_layer_seed(seed, 3)),
           _convolution(64, 3, name="conv4", seed=_layer_seed(seed, 4))]
  conv5 = [tf.keras.layers.MaxPool2D(2, name="pool2"),
           _convolution(96, 3, name="conv5", seed=_layer_seed(seed, 5)),
           _convolution(96, 3, name="conv6", seed=_layer_seed(seed, 6))]
  conv7 = [_convolution(128, 3, name="conv7", seed=_layer_seed(seed, 7))]
  return Backbone(
      [conv1, conv3, conv5, conv7],
      prepare=lambda images: _bgr_minus_means(images) / _PIXEL_DEVIATION,
      stride=8, num_channels=128, frozen_stages=frozen_stages, name="small")


def _of_keras(name, width, whole, frozen_stages, seed):
  """A network of `tf.keras.applications`, cut into stages, batch norm frozen.

  Batches of a detector are too small for batch statistics, so batch norm uses
  the stored statistics and is not trained: `trainable = False` does both.
  Students do the same, so that images of a batch are independent.
  """
  arguments = dict(input_shape=(None, None, 3), include_top=False, weights=None)
  start = None
  if name == "mobilenet_v2":
    network = tf.keras.applications.MobileNetV2(alpha=width, **arguments)
    prepare = _centred
  elif name == "resnet50":
    network = tf.keras.applications.ResNet50(**arguments)
    prepare = _bgr_minus_means
  else:
    # Keras's network begins with layers that normalize images, one of them only
    # if it loads ImageNet weights itself; ours begins after them. There is no
    # stochastic depth, because its masks would not be reproducible.
    network = tf.keras.applications.EfficientNetB0(
        drop_connect_rate=0.0, **arguments)
    start = network.get_layer("stem_conv_pad").input
    prepare = _standardized
  cuts = _CUTS[name] if whole else _CUTS[name][:-1]
  stages, previous = [], network.input if start is None else start
  for number, cut in enumerate(cuts, 1):
    output = network.get_layer(cut).output
    stages.append([tf.keras.Model(previous, output, name=f"stage{number}")])
    previous = output
  index = 0
  for stage, in stages:
    for layer in stage.layers:
      if isinstance(layer, tf.keras.layers.BatchNormalization):
        layer.trainable = False
      elif layer.weights:
        index += 1
        _initialize_kernel(layer, _layer_seed(seed, index))
  return Backbone(
      stages, prepare=prepare, stride=32 if whole else 16,
      num_channels=int(previous.shape[-1]), frozen_stages=frozen_stages,
      name=name)


def _convolution(filters, size, *, name, seed, strides=1):
  return tf.keras.layers.Conv2D(
      filters, size, strides=strides, padding="same", activation="relu",
      kernel_initializer=tf.keras.initializers.HeUniform(seed), name=name)


def _initialize_kernel(layer, seed):
  """He-uniform, with the fan-in of a depthwise kernel counted per channel."""
  kernel = layer.weights[0]
  fan_in = kernel.shape[0] * kernel.shape[1]
  if not isinstance(layer, tf.keras.layers.DepthwiseConv2D):
    fan_in *= kernel.shape[2]
  limit = math.sqrt(6.0 / fan_in)
  initializer = tf.keras.initializers.RandomUniform(-limit, limit, seed)
  kernel.assign(initializer(kernel.shape))


def _layer_seed(seed, index):
  """A seed for one layer, so that layers of equal shape differ."""
  return 1000 * seed + index


def _bgr_minus_means(images):
  return tf.reverse(images, axis=[-1]) - tf.constant(_BGR_MEANS, tf.float32)


def _standardized(images):
  return (images / 255.0 - tf.constant(_RGB_MEANS, tf.float32)) / tf.constant(
      _RGB_DEVIATIONS, tf.float32)


def _centred(images):
  return images / 127.5 - 1.0
