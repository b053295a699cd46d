"""RoI pooling: a fixed 7 x 7 grid of features for each proposal.

Each kind is a function of a feature map and of proposals. What computes it is
decided when a graph is built. On CPUs, and within `portable`:

| kind | by | result |
|---|---|---|
| crop_and_resize | `roi_sampling.by_op`, the reference | float32 |
| max | `roi_maxima.max_pool`, tables sized by the RoIs | float32 |

On GPUs and TPUs, and within `compilable`, operations that XLA can compile and
that do not wait for values that the device computes:

| kind | by | result |
|---|---|---|
| crop_and_resize | `roi_sampling.by_products` | type of the features |
| max | `roi_maxima.max_pool`, tables sized by the map | type of the features |
"""

import contextlib
import contextvars

import tensorflow as tf

from kdwsd.modeling import roi_maxima
from kdwsd.modeling import roi_sampling

SIDE = 7
NAMES = ("crop_and_resize", "max")

_ACCELERATORS = ("GPU", "TPU")

# True within `compilable`, False within `portable`, else None.
_compilable = contextvars.ContextVar("compilable", default=None)


@contextlib.contextmanager
def compilable():
  """Within this context `pool` builds only operations that XLA compiles.

  Enter it in the function that is traced: it holds for the thread that enters
  it, and a distribution strategy traces each replica in a thread of its own.
  """
  token = _compilable.set(True)
  try:
    yield
  finally:
    _compilable.reset(token)


@contextlib.contextmanager
def portable():
  """Within this context `pool` computes as on a CPU, for graphs that move.

  Holds for the thread that enters it.
  """
  token = _compilable.set(False)
  try:
    yield
  finally:
    _compilable.reset(token)


def pool(kind, features, rois, factor, *, image_size, stride):
  """Pools RoIs and multiplies each by its factor, as in the release.

  Args:
    kind: one of `NAMES`.
    features: [B, H, W, C] float of any precision.
    rois: [B, R, 4] float32, fractions (ymin, xmin, ymax, xmax).
    factor: [B, R] float32, see `score_factor`; where it is 0, the result is 0
      for any RoI.
    image_size: as in `roi_maxima.max_pool`.
    stride: as in `roi_maxima.max_pool`.

  Returns:
    [B, R, 7, 7, C] float32, or of the type of the features; see above.
  """
  features = tf.convert_to_tensor(features)
  compiled = _is_compilable(features)
  dtype = features.dtype if compiled else tf.float32
  rois = tf.where(factor[..., tf.newaxis] == 0, 0.0, rois)
  if kind == "max":
    pooled = roi_maxima.max_pool(
        features, rois, SIDE, image_size=image_size, stride=stride,
        dtype=dtype, bounded=compiled)
  elif compiled:
    pooled = roi_sampling.by_products(features, rois, SIDE)
  else:
    pooled = roi_sampling.by_op(features, rois, SIDE)
  # In float32, which has room for any factor.
  pooled = tf.cast(pooled, tf.float32) * tf.reshape(factor, [-1, 1, 1, 1])
  count, channels = tf.shape(rois)[1], features.shape[-1]
  return tf.reshape(
      tf.cast(pooled, dtype), [-1, count, SIDE, SIDE, channels])


def score_factor(objectness, valid, *, scale, bias):
  """Factor of the pooled features: scale * objectness + bias.

  Args:
    objectness: [B, R].
    valid: [B, R] bool.
    scale: 1 in the release, 10 in WSDDN's own code.
    bias: 0 in the release, 1 in WSDDN's own code.

  Returns:
    [B, R] float32, 0 where not valid.
  """
  return tf.where(valid, scale * objectness + bias, 0.0)


def _is_compilable(features):
  """Whether to build the operations for accelerators.

  Unless a context says so: whether the features are placed on one or, where
  their place is left to TensorFlow, whether the process has one.
  """
  chosen = _compilable.get()
  if chosen is not None:
    return chosen
  place = tf.DeviceSpec.from_string(features.device).device_type
  if place:
    return place != "CPU"
  return any(device.device_type in _ACCELERATORS
             for device in tf.config.list_logical_devices())
