"""Gradients of RoIs that meet in the same cells, from many threads.

As a program: those of the ops that every device has, under deterministic ops,
as a CPU trains.
"""

import numpy as np
import tensorflow as tf

from kdwsd.modeling import roi_pooling
from kdwsd.training import strategies
from tests.modeling import pooling_inputs


def of_3000_rois(kind):
  """A dict of how many of 14 x 14 cells have which gradient.

  All RoIs are the whole map, every cell is a sample of its own bin, and the
  gradient of every bin is 1: 49 cells, the maxima, have 3000, all others 0.
  """
  features = np.random.RandomState(3).permutation(14 * 14).reshape(
      1, 14, 14, 1).astype(np.float32)
  rois = tf.constant([[[0.0, 0.0, 1.0, 1.0]] * 3000])
  _, gradient = pooling_inputs.value_and_gradient(
      lambda features: roi_pooling.pool(
          kind, features, rois, tf.ones([1, 3000]), image_size=[14, 14],
          stride=1), features, np.ones([1, 3000, 7, 7, 1]))
  values, counts = np.unique(gradient, return_counts=True)
  return dict(zip(values.tolist(), counts.tolist()))


if __name__ == "__main__":
  strategies.set_determinism("on", seed=0)
  with roi_pooling.portable():
    print(of_3000_rois("crop_and_resize"))
