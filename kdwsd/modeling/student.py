"""S-Cls, the student: a plain classifier, used without its teacher.

Source: Liu et al., "Multi-Label Image Classification via Knowledge
Distillation from Weakly-Supervised Detection", ACM MM 2018, and its Caffe
code, called the release.

There are two heads: with `fc_units`, the paper's, pool5 -> fc6 -> fc7 -> fc8;
without, for compact backbones, global average pooling -> fc8. Both also compute
features of regions, with the same weights: stage 1 of the distillation pools
the student's feature map at the teacher's proposals and stops before fc8.
"""

import dataclasses

import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import backbones
from kdwsd.modeling import dropout
from kdwsd.modeling import layers
from kdwsd.modeling import roi_pooling


@dataclasses.dataclass(frozen=True)
class StudentConfig:
  """Hyperparameters of a student.

  Attributes:
    num_classes: C.
    image_size: side S of its images in pixels; 224 in the paper.
    backbone: one of `backbones.NAMES`, up to its last layer.
    backbone_width: channel multiplier, MobileNetV2 only.
    fc_units: width D of fc6 and fc7; 4096 in the paper; 0 for no fc6 and fc7.
    dropout_rate: dropout rate after fc6 and fc7, or after global average
      pooling.
    roi_pooling: one of `roi_pooling.NAMES`.
    feature_scale: factor of an image's pooled features, the counterpart of
      `roi_pooling.score_factor` for regions.
    frozen_stages: number of leading backbone stages that are not trained.
    seed: seed of the initializers.
  """
  num_classes: int
  image_size: int = 224
  backbone: str = "vgg16"
  backbone_width: float = 1.0
  fc_units: int = 4096
  dropout_rate: float = 0.5
  roi_pooling: str = "crop_and_resize"
  feature_scale: float = 1.0
  frozen_stages: int = 0
  seed: int = 0

  def __post_init__(self):
    checks = (
        ("num_classes", "1 or more", self.num_classes >= 1),
        ("backbone", "one of " + ", ".join(backbones.NAMES),
         self.backbone in backbones.NAMES),
        ("student_size", "32 or more", self.image_size >= 32),
        ("fc_units", "0 or more", self.fc_units >= 0),
        ("dropout_rate", "at least 0, below 1", 0 <= self.dropout_rate < 1),
        ("roi_pooling", "one of " + ", ".join(roi_pooling.NAMES),
         self.roi_pooling in roi_pooling.NAMES),
        ("feature_scale", "more than 0", self.feature_scale > 0),
    )
    for name, expected, holds in checks:
      if not holds:
        value = getattr(self, {"student_size": "image_size"}.get(name, name))
        raise errors.InputError(
            f"{name}: expected {expected}. Received: {value!r}.")


