"""Losses of S-Cls, the student: on labels, on scores, on features.

As in `losses`: one float32 value per image, summed over classes, not reduced
over the batch. Logits, features and targets may have any precision; the losses
are computed in float32. The release is the Caffe code of Liu et al.,
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
  """The loss between labels and logits with the given name.

  Args:
    name: one of `HARD_LOSSES`.
    focal_alpha: `alpha` of `focal`; 0 for no class balancing.
    focal_gamma: `gamma` of `focal`.
    gamma_positive: as in `asymmetric`.
    gamma_negative: as in `asymmetric`.
    clip: as in `asymmetric`.

  Returns:
    Function of (labels, logits, label_weights=None) that returns [B] float32.

  Raises:
    errors.InputError: no such loss, or an argument out of range.
  """
  if name == "sigmoid":
    return sigmoid_cross_entropy
  if name == "focal":
    _check("focal_alpha", "at least 0, below 1", 0 <= focal_alpha < 1,
           focal_alpha)
    # For gamma between 0 and 1, the derivative of x^gamma is infinite at x = 0,
    # which confident correct logits reach.
    _check("focal_gamma", "0, or 1 or more",
           focal_gamma == 0 or focal_gamma >= 1, focal_gamma)
    _focal_losses()  # Imports it now instead of in the first step.
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
    labels: [B, C] in [0, 1]; may be soft targets.
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

  p_t is the predicted probability of the label's value; alpha_t is alpha for
  present classes and 1 - alpha for absent ones. Computed by tensorflow-addons,
  or where it is not installed by its formula.

  Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
  eq. 5; its alpha and gamma are the defaults.

  Args:
    labels: [B, C] in {0, 1}.
    logits: [B, C].
    label_weights: [B, C], 0 where the label is unknown; None for all ones.
    alpha: weight of present classes, below 1; 0 or None for no class balancing.
    gamma: focusing exponent, 0, or 1 or more; the larger, the less easy labels
      count.

  Returns:
    [B] float32.
  """
  # Summed over the last axis: here of length 1, as classes are weighted first.
  losses = _focal_losses()(
      tf.cast(labels, tf.float32)[..., tf.newaxis],
      tf.cast(logits, tf.float32)[..., tf.newaxis],
      alpha=alpha, gamma=gamma)                                   # [B, C]
  return _sum_over_classes(losses, label_weights)


def asymmetric(labels, logits, label_weights=None, *, gamma_positive=0.0,
               gamma_negative=4.0, clip=0.05):
  """Cross-entropy that down-weights easy negatives more than easy positives.

  `- sum_c w_c (y_c (1 - p)^g+ log p + (1 - y_c) p_m^g- log(1 - p_m))` with
  p_m = max(p - clip, 0). log p is floored at log 1e-8; as in
  `losses.mil_cross_entropy`, the gradient passes the floor, so that a positive
  class with a probability near 0 recovers (not so in the authors' code).
  `log(1 - p_m)` needs the floor only if clip is 0.

  The focusing weights get no gradient, as in the authors' training on MS-COCO,
  whose settings are the defaults. Their other implementation, and the analysis
  in the paper, differentiate them, too.

  Source: Ben-Baruch et al., "Asymmetric Loss For Multi-Label Classification",
  ICCV 2021, asymmetric focusing and probability shifting together, and the
  authors' code, AsymmetricLoss.

  Args:
    labels: [B, C] in {0, 1}.
    logits: [B, C].
    label_weights: [B, C], 0 where the label is unknown; None for all ones.
    gamma_positive: g+, focusing exponent of present classes, 0 or more.
    gamma_negative: g-, focusing exponent of absent classes, 0 or more.
    clip: shift of the probability of absent classes; a probability below it
      has no loss.

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
  # 1 - p is computed as sigmoid(-z), which is accurate where p is near 1.
  easy_positive = tf.stop_gradient(tf.pow(absent, gamma_positive))
  easy_negative = tf.stop_gradient(
      tf.pow(tf.maximum(present - clip, 0.0), gamma_negative))
  losses = -(labels * easy_positive * log_present
             + (1.0 - labels) * easy_negative * log_absent)
  return _sum_over_classes(losses, label_weights)


def prediction_distillation(logits, teacher_scores, inverse_temperature):
  """Soft loss of stage 2: sigmoid cross-entropy of z s with teacher scores.

  The teacher's scores get no gradient. Labels are not used, so that a class
  whose label is unknown is learned from the teacher alone.

  Source: the release's stage 2; s is its learned Scale layer, initially 0.2.

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
  the image. If all images have the same R, the mean over the batch equals the
  release's 1 / (2 N) over all N RoIs (Caffe's EuclideanLoss); otherwise each
  image has the same weight for any number of proposals. Padding does not
  contribute. The teacher's features get no gradient.

  Args:
    student: [B, R, ...], fc7 [B, R, D] or pooled maps [B, R, 7, 7, channels];
      the number of axes must be known.
    teacher: as `student`.
    valid: [B, R] bool; where False, the other values do not matter.
    roi_weights: [B, R], with mean 1 over the valid RoIs of an image to keep the
      scale of the loss; None for all ones.

  Returns:
    [B] float32, 0 for an image without RoIs.
  """
  student = tf.cast(student, tf.float32)
  teacher = tf.stop_gradient(tf.cast(teacher, tf.float32))
  units = range(2, student.shape.rank)
  # Masked before squaring: padding may be NaN, and 0 times its gradient would
  # be NaN, too.
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
def _focal_losses():
  """The addons' focal loss, or ours; the addons work up to TensorFlow 2.15."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # That their development has ended.
    try:
      from tensorflow_addons import losses
    except ImportError:
      return _sigmoid_focal_crossentropy
  return functools.partial(
      losses.sigmoid_focal_crossentropy, from_logits=True)


def _sigmoid_focal_crossentropy(labels, logits, alpha, gamma):
  """The formula of the addons' function of this name.

  Not Keras's binary_focal_crossentropy, whose gradient is NaN where gamma is 0
  and p_t is 1.
  """
  losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
  present = tf.sigmoid(logits)
  p_t = labels * present + (1.0 - labels) * (1.0 - present)
  if alpha:
    losses *= labels * alpha + (1.0 - labels) * (1.0 - alpha)
  if gamma:
    losses *= tf.pow(1.0 - p_t, gamma)
  return tf.reduce_sum(losses, axis=-1)


def _check(name, expected, holds, received):
  if not holds:
    raise errors.InputError(
        f"{name}: expected {expected}. Received: {received!r}.")
