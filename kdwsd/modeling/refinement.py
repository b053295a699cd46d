"""Refinement branches of the teacher: their scores, pseudo labels and loss.

A branch classifies each proposal into C classes or background, by a softmax
over C + 1 logits of which the last is the background's. The scores of the
branch before it, of WSDDN for the first, choose seeds for each present class.
Proposals around a seed take its class, the others are background, and each
counts as much as the score of its nearest seed.

Source: Tang et al., "Multiple Instance Detection Network with Online Instance
Classifier Refinement", CVPR 2017, sec. 3.3, called OICR. Seeds `mist`: Ren et
al., "Instance-aware, Context-focused, and Memory-efficient Weakly Supervised
Object Detection", CVPR 2020, algorithm 1.

Shapes are static, so that XLA can compile it. P is the number of slots, each of
which holds a class that is present in an image or whose label is unknown.
"""

import tensorflow as tf

from kdwsd import boxes

SEEDS = ("mist", "top")

# Least IoU with the nearest seed of proposals that take its class, as in OICR.
_NEAR = 0.5

# Seeds `mist`: percent of the proposals, by score, that may be seeds, and the
# largest IoU of two seeds of a class, as published; most seeds of a class.
_PERCENT = 15
_APART = 0.2
_MOST_SEEDS = 20

# Most slots of an image. Time and memory of the seeds grow with them.
_MOST_SLOTS = 32


def mean_scores(logits, valid):
  """Mean over branches of the probability of each class.

  Args:
    logits: sequence of K tensors [B, R, C + 1].
    valid: [B, R] bool.

  Returns:
    [B, R, C] float32, 0 where not valid; without the background, summed over C
    in [0, 1].
  """
  total = tf.add_n([
      tf.nn.softmax(tf.cast(one, tf.float32), axis=2)[..., :-1]
      for one in logits])                                         # [B, R, C]
  return tf.where(valid[..., tf.newaxis], total / len(logits), 0.0)


def loss(*, logits, wsddn_scores, labels, label_weights, proposals, valid,
         seeds="mist"):
  """Cross-entropy of all branches with their pseudo labels.

  `sum_k 1/R sum_r - w_kr log p_kr(y_kr)` over branches k and valid proposals r,
  see `pseudo_labels` for y and w, which have no gradient. Source: OICR, eq. 4.

  Args:
    logits: sequence of K tensors [B, R, C + 1], the first branch first.
    wsddn_scores: [B, R, C].
    labels: [B, C] in {0, 1}.
    label_weights: [B, C], 0 where the label is unknown.
    proposals: [B, R, 4] (ymin, xmin, ymax, xmax).
    valid: [B, R] bool.
    seeds: one of `SEEDS`.

  Returns:
    [B] float32, 0 for an image without present classes or proposals.
  """
  slots = _Slots(labels, label_weights)
  count = tf.reduce_sum(tf.cast(valid, tf.float32), axis=1)       # [B]
  scores = slots.of(tf.cast(wsddn_scores, tf.float32))            # [B, P, R]
  losses = []
  for one in logits:
    one = tf.cast(one, tf.float32)                                # [B, R, C+1]
    targets, weights = slots.pseudo_labels(scores, proposals, valid, seeds)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, one)
    # Padding may hold anything.
    weighted = tf.where(weights > 0, weights * entropy, 0.0)      # [B, R]
    losses.append(tf.math.divide_no_nan(
        tf.reduce_sum(weighted, axis=1), count))
    # Only the probabilities that the next branch needs.
    scores = tf.exp(slots.of(one) - tf.reduce_logsumexp(
        one, axis=2)[:, tf.newaxis])                              # [B, P, R]
  return tf.add_n(losses)                                         # [B]


def pseudo_labels(*, scores, labels, label_weights, proposals, valid,
                  seeds="mist"):
  """Classes that the scores of a branch give to proposals.

  A proposal takes the class of the nearest seed of a present class if their IoU
  is 0.5 or more, else it is background; either way its weight is the score of
  that seed. Weights are 0 where nothing is to be learned: of padding; of all
  proposals of an image without present classes; and of those that would be
  background but may show a class whose label is unknown, because they have an
  IoU of 0.5 or more with one of the seeds that it would have if it were
  present. With more than 32 classes of an image that are present or unknown,
  present ones first, its proposals away from seeds have weight 0.

  Args:
    scores: [B, R, C], of the branch before.
    labels: see `loss`.
    label_weights: see `loss`.
    proposals: see `loss`.
    valid: see `loss`.
    seeds: `top`, the best proposal of each class; or `mist`, the best 15 %
      after non-maximum suppression at an IoU of 0.2, at most 20.

  Returns:
    Classes [B, R] int32, C for background; weights [B, R] float32. Both without
    gradient.
  """
  slots = _Slots(labels, label_weights)
  return slots.pseudo_labels(
      slots.of(tf.cast(scores, tf.float32)), proposals, valid, seeds)


