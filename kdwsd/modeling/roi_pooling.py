"""RoI pooling: a fixed 7 x 7 grid of features for each proposal.

Each kind is a function of a feature map and of proposals. What computes it is
decided when a graph is built:

| kind | within `portable` | on CPUs | on GPUs | compiled by XLA |
|---|---|---|---|---|
| crop_and_resize | `roi_sampling.by_op` | `by_op_and_products` | `by_op` | \
`by_gathers` |
| max | `roi_maxima.max_pool`, tables sized by RoIs | the same | by the map | \
by the map |
| result | float32 | float32 | type of the features | type of the features |

The first column is the reference. The operations of the last two do not wait
for values that a GPU computes.
"""

import contextlib
import contextvars

import tensorflow as tf

from kdwsd.modeling import roi_maxima
from kdwsd.modeling import roi_sampling

SIDE = 7
NAMES = ("crop_and_resize", "max")

# Where a graph will run: anywhere; on a CPU or a GPU, operation by operation;
# or compiled by XLA.
_ANYWHERE, _CPU, _GPU, _XLA = "anywhere", "CPU", "GPU", "XLA"

# One of them, or None for the place that TensorFlow is going to choose.
_place = contextvars.ContextVar("place", default=None)


def compilable():
  """Context in which `pool` builds only operations that XLA compiles.

  Enter it in the function that is traced: it holds for the thread that enters
  it, and a distribution strategy traces each replica in a thread of its own.
  """
  return _placed(_XLA)


def portable():
  """Context in which `pool` computes by ops that every device has.

  For graphs that move, and for training on a CPU whose ops are deterministic
  (`tf.config.experimental.enable_op_determinism`): there, and only there, the
  op's own gradient of `crop_and_resize` is right on a CPU, and the fastest.
  Holds for the thread that enters it.
  """
  return _placed(_ANYWHERE)


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
  place = _place_of(features)
  on_accelerator = place in (_GPU, _XLA)
  dtype = features.dtype if on_accelerator else tf.float32
  rois = tf.where(factor[..., tf.newaxis] == 0, 0.0, rois)
  if kind == "max":
    pooled = roi_maxima.max_pool(
        features, rois, SIDE, image_size=image_size, stride=stride,
        dtype=dtype, bounded=on_accelerator,
        integers=tf.int64 if place == _GPU else tf.int32)
  elif place == _XLA:
    pooled = roi_sampling.by_gathers(features, rois, SIDE)
  elif place == _CPU:
    pooled = roi_sampling.by_op_and_products(features, rois, SIDE)
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


@contextlib.contextmanager
def _placed(place):
  token = _place.set(place)
  try:
    yield
  finally:
    _place.reset(token)


def _place_of(features):
  """Where pooling will run.

  Unless a context says so: where the features are placed or, if that is left
  to TensorFlow, on the accelerator that the process has.
  """
  place = _place.get()
  if place:
    return place
  kinds = {tf.DeviceSpec.from_string(features.device).device_type or ""}
  if kinds == {""}:
    kinds = {device.device_type for device in tf.config.list_logical_devices()}
  if any(kind.startswith("TPU") for kind in kinds):
    return _XLA
  return _GPU if "GPU" in kinds else _CPU
