"""Losses: one float32 value per image, not reduced over the batch.

The step divides by the global batch, once.
"""

import tensorflow as tf

from kdwsd import boxes

# Present classes of an image that `spatial_regularizer` sees. The features that
# it gathers for a class take 160 kB: 1.5 GB for each image of 9,600 classes.
MOST_PRESENT = 128


def mil_cross_entropy(labels, image_scores, label_weights=None, floor=1e-4):
  """Binary cross-entropy between image labels and WSDDN image scores.

  `- sum_c w_c (y_c log p_c + (1 - y_c) log(1 - p_c))`, both probabilities
  floored. Below the floor the value is constant but the gradient is that at
  the floor, 1 / floor, so that a positive class with a score near 0 recovers.

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


def spatial_regularizer(*, labels, proposals, valid, features,
                        proposal_scores, iou_threshold=0.6, limit=10):
  """Pulls the features of proposals that overlap a class's best one to its own.

  `1/2 sum_c sum_j || p_cj (f_j - f_best(c)) ||^2` over classes c that are
  present and over proposals j among the `limit` best of the class (including
  the best one) whose IoU with the best one is above `iou_threshold`. p_cj is
  the score of proposal j, without gradient.

  Source: WSDDN, sec. 3.4, and the layer LossTopBoxSmoothProb of its code, which
  has the limit and defines p. The gradient of that layer has p where the
  derivative has p^2, and keeps only the last class of a proposal; here it is
  the exact derivative. The caller applies WSDDN's weight, 1e-4.

  Of more than `MOST_PRESENT` present classes of an image, the first ones count.

  Args:
    labels: [B, C] in {0, 1}.
    proposals: [B, R, 4] (ymin, xmin, ymax, xmax).
    valid: [B, R] bool.
    features: [B, R, D], fc7.
    proposal_scores: [B, R, C].
    iou_threshold: minimum IoU, exclusive, of proposals with the best one.
    limit: maximum number of proposals per class.

  Returns:
    [B] float32, 0 for an image without labels or proposals.
  """
  scores = tf.where(valid[..., tf.newaxis],
                    tf.cast(proposal_scores, tf.float32), 0.0)
  scores = tf.stop_gradient(tf.transpose(scores, [0, 2, 1]))      # [B, C, R]
  if labels.shape[1] > MOST_PRESENT:  # C is `MOST_PRESENT` from here on.
    labels, present = tf.math.top_k(labels, MOST_PRESENT)         # [B, C]
    scores = tf.gather(scores, present, batch_dims=1)             # [B, C, R]
  best, indices = tf.math.top_k(
      scores, tf.minimum(limit, tf.shape(scores)[2]))             # [B, C, K]
  chosen = tf.gather(proposals, indices, batch_dims=1)            # [B, C, K, 4]
  # The sum runs over one best proposal, or none if R is 0.
  overlap = tf.reduce_sum(boxes.pairwise_iou_tensor(
      chosen[:, :, :1], chosen), axis=2)                          # [B, C, K]
  counts = ((overlap > iou_threshold) & (labels[..., tf.newaxis] > 0)
            & tf.gather(valid, indices, batch_dims=1))
  found = tf.gather(tf.cast(features, tf.float32), indices, batch_dims=1)
  squares = tf.reduce_sum(
      tf.square(found - found[:, :, :1]), axis=-1)                # [B, C, K]
  weights = tf.where(counts, tf.square(best), 0.0)
  return 0.5 * tf.reduce_sum(weights * squares, axis=[1, 2])      # [B]


@tf.custom_gradient
def _floored(probabilities, floor):
  """max(p, floor) that lets gradients pass below the floor."""
  def gradient(upstream):
    return upstream, None
  return tf.maximum(probabilities, floor), gradient
