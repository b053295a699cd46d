"""T-WDet, the teacher: a weakly supervised detector, WSDDN.

Source: Bilen & Vedaldi, "Weakly Supervised Deep Detection Networks", CVPR 2016
(WSDDN), as used by Liu et al., "Multi-Label Image Classification via Knowledge
Distillation from Weakly-Supervised Detection", ACM MM 2018, whose Caffe code
is called the release.
"""

import dataclasses

import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import backbones
from kdwsd.modeling import dropout
from kdwsd.modeling import layers
from kdwsd.modeling import refinement
from kdwsd.modeling import roi_pooling

# Used instead of minus infinity, with which a softmax over no RoI is NaN.
_NEVER = -1e9


@dataclasses.dataclass(frozen=True)
class WSDDNConfig:
  """The configuration of a WSDDN.

  Attributes:
    num_classes: C.
    backbone: one of `backbones.NAMES`.
    backbone_width: channel multiplier, MobileNetV2 only.
    fc_units: width D of fc6 and fc7; 4096 in the paper.
    dropout_rate: dropout rate after fc6 and fc7.
    roi_pooling: one of `roi_pooling.NAMES`.
    score_scale, score_bias: pooled features are multiplied by
      score_scale * objectness + score_bias. 1 and 0 in the release, 10 and 1
      in WSDDN's own code.
    class_temperature: divides the class logits before their softmax.
    detection_temperature: divides the detection logits before their softmax; 2
      in WSDDN, 1 in the release.
    refinement_branches: K, the number of branches that refine the scores of
      proposals, see `refinement`; 0 in the paper.
    frozen_stages: number of leading backbone stages that are not trained.
    seed: seed of the initializers.
  """
  num_classes: int
  backbone: str = "vgg16"
  backbone_width: float = 1.0
  fc_units: int = 4096
  dropout_rate: float = 0.5
  roi_pooling: str = "crop_and_resize"
  score_scale: float = 1.0
  score_bias: float = 0.0
  class_temperature: float = 1.0
  detection_temperature: float = 1.0
  refinement_branches: int = 0
  frozen_stages: int = 0
  seed: int = 0

  def __post_init__(self):
    checks = (
        ("num_classes", "1 or more", self.num_classes >= 1),
        ("backbone", "one of " + ", ".join(backbones.NAMES),
         self.backbone in backbones.NAMES),
        ("fc_units", "1 or more", self.fc_units >= 1),
        ("dropout_rate", "at least 0, below 1", 0 <= self.dropout_rate < 1),
        ("roi_pooling", "one of " + ", ".join(roi_pooling.NAMES),
         self.roi_pooling in roi_pooling.NAMES),
        ("class_temperature", "above 0", self.class_temperature > 0),
        ("detection_temperature", "above 0", self.detection_temperature > 0),
        ("refinement_branches", "0 or more", self.refinement_branches >= 0),
    )
    for name, expected, holds in checks:
      if not holds:
        raise errors.InputError(
            f"{name}: expected {expected}. Received: {getattr(self, name)!r}.")