class Student(tf.keras.Model):
  """Backbone and head; logits of an image, or features of its regions."""

  def __init__(self, config, name="student"):
    """Makes a model without variables; see `build`.

    Args:
      config: a `StudentConfig`.
      name: name of the Keras model.

    Raises:
      errors.InputError: the head does not fit the backbone's feature map.
    """
    # Boxes and objectness must reach the pooling in float32.
    super().__init__(name=name, autocast=False)
    self.config = config
    self.backbone = backbones.make(
        config.backbone, width=config.backbone_width, whole=True,
        frozen_stages=config.frozen_stages, seed=config.seed)
    self.fc6 = self.fc7 = None
    if config.fc_units:
      cells = self.backbone.stride * roi_pooling.SIDE
      if config.image_size % cells:
        raise errors.InputError(
            f"student_size: expected a multiple of {cells}, so that fc6 finds "
            f"{roi_pooling.SIDE} x {roi_pooling.SIDE} cells of "
            f"{config.backbone}, or --fc_units=0. Received: "
            f"{config.image_size}.")
      self.fc6 = layers.hidden("fc6", config.fc_units, seed=self._seed(1))
      self.fc7 = layers.hidden("fc7", config.fc_units, seed=self._seed(2))
    self.fc8 = layers.classifier(
        "fc8", config.num_classes, seed=self._seed(3))

  def call(self, images, training=False, dropout_seeds=None,
           frozen_map=None):
    """Classifies images.

    Args:
      images: [B, S, S, 3] RGB 0..255, S = `config.image_size`; see `resize`.
      training: whether to apply dropout.
      dropout_seeds: [B, 2] int32, one seed per image; required in training
        unless the dropout rate is 0.
      frozen_map: the precomputed `backbones.Backbone.frozen` of the images, or
        None.

    Returns:
      [B, C] float32 logits.
    """
    feature_map = self.backbone(images, frozen_map)         # [B, h, w, ch]
    if self.config.fc_units:
      pooled = _pool5(feature_map)                          # [B, 7, 7, ch]
    else:
      pooled = feature_map
    pooled *= tf.cast(self.config.feature_scale, pooled.dtype)
    features = self._describe(
        pooled[:, tf.newaxis], training, dropout_seeds)["dropped"]
    return self.fc8(tf.cast(features[:, 0], tf.float32))

  def regions(self, images, proposals, factor, training=False,
              dropout_seeds=None, frozen_map=None):
    """Features of regions, by the weights that also process whole images.

    Args:
      images: [B, S, S, 3] as `call`.
      proposals: [B, R, 4] fractions (ymin, xmin, ymax, xmax).
      factor: [B, R], multiplies the pooled features; see
        `roi_pooling.score_factor`.
      training: as `call`.
      dropout_seeds: as `call`.
      frozen_map: as `call`.

    Returns:
      Dict of float32 tensors: `pool` [B, R, 7, 7, channels]; `fc6` and `fc7`
      [B, R, D] before dropout. Without these layers there is no `fc6`, and
      `fc7`, to be compared with the teacher's, is the mean over the 7 x 7
      cells, [B, R, channels].
    """
    feature_map = self.backbone(images, frozen_map)
    pooled = roi_pooling.pool(
        self.config.roi_pooling, feature_map, proposals, factor,
        image_size=tf.shape(images)[1:3],
        stride=self.backbone.stride)                # [B, R, 7, 7, channels]
    described = self._describe(pooled, training, dropout_seeds)
    del described["dropped"]
    return {"pool": tf.cast(pooled, tf.float32), **described}

  def score(self, batch):
    """Image scores for evaluation, from a batch of the input pipeline.

    Args:
      batch: has `image` [B, H, W, 3] RGB 0..255.

    Returns:
      Dict with `image_scores` [B, C] float32, probabilities.
    """
    images = resize(batch["image"], self.config.image_size)
    return {"image_scores": tf.sigmoid(self(images))}

  def _describe(self, pooled, training, dropout_seeds):
    """Head without fc8: [B, R, h, w, channels] to features of R regions."""
    config = self.config
    seeds = _seeds(config, training, dropout_seeds)
    if not config.fc_units:
      mean = tf.reduce_mean(tf.cast(pooled, tf.float32), axis=[2, 3])
      return {"fc7": mean, "dropped": _drop(mean, config, seeds, 7)}
    count = tf.shape(pooled)[1]
    hidden, described = pooled, {}
    size = roi_pooling.SIDE ** 2 * self.backbone.num_channels
    for name, layer, salt in (("fc6", self.fc6, 6), ("fc7", self.fc7, 7)):
      hidden = layer(tf.reshape(hidden, [-1, size]))              # [B R, D]
      size = config.fc_units
      hidden = tf.reshape(hidden, [-1, count, size])              # [B, R, D]
      described[name] = tf.cast(hidden, tf.float32)
      hidden = _drop(hidden, config, seeds, salt)
    return {**described, "dropped": hidden}

  def _seed(self, index):
    return 1000 * self.config.seed + 950 + index


def build(config):
  """Builds a student with its variables.

  Args:
    config: a `StudentConfig`.

  Returns:
    A `Student`; the names of its variables end in fc6/kernel, fc8/bias, ...

  Raises:
    errors.InputError: see `Student`.
  """
  model = Student(config)
  model(tf.zeros([1, config.image_size, config.image_size, 3]))
  return model


def resize(images, size):
  """Resizes the teacher's images for the student, as the release does.

  Bilinear, corner-aligned, without antialiasing, like Caffe's Interp layer.

  Args:
    images: [B, H, W, 3] of any number type.
    size: side S in pixels.

  Returns:
    [B, S, S, 3] float32.
  """
  # `tf.image.resize` has no corner-aligned mode.
  return tf.raw_ops.ResizeBilinear(
      images=tf.cast(images, tf.float32), size=[size, size],
      align_corners=True)


def _pool5(feature_map):
  """Max pooling to 7 x 7: VGG16's pool5, 2 x 2, for images of 224 pixels."""
  window = feature_map.shape[1] // roi_pooling.SIDE
  if window == 1:
    return feature_map
  return tf.nn.max_pool2d(feature_map, window, window, "VALID")


def _seeds(config, training, dropout_seeds):
  """Dropout seeds, or None without dropout."""
  if not (training and config.dropout_rate):
    return None
  if dropout_seeds is None:
    raise ValueError("Invalid value for argument `dropout_seeds`. Expected "
                     "[B, 2] int32 in training. Received: None.")
  return dropout_seeds


def _drop(features, config, seeds, salt):
  if seeds is None:
    return features
  return dropout.drop(
      features, rate=config.dropout_rate, seeds=seeds, salt=salt)
