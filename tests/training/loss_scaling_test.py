"""Tests of kdwsd.training.loss_scaling; Keras's scale is the reference."""

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import loss_scaling

_START = 2.0 ** 15


@pytest.mark.parametrize("start", [4.0, 2.0 ** 127])
def test_scale_is_that_of_keras_after_any_steps(start):
  keras = tf.keras.mixed_precision.LossScaleOptimizer(
      tf.keras.optimizers.SGD(1.0), initial_scale=start,
      dynamic_growth_steps=3)
  weight = tf.Variable(0.0)
  ours = loss_scaling.LossScale(start, growth_steps=3)
  update = tf.function(ours.update)
  random = np.random.default_rng(0)
  scales = set()
  for finite in [*(random.uniform(size=60) < 0.75), *[True] * 30]:
    gradient = tf.constant(1.0 if finite else np.inf)
    keras.apply_gradients([(gradient, weight)])
    update(tf.constant(bool(finite)))
    assert ours.current_loss_scale.numpy() == keras.loss_scale.numpy()
    assert ours.good_steps.numpy() == keras.dynamic_counter.numpy()
    scales.add(float(ours.current_loss_scale.numpy()))
  assert len(scales) > 3


def test_loss_and_gradients_are_scaled_and_unscaled():
  scale = loss_scaling.LossScale()
  assert scale.scale(tf.constant(3.0)).numpy() == 3 * _START
  unscaled, = scale.unscale([tf.constant([_START, 1.0])])
  np.testing.assert_array_equal(unscaled, [1.0, 1 / _START])


def test_run_that_skips_everything_ends():
  skipped = loss_scaling.SkippedSteps()
  assert skipped.figures(1, 4, 0.75, _START) == {
      "skipped_steps": 1, "loss_scale": _START}
  for last in (9, 14, 19):
    assert skipped.figures(last - 4, last, 0.0, 1.0)["skipped_steps"] == 5
  with pytest.raises(errors.InputError, match=(
      "^steps 5 to 24: expected gradients that float16")):
    skipped.figures(20, 24, 0.0, 1.0)
  # One step that is taken, and the count begins anew.
  assert skipped.figures(25, 26, 0.5, 1.0) == {
      "skipped_steps": 1, "loss_scale": 1.0}
  for step in range(27, 46):
    assert skipped.figures(step, step, 0.0, 1.0)["skipped_steps"] == 1
  with pytest.raises(errors.InputError, match="all of which were skipped"):
    skipped.figures(46, 46, 0.0, 1.0)


def test_run_whose_scale_can_still_fall_goes_on():
  skipped = loss_scaling.SkippedSteps()
  assert skipped.figures(1, 30, 0.0, 2.0)["skipped_steps"] == 30