class WSDDN(tf.keras.Model):
  """Backbone, RoI pooling, fc6, fc7, and two streams multiplied into scores.

  `layers` defines the initial weights.
  """

  def __init__(self, config, name="wsddn"):
    """Makes a model without variables; see `build`.

    Args:
      config: a `WSDDNConfig`.
      name: name of the Keras model.
    """
    # Boxes and objectness must reach the pooling in float32.
    super().__init__(name=name, autocast=False)
    self.config = config
    self.backbone = backbones.make(
        config.backbone, width=config.backbone_width,
        frozen_stages=config.frozen_stages, seed=config.seed)
    self.fc6 = layers.hidden("fc6", config.fc_units, seed=self._seed(1))
    self.fc7 = layers.hidden("fc7", config.fc_units, seed=self._seed(2))
    self.fc8_c = layers.classifier(
        "fc8_c", config.num_classes, seed=self._seed(3))
    self.fc8_d = layers.classifier(
        "fc8_d", config.num_classes, seed=self._seed(4))
    for branch in range(1, config.refinement_branches + 1):
      # An attribute each: checkpoints without branches hold no list of them.
      setattr(self, f"fc8_r{branch}", layers.classifier(
          f"fc8_r{branch}", config.num_classes + 1,
          seed=self._seed(4 + branch)))

  def call(self, batch, training=False, dropout_seeds=None):
    """Scores the proposals of a batch of images.

    Args:
      batch: dict with `image` [B, S, S, 3] RGB 0..255, `proposals` [B, R, 4]
        fractions (ymin, xmin, ymax, xmax), `objectness` [B, R] and `valid`
        [B, R] bool. Where `valid` is false, the other values do not matter. The
        optional `frozen_map`, the output of `backbones.Backbone.frozen`, is
        used instead of `image`.
      training: whether to apply dropout.
      dropout_seeds: [B, 2] int32, one seed per image; required in training
        unless the dropout rate is 0.

    Returns:
      Dict of float32 tensors: `layers`, features for distillation: `pool`
      [B, R, 7, 7, channels], `fc6` and `fc7` [B, R, D] after their ReLU and
      before their dropout; `class_logits` and `detection_logits` [B, R, C],
      before any temperature; `proposal_scores` [B, R, C], 0 for padding;
      `image_scores` [B, C] in [0, 1], 0 for an image without proposals. With
      refinement branches, `proposal_scores` are the mean of theirs, and there
      are also `wsddn_scores` [B, R, C], which `image_scores` are the sum of,
      and `refinement_logits`, a tuple of K tensors [B, R, C + 1], the
      background last.

    Raises:
      ValueError: training with dropout but without seeds.
    """
    config = self.config
    dropping = bool(training) and config.dropout_rate > 0
    if dropping and dropout_seeds is None:
      raise ValueError("Invalid value for argument `dropout_seeds`. Expected "
                       "[B, 2] int32 in training. Received: None.")
    valid = batch["valid"]                                        # [B, R]
    count, units = tf.shape(valid)[1], config.fc_units
    pooled = self._pool(batch)                      # [B, R, 7, 7, channels]
    size = roi_pooling.SIDE ** 2 * self.backbone.num_channels
    hidden = self.fc6(tf.reshape(pooled, [-1, size]))             # [B R, D]
    hidden = tf.reshape(hidden, [-1, count, units])               # [B, R, D]
    fc6 = tf.cast(hidden, tf.float32)
    if dropping:
      hidden = dropout.drop(
          hidden, rate=config.dropout_rate, seeds=dropout_seeds, salt=6)
    hidden = self.fc7(tf.reshape(hidden, [-1, units]))            # [B R, D]
    hidden = tf.reshape(hidden, [-1, count, units])               # [B, R, D]
    fc7 = tf.cast(hidden, tf.float32)
    if dropping:
      hidden = dropout.drop(
          hidden, rate=config.dropout_rate, seeds=dropout_seeds, salt=7)
    hidden = tf.cast(hidden, tf.float32)
    class_logits = self.fc8_c(hidden)                             # [B, R, C]
    detection_logits = self.fc8_d(hidden)                         # [B, R, C]
    wsddn_scores = combine_streams(
        class_logits / config.class_temperature,
        detection_logits / config.detection_temperature, valid)
    outputs = {
        "layers": {"pool": tf.cast(pooled, tf.float32), "fc6": fc6,
                   "fc7": fc7},
        "class_logits": class_logits,
        "detection_logits": detection_logits,
        "proposal_scores": wsddn_scores,
        "image_scores": tf.reduce_sum(wsddn_scores, axis=1),      # [B, C]
    }
    if not config.refinement_branches:
      return outputs
    logits = tuple(branch(hidden) for branch in self._branches())
    return {**outputs, "wsddn_scores": wsddn_scores,
            "refinement_logits": logits,
            "proposal_scores": refinement.mean_scores(logits, valid)}

  def portable(self, batch):
    """`call` without dropout, for graphs that may move to another machine.

    Args:
      batch: as `call`.

    Returns:
      As `call`, computed by operations that every device has.
    """
    with roi_pooling.portable():
      return self(batch)

  def factor(self, batch):
    """[B, R] float32 factor of the pooled features."""
    return roi_pooling.score_factor(
        batch["objectness"], batch["valid"], scale=self.config.score_scale,
        bias=self.config.score_bias)

  def _branches(self):
    return [getattr(self, f"fc8_r{branch}")
            for branch in range(1, self.config.refinement_branches + 1)]

  def _pool(self, batch):
    """[B, R, 7, 7, channels], see `roi_pooling.pool`; zeros for padding."""
    return roi_pooling.pool(
        self.config.roi_pooling,
        self.backbone(batch["image"], batch.get("frozen_map")),
        batch["proposals"], self.factor(batch),
        image_size=tf.shape(batch["image"])[1:3], stride=self.backbone.stride)

  def _seed(self, index):
    return 1000 * self.config.seed + 900 + index


def build(config):
  """Makes a WSDDN with its variables.

  Args:
    config: a `WSDDNConfig`.

  Returns:
    A `WSDDN`; the names of its variables end in fc6/kernel, fc8_c/bias, ...
  """
  model = WSDDN(config)
  model({
      "image": tf.zeros([1, 32, 32, 3]),
      "proposals": tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
      "objectness": tf.ones([1, 1]),
      "valid": tf.ones([1, 1], tf.bool),
  })
  return model


def combine_streams(class_logits, detection_logits, valid):
  """Softmax over classes times softmax over the proposals of an image.

  Source: WSDDN, sec. 3.2.

  Args:
    class_logits: [B, R, C].
    detection_logits: [B, R, C].
    valid: [B, R] bool.

  Returns:
    [B, R, C] float32, 0 where not valid; summed over R, in [0, 1].
  """
  keep = valid[..., tf.newaxis]                                   # [B, R, 1]
  which_class = tf.nn.softmax(tf.cast(class_logits, tf.float32), axis=2)
  logits = tf.where(keep, tf.cast(detection_logits, tf.float32), _NEVER)
  which_region = tf.nn.softmax(logits, axis=1)                    # [B, R, C]
  return tf.where(keep, which_class * which_region, 0.0)
