"""Losses of S-Cls, the student: on labels, on scores, on features.

As in `losses`: one float32 value per image, summed over classes, not reduced
over the batch. Logits, features and targets may come in any precision; what is
computed here is float32. The release is the Caffe code of Liu et al.,
"Multi-Label Image Classification via Knowledge Distillation from
Weakly-Supervised Detection", ACM MM 2018.
"""

import functools
import math
import warnings

import tensorflow as tf

from kdwsd import errors

HARD_LOSSES = ("sigmoid", "focal", "asymmetric")

_LOG_FLOOR = math.log(1e-8)


def hard_loss(name, *, focal_alpha=0.25, focal_gamma=2.0, gamma_positive=0.0,
              gamma_negative=4.0, clip=0.05):
  """The loss between labels and logits that a name stands for.

  Args:
    name: one of `HARD_LOSSES`.
    focal_alpha: see `focal`; 0 turns the balance off.
    focal_gamma: see `focal`.
    gamma_positive: see `asymmetric`.
    gamma_negative: see `asymmetric`.
    clip: see `asymmetric`.

  Returns:
    Function of (labels, logits, label_weights=None) that returns [B] float32.

  Raises:
    errors.InputError: no such loss, or a setting of it out of range.
  """
  if name == "sigmoid":
    return sigmoid_cross_entropy
  if name == "focal":
    _check("focal_alpha", "at least 0, below 1", 0 <= focal_alpha < 1,
           focal_alpha)
    # The derivative of x^gamma at 0, where a sure and right logit is, is
    # infinite between 0 and 1.
    _check("focal_gamma", "0, or 1 or more",
           focal_gamma == 0 or focal_gamma >= 1, focal_gamma)
    _addons()  # Now, so that no step is the first to import it.
    return functools.partial(focal, alpha=focal_alpha, gamma=focal_gamma)
  if name == "asymmetric":
    _check("gamma_positive", "0 or more", gamma_positive >= 0, gamma_positive)
    _check("gamma_negative", "0 or more", gamma_negative >= 0, gamma_negative)
    _check("clip", "at least 0, below 1", 0 <= clip < 1, clip)
    return functools.partial(
        asymmetric, gamma_positive=gamma_positive,
        gamma_negative=gamma_negative, clip=clip)
  raise errors.InputError(
      f"--hard_loss: expected one of {', '.join(HARD_LOSSES)}. "
      f"Received: {name!r}.")


def sigmoid_cross_entropy(labels, logits, label_weights=None):
  """`- sum_c w_c (y_c log sigmoid(z_c) + (1 - y_c) log(1 - sigmoid(z_c)))`.

  The release's hard loss in stage 2: Caffe's SigmoidCrossEntropyLoss, stable
  for every finite logit.

  Args:
    labels: [B, C] in [0, 1]; soft targets are welcome.
    logits: [B, C].
    label_weights: [B, C], 0 where the label is unknown; None for all ones.

  Returns:
    [B] float32.
  """
  losses = tf.nn.sigmoid_cross_entropy_with_logits(
      labels=tf.cast(labels, tf.float32), logits=tf.cast(logits, tf.float32))
  return _sum_over_classes(losses, label_weights)


def focal(labels, logits, label_weights=None, *, alpha=0.25, gamma=2.0):
  """Sigmoid cross-entropy times `alpha_t (1 - p_t)^gamma`.

  p_t is the probability of what the label says; alpha_t is alpha for a class
  that is present, 1 - alpha for an absent one. By tensorflow-addons, which
  sums over the last axis: it gets one element a row, so that each class can
  still have its weight.

  Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
  eq. 5; its alpha and gamma are the defaults.

  Args:
    labels: [B, C] in {0, 1}.
    logits: [B, C].
    label_weights: [B, C], 0 where the label is unknown; None for all ones.
    alpha: weight of present classes, below 1; 0 or None for no balance.
    gamma: how much easy labels lose weight: 0, or 1 or more.

  Returns:
    [B] float32.
  """
  losses = _addons().sigmoid_focal_crossentropy(
      tf.cast(labels, tf.float32)[..., tf.newaxis],
      tf.cast(logits, tf.float32)[..., tf.newaxis],
      alpha=alpha, gamma=gamma, from_logits=True)                 # [B, C]
  return _sum_over_classes(losses, label_weights)


