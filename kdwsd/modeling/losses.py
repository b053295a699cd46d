"""Losses: one float32 value per image, not reduced over the batch.

The step divides by the global batch, once.
"""

import tensorflow as tf


def mil_cross_entropy(labels, image_scores, label_weights=None, floor=1e-4):
  """Binary cross-entropy between image labels and WSDDN image scores.

  `- sum_c w_c (y_c log p_c + (1 - y_c) log(1 - p_c))`, both probabilities
  floored. Below the floor the value is constant but the gradient is that at
  the floor, 1 / floor: a positive class whose score has died comes back.

  Source: Bilen & Vedaldi, "Weakly Supervised Deep Detection Networks", CVPR
  2016, sec. 3.3, restated for labels in {0, 1}; floor and its gradient as in
  the loss layer of the Caffe release of MLIC-KD-WSD.

  Args:
    labels: [B, C] in {0, 1}.
    image_scores: [B, C] in [0, 1]; probabilities, not logits.
    label_weights: [B, C], 0 where the label is unknown; None for all ones.
    floor: smallest probability that the logarithm sees.

  Returns:
    [B] float32, summed over classes.
  """
  labels = tf.cast(labels, tf.float32)
  scores = tf.cast(image_scores, tf.float32)
  losses = -(labels * tf.math.log(_floored(scores, floor))
             + (1.0 - labels) * tf.math.log(_floored(1.0 - scores, floor)))
  if label_weights is not None:
    losses *= tf.cast(label_weights, tf.float32)
  return tf.reduce_sum(losses, axis=1)                            # [B]


@tf.custom_gradient
def _floored(probabilities, floor):
  """max(p, floor) that lets gradients pass below the floor."""
  def gradient(upstream):
    return upstream, None
  return tf.maximum(probabilities, floor), gradient
