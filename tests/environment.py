"""What tests ask of the machine they run on."""

import itertools
import os

import pytest
import tensorflow as tf

NO_DATA = (
    "needs real data: set KDWSD_DATA to the folder that holds voc/, coco/ and "
    "weights/")

_strategies = itertools.count(1)


def real_data(*parts):
  """Path in KDWSD_DATA; skips the test, saying why, where it is not there."""
  root = os.environ.get("KDWSD_DATA")
  if not root:
    pytest.skip(NO_DATA)
  path = os.path.join(root, *parts)
  if not os.path.exists(path):
    pytest.skip(f"{NO_DATA}. Received: no {path}")
  return path


def two_replicas():
  """A `MirroredStrategy` of two logical CPU devices.

  `tests/conftest.py` makes them. A skip here means that TensorFlow was used
  before it could.
  """
  names = [device.name for device in tf.config.list_logical_devices("CPU")]
  if len(names) < 2:
    pytest.skip("needs two logical CPU devices, made before TensorFlow starts")

  class MirroredStrategy(tf.distribute.MirroredStrategy):
    # Of one process, two strategies count their reductions from the same number
    # and then miss each other's shapes; TensorFlow has this for its own tests.
    _collective_key_base = 1000 * next(_strategies)

  return MirroredStrategy(names[:2])