def asymmetric(labels, logits, label_weights=None, *, gamma_positive=0.0,
               gamma_negative=4.0, clip=0.05):
  """Cross-entropy that forgives easy negatives more than easy positives.

  `- sum_c w_c (y_c (1 - p)^g+ log p + (1 - y_c) p_m^g- log(1 - p_m))` with
  p_m = max(p - clip, 0). log p is floored at log 1e-8; as in
  `losses.mil_cross_entropy` a gradient passes the floor, so that a positive
  whose probability has died comes back (in the authors' code it does not).
  `log(1 - p_m)` needs the floor without a clip only.

  The focusing weights are constants to the gradient: so were they in the
  authors' training on MS-COCO, whose settings the defaults are. Their other
  implementation, and the analysis in the paper, differentiate them too.

  Source: Ben-Baruch et al., "Asymmetric Loss For Multi-Label Classification",
  ICCV 2021, asymmetric focusing and probability shifting together, and the
  authors' code, AsymmetricLoss.

  Args:
    labels: [B, C] in {0, 1}.
    logits: [B, C].
    label_weights: [B, C], 0 where the label is unknown; None for all ones.
    gamma_positive: g+, focusing exponent of present classes, 0 or more.
    gamma_negative: g-, of absent ones, 0 or more.
    clip: shift of the probability of absent classes; those below it cost
      nothing.

  Returns:
    [B] float32.
  """
  labels = tf.cast(labels, tf.float32)
  logits = tf.cast(logits, tf.float32)
  present, absent = tf.sigmoid(logits), tf.sigmoid(-logits)       # [B, C]
  log_present = _floored(tf.math.log_sigmoid(logits))
  if clip:
    log_absent = tf.math.log(tf.minimum(absent + clip, 1.0))
  else:
    log_absent = _floored(tf.math.log_sigmoid(-logits))
  # 1 - p as the sigmoid of - z: no digits are lost where p is near 1.
  easy_positive = tf.stop_gradient(tf.pow(absent, gamma_positive))
  easy_negative = tf.stop_gradient(
      tf.pow(tf.maximum(present - clip, 0.0), gamma_negative))
  losses = -(labels * easy_positive * log_present
             + (1.0 - labels) * easy_negative * log_absent)
  return _sum_over_classes(losses, label_weights)


def prediction_distillation(logits, teacher_scores, inverse_temperature):
  """Soft loss of stage 2: sigmoid cross-entropy of z s towards the teacher.

  The teacher's scores are constants. Labels play no part, so that a class
  whose label is unknown is learnt from the teacher alone.

  Source: the release's stage 2; s is its learnable Scale layer, from 0.2.

  Args:
    logits: [B, C], the student's z.
    teacher_scores: [B, C] in [0, 1], image scores at the teacher's own
      temperatures.
    inverse_temperature: [C], s.

  Returns:
    [B] float32.
  """
  softened = (tf.cast(logits, tf.float32)
              * tf.cast(inverse_temperature, tf.float32))         # [B, C]
  return sigmoid_cross_entropy(tf.stop_gradient(teacher_scores), softened)


def feature_distillation(student, teacher, valid, roi_weights=None):
  """Loss of stage 1: half the mean squared distance of RoI features.

  `1 / (2 R) sum_r w_r || student_r - teacher_r ||^2` over the R valid RoIs of
  the image. Where all images have as many, the mean over the batch is the
  release's 1 / (2 N) over all N RoIs (Caffe's EuclideanLoss); where they have
  not, each image counts the same, however many proposals it has. Padding
  changes nothing. The teacher is a constant.

  Args:
    student: [B, R, ...], fc7 [B, R, D] or pooled maps [B, R, 7, 7, channels];
      the number of axes must be known.
    teacher: as `student`.
    valid: [B, R] bool; where False nothing else matters.
    roi_weights: [B, R], of mean 1 over the valid RoIs of an image if the scale
      of the loss is to stay; None for all ones.

  Returns:
    [B] float32, 0 for an image without RoIs.
  """
  student = tf.cast(student, tf.float32)
  teacher = tf.stop_gradient(tf.cast(teacher, tf.float32))
  units = range(2, student.shape.rank)
  # Masked before the square: what is in the padding may be NaN, and zero times
  # its gradient would be, too.
  keep = valid[(..., *[tf.newaxis for _ in units])]               # [B, R, 1..]
  difference = tf.where(keep, student - teacher, 0.0)             # [B, R, ...]
  squares = tf.reduce_sum(tf.square(difference), list(units))     # [B, R]
  if roi_weights is not None:
    squares *= tf.where(valid, tf.cast(roi_weights, tf.float32), 0.0)
  count = tf.reduce_sum(tf.cast(valid, tf.float32), axis=1)       # [B]
  return 0.5 * tf.reduce_sum(squares, axis=1) / tf.maximum(count, 1.0)


def _sum_over_classes(losses, label_weights):
  if label_weights is not None:
    losses *= tf.cast(label_weights, tf.float32)
  return tf.reduce_sum(losses, axis=1)                            # [B]


def _floored(logarithms):
  """max(log p, log 1e-8) that lets gradients pass below the floor."""
  return logarithms + tf.stop_gradient(tf.nn.relu(_LOG_FLOOR - logarithms))


@tf.autograph.experimental.do_not_convert
def _addons():
  """tensorflow_addons.losses, without its notice of the end of its life."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorflow_addons import losses
  return losses


def _check(name, expected, holds, received):
  if not holds:
    raise errors.InputError(
        f"{name}: expected {expected}. Received: {received!r}.")
