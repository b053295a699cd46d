"""Tests of kdwsd.training.schedules."""

import math
import os

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import schedules


def _reference(kind, step):
  """float64; base rate 0.1, 20 steps, 4 of warm-up, boundaries 7 and 12."""
  rate = 0.1
  if kind == "step":
    for boundary in (7, 12):
      if step >= boundary:
        rate *= 0.3
  if kind == "cosine":
    rate *= 0.5 * (1 + math.cos(math.pi * min(max(step - 4, 0) / 16, 1)))
  return rate * min((step + 1) / 4, 1)


def _make(kind, **kwargs):
  return schedules.make(kind, **{
      "base_rate": 0.1, "total_steps": 20, "warmup_steps": 4,
      "boundaries": (7, 12), "factor": 0.3, **kwargs})


class SchedulesTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(*schedules.KINDS)
  def test_matches_reference_at_every_step(self, kind):
    schedule = tf.function(_make(kind))
    for step in range(25):
      rate = schedule(tf.constant(step, tf.int64))
      self.assertEqual(rate.dtype, tf.float32)
      self.assertEqual(rate.shape, [])
      self.assertAllClose(
          rate, _reference(kind, step), rtol=1e-5, atol=1e-8,
          msg=f"{kind}, step {step}")

  @parameterized.parameters(*schedules.KINDS)
  def test_without_warm_up_the_first_step_has_the_base_rate(self, kind):
    self.assertAllClose(_make(kind, warmup_steps=0)(0), 0.1)

  def test_boundary_itself_has_the_new_rate(self):
    schedule = _make("step", warmup_steps=0, boundaries=(7,), factor=0.1)
    self.assertAllClose([schedule(6), schedule(7)], [0.1, 0.01])

  def test_boundaries_are_exact_in_long_runs(self):
    boundary = 2 ** 24 + 1  # the first integer that float32 cannot hold
    schedule = _make("step", warmup_steps=0, boundaries=(boundary,))
    self.assertAllClose(
        [schedule(boundary - 1), schedule(boundary)], [0.1, 0.03])

  @parameterized.parameters(*schedules.KINDS)
  def test_config_makes_the_same_schedule(self, kind):
    schedule = _make(kind)
    again = tf.keras.optimizers.schedules.deserialize(
        tf.keras.optimizers.schedules.serialize(schedule))
    self.assertIsInstance(again, type(schedule))
    self.assertEqual(again.get_config(), schedule.get_config())

  @parameterized.parameters(
      ("poly", {}, "constant, step, cosine, plateau"),
      ("constant", {"base_rate": 0.0}, "--learning_rate"),
      ("plateau", {"base_rate": float("nan")}, "--learning_rate"),
      ("constant", {"warmup_steps": -1}, "--warmup_steps"),
      ("step", {"factor": 0.0}, "--schedule_factor"),
      ("step", {"boundaries": ()}, "at least one step"),
      ("step", {"boundaries": (5, 5)}, r"rising.*\[5, 5\]"),
      ("step", {"boundaries": (0, 5)}, "positive"),
      ("cosine", {"total_steps": 4}, "--train_steps: expected more than the 4"),
      ("plateau", {"patience": 0}, "--plateau_patience"))
  def test_bad_settings_are_named(self, kind, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      _make(kind, **settings)


class PlateauTest(tf.test.TestCase, parameterized.TestCase):

  def test_drops_after_patience_evaluations_without_improvement(self):
    plateau = schedules.make("plateau", base_rate=1.0, patience=2)
    figures = [0.1, 0.2, 0.2, 0.3, 0.1, 0.3, 0.25, 0.29, 0.31]
    #          best best 1    best 1    drop 1     drop  best
    drops = [plateau.update(figure) for figure in figures]
    self.assertEqual(drops, [False] * 5 + [True, False, True, False])
    self.assertAllClose(plateau.scale, 0.01)
    self.assertAllClose(plateau(7), 0.01)

  def test_for_a_loss_lower_is_better(self):
    plateau = schedules.make(
        "plateau", base_rate=1.0, patience=1, higher_is_better=False)
    self.assertEqual(
        [plateau.update(loss) for loss in (3.0, 2.0, 2.5, 1.0)],
        [False, False, True, False])

  def test_same_figure_is_no_improvement(self):
    plateau = schedules.make("plateau", base_rate=1.0, patience=1)
    for figure in (0.1, 1 / 3, 0.7000000001):  # none is a float32
      self.assertFalse(plateau.update(figure))
      self.assertTrue(plateau.update(figure))

  def test_small_improvement_does_not_count(self):
    plateau = schedules.make(
        "plateau", base_rate=1.0, patience=1, min_improvement=0.01)
    self.assertEqual([plateau.update(f) for f in (0.5, 0.505, 0.52)],
                     [False, True, False])

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_figure_that_is_not_finite_is_no_improvement(self, figure):
    plateau = schedules.make("plateau", base_rate=1.0, patience=1)
    self.assertTrue(plateau.update(figure))
    self.assertFalse(plateau.update(0.1))

  def test_traced_function_sees_the_drop(self):
    plateau = schedules.make("plateau", base_rate=1.0, patience=1)
    traced = tf.function(plateau)
    self.assertAllClose(traced(tf.constant(3)), 1.0)
    plateau.update(np.nan)
    self.assertAllClose(traced(tf.constant(3)), 0.1)

  def test_drop_during_warm_up_scales_it(self):
    plateau = schedules.make(
        "plateau", base_rate=1.0, patience=1, warmup_steps=4)
    plateau.update(np.nan)
    self.assertAllClose(plateau(1), 0.05)

  def test_optimizers_checkpoint_holds_it(self):
    def optimizer_and_weight():
      plateau = schedules.make("plateau", base_rate=1.0, patience=2)
      optimizer = tf.keras.optimizers.SGD(plateau)
      optimizer.build([tf.Variable(1.0)])
      return plateau, tf.train.Checkpoint(optimizer=optimizer)

    before, saved = optimizer_and_weight()
    for figure in (0.5, 0.4, 0.4, 0.4):  # a drop, and one step to the next
      before.update(figure)
    after, restored = optimizer_and_weight()
    restored.read(saved.write(
        os.path.join(self.get_temp_dir(), "plateau"))).assert_consumed()
    self.assertAllClose(after(0), 0.1)
    self.assertTrue(after.update(0.45))


if __name__ == "__main__":
  tf.test.main()