class _Slots:
  """The classes of each image that are present or unknown.

  Attributes:
    num_classes: C.
    classes: [B, P] int32, present ones first, each in order.
    present: [B, P] bool.
    unknown: [B, P] bool.
    whole: [B] bool, whether all present and unknown classes have a slot.
  """

  def __init__(self, labels, label_weights):
    known = label_weights > 0                                     # [B, C]
    ranks = tf.where(known, tf.where(labels > 0, 2, 0), 1)
    self.num_classes = labels.shape[1]
    # As floats, because not every device sorts integers.
    ranks, self.classes = tf.math.top_k(
        tf.cast(ranks, tf.float32), min(self.num_classes, _MOST_SLOTS))
    self.present, self.unknown = ranks == 2, ranks == 1           # [B, P]
    number = tf.math.count_nonzero(~known | (labels > 0), axis=1)
    self.whole = number <= _MOST_SLOTS                            # [B]

  def of(self, values):
    """[B, P, R] of [B, R, C or more]."""
    return tf.transpose(
        tf.gather(values, self.classes, axis=2, batch_dims=1), [0, 2, 1])

  def pseudo_labels(self, scores, proposals, valid, seeds):
    """`pseudo_labels` with scores [B, P, R]."""
    overlap, score = _nearest_seeds(
        scores, proposals, valid, seeds)                          # [B, P, R]
    to_present, to_unknown = [
        tf.where(which[..., tf.newaxis], overlap, -1.0)
        for which in (self.present, self.unknown)]
    slot = tf.argmax(to_present, axis=1, output_type=tf.int32)    # [B, R]
    near = tf.reduce_max(to_present, axis=1) >= _NEAR
    classes = tf.where(
        near, tf.gather(self.classes, slot, batch_dims=1), self.num_classes)
    may_be_unknown = (tf.reduce_max(to_unknown, axis=1) >= _NEAR
                      ) | ~self.whole[:, tf.newaxis]              # [B, R]
    counts = valid & tf.reduce_any(self.present, axis=1, keepdims=True) & (
        near | ~may_be_unknown)
    weights = tf.gather(
        tf.transpose(score, [0, 2, 1]), slot, batch_dims=2)       # [B, R]
    return classes, tf.stop_gradient(tf.where(counts, weights, 0.0))


def _nearest_seeds(scores, proposals, valid, seeds):
  """Finds seeds, and for each proposal the nearest of each slot.

  Takes the best candidate that is left as the next seed, in all slots at once,
  instead of a non-maximum suppression for each of them. Scores are sorted once
  and not compared again: XLA may compute them twice, with other rounding.

  Args:
    scores: [B, P, R].
    proposals: [B, R, 4].
    valid: [B, R] bool.
    seeds: one of `SEEDS`.

  Returns:
    IoU with the nearest seed, the better one of equally near ones, and the
    score of that seed; both [B, P, R]. Of no use for an image without
    proposals.
  """
  limit = 1 if seeds == "top" else _MOST_SEEDS
  number = _candidates(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1), seeds)
  most = _candidates(
      tf.shape(scores)[2] if scores.shape[2] is None else scores.shape[2],
      seeds)
  ranked, candidates = tf.math.top_k(
      tf.where(valid[:, tf.newaxis], scores, -1.0), most)         # [B, P, most]
  left = tf.zeros_like(candidates) + tf.range(most) < number[:, None, None]

  def more(count, left, unused_overlap, unused_score):
    return (count < limit) & tf.reduce_any(left)

  def take(count, left, overlap, score):
    rank = tf.reduce_min(tf.where(left, tf.range(most), most), axis=2,
                         keepdims=True)                           # [B, P, 1]
    # Of a slot with none left the first again, which changes nothing.
    rank = tf.where(rank < most, rank, 0)
    seed = tf.gather(candidates, rank, batch_dims=2)[..., 0]      # [B, P]
    iou = boxes.pairwise_iou_tensor(
        tf.gather(proposals, seed, batch_dims=1)[:, :, tf.newaxis],
        proposals[:, tf.newaxis])[:, :, 0]                        # [B, P, R]
    nearer = iou > overlap
    apart = tf.gather(iou, candidates, batch_dims=2) <= _APART
    # A seed without area has an IoU of 0 with itself.
    return (count + 1, left & apart & (tf.range(most) != rank),
            tf.where(nearer, iou, overlap),
            tf.where(nearer, tf.gather(ranked, rank, batch_dims=2), score))

  _, _, overlap, score = tf.while_loop(more, take, (
      0, left, -tf.ones_like(scores), tf.zeros_like(scores)))
  return overlap, score


def _candidates(count, seeds):
  """The number of candidates among so many proposals."""
  if seeds == "top":
    return tf.minimum(count, 1) if tf.is_tensor(count) else min(count, 1)
  return (_PERCENT * count + 99) // 100  # Rounded up.
