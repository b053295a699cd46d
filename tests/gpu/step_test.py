"""A training step on the device: compiled or not, in 16 bits, resumed."""

import os

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.gpu import case
from tests.training import fake_steps

# Largest difference of weights, relative and absolute: 16 bits round each
# product, and XLA keeps float32 between operations that it fuses.
_TOLERANCES = {"float32": 1e-4, "mixed_float16": 4e-3, "mixed_bfloat16": 3e-2}


def _mirrored():
  return tf.distribute.MirroredStrategy([case.gpu()])


class StepTest(case.GpuTestCase):

  def _make(self, stage, policy="float32", **options):
    tf.keras.mixed_precision.set_global_policy(policy)
    return fake_steps.make(stage, policy=policy, strategy=_mirrored(),
                           **options)

  def _assert_close(self, found, expected, tolerance):
    self.assertEqual(len(found), len(expected))
    for one, other in zip(found, expected):
      self.assertTrue(np.all(np.isfinite(one)))
      self.assertAllClose(one, other, rtol=tolerance, atol=tolerance)

  # On a GPU each takes seconds to compile.
  @parameterized.parameters(
      *((stage, "mixed_float16") for stage in fake_steps.STAGES),
      ("wsd", "float32"), ("wsd", "mixed_bfloat16"))
  def test_compiled_step_equals_the_uncompiled(self, stage, policy):
    plain = self._make(stage, policy)
    compiled = self._make(stage, policy, jit_compile="on")
    expected, found = plain.train(2), compiled.train(2)
    self._assert_close(
        compiled.weights(), plain.weights(), _TOLERANCES[policy])
    self.assertAllClose(
        found["loss"], expected["loss"], rtol=_TOLERANCES[policy])
    for variable in compiled.variables:
      self.assertEndsWith(variable.values[0].device, case.gpu())

  @parameterized.parameters("off", "on")
  def test_step_equals_that_of_the_cpu(self, jit_compile):
    expected = fake_steps.make(
        "wsd", strategy=tf.distribute.OneDeviceStrategy(case.CPU))
    expected.train(2)
    found = self._make("wsd", jit_compile=jit_compile)
    found.train(2)
    self._assert_close(found.weights(), expected.weights(), 1e-3)

  @parameterized.parameters("off", "on")
  def test_overflow_is_skipped(self, jit_compile):
    run = self._make("cls", "mixed_float16", jit_compile=jit_compile,
                     poisoned=(1,))
    run.train(1)
    before = run.weights()
    figures = run.train(1)
    self.assertEqual(figures["skipped_steps"], 1)
    self.assertEqual(figures["loss_scale"], 2.0 ** 14)
    for now, then in zip(run.weights(), before):
      self.assertAllEqual(now, then)
    self.assertEqual(run.train(2)["skipped_steps"], 0)

  @parameterized.parameters("off", "on")
  def test_resumed_run_equals_the_whole_one(self, jit_compile):
    options = {"policy": "mixed_float16", "optimizer": "adamw",
               "jit_compile": jit_compile}
    whole = self._make("wsd", **options)
    whole.train(2)
    path = whole.checkpoint.write(os.path.join(self.get_temp_dir(), "ckpt"))
    whole.train(2)
    resumed = self._make("wsd", start_step=2, **options)
    resumed.checkpoint.read(path).assert_consumed()
    resumed.train(2)
    # Gradients are added up in random order, and Adam divides small ones by
    # themselves.
    self._assert_close(resumed.weights(), whole.weights(), 2e-3)

  def test_two_sides_are_compiled_without_refusal(self):
    run = self._make("wsd", jit_compile="auto", sides=(32, 48),
                     side=lambda step: (32, 48)[step % 2])
    run.train(4)
    self.assertEqual(run.trainer._jit_compile, "auto")  # Not "off".


if __name__ == "__main__":
  tf.test.main()
