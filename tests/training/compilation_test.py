"""Steps that XLA compiles: the same weights, on the CPU here, as without."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import roi_sampling
from kdwsd.training import compilation
from kdwsd.training import strategies
from tests import environment
from tests.training import fake_steps


@pytest.fixture(autouse=True, name="float32")
def fixture_float32():
  yield
  tf.keras.mixed_precision.set_global_policy("float32")


def _make(stage, policy="float32", **options):
  tf.keras.mixed_precision.set_global_policy(policy)
  return fake_steps.make(stage, policy=policy, **options)


def _assert_close(found, expected, rtol=1e-4, atol=1e-5):
  assert len(found) == len(expected)
  for one, other in zip(found, expected):
    np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("stage", [
    "wsd", pytest.param("wsd_max", marks=pytest.mark.one_lane),
    "kd_prediction",
    *(pytest.param(stage, marks=pytest.mark.slow)
      for stage in ("cls", "kd_feature", "wsd_refined"))])
def test_compiled_step_of_every_stage_equals_the_uncompiled(stage):
  plain, compiled = _make(stage), _make(stage, jit_compile="on")
  start = plain.weights()
  expected, found = plain.train(4), compiled.train(4)
  _assert_close(compiled.weights(), plain.weights())
  for name in ("loss", "gradient_norm", "learning_rate"):
    assert found[name] == pytest.approx(expected[name], rel=1e-4)
  assert any(np.abs(now - then).max() > 1e-4
             for now, then in zip(compiled.weights(), start))
  _assert_close(compiled.state(), plain.state())


@pytest.mark.parametrize("deterministic, on_gpus, expected", [
    (False, False, "by_op_and_products"), (True, False, "by_op"),
    (True, True, "by_gathers")])
def test_a_step_pools_so_that_no_gradient_is_lost_and_all_repeat(
    monkeypatch, deterministic, on_gpus, expected):
  taken = set()

  def watch(name):
    pool = getattr(roi_sampling, name)
    monkeypatch.setattr(roi_sampling, name, lambda *arguments: (
        taken.add(name), pool(*arguments))[1])

  for name in ("by_op", "by_op_and_products", "by_gathers"):
    watch(name)
  monkeypatch.setattr(strategies, "on_gpus", lambda strategy: on_gpus)
  run = _make("wsd", deterministic=deterministic)
  taken.clear()  # Of the model's first call, without a gradient.
  run.train(1)
  assert taken == {expected}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_compiled_update_of_other_optimizers_equals_the_uncompiled(optimizer):
  plain = _make("cls", optimizer=optimizer)
  compiled = _make("cls", optimizer=optimizer, jit_compile="on")
  plain.train(4)
  compiled.train(4)
  # Adam divides gradients near 0 by themselves.
  _assert_close(compiled.state(), plain.state(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("jit_compile", ["off", "on"])
def test_overflow_is_skipped_and_the_scale_adapts(jit_compile):
  run = _make("cls", "mixed_float16", jit_compile=jit_compile, poisoned=(1, 2),
              growth_steps=3)
  run.train(1)
  before = run.state()
  figures = run.train(2)
  assert (figures["skipped_steps"], figures["loss_scale"]) == (2, 2.0 ** 13)
  assert np.isnan(figures["gradient_norm"])
  after = run.state()
  count = len(run.variables)
  for number, (now, then) in enumerate(zip(after[:-2], before)):
    if number == count:  # The iterations.
      assert (now, then) == (3, 1)
    else:
      np.testing.assert_array_equal(now, then)
  figures = run.train(3)
  assert (figures["skipped_steps"], figures["loss_scale"]) == (0, 2.0 ** 14)
  assert np.isfinite(figures["loss"])
  assert any((now != then).any() for now, then in zip(
      run.weights(), before))


@pytest.mark.slow
@pytest.mark.parametrize("policy, tolerance", [
    ("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)])
def test_compiled_step_in_16_bits_equals_the_uncompiled(policy, tolerance):
  plain = _make("wsd", policy)
  compiled = _make("wsd", policy, jit_compile="on")
  expected, found = plain.train(3), compiled.train(3)
  # XLA keeps float32 between operations that it fuses.
  _assert_close(compiled.weights(), plain.weights(), tolerance, tolerance)
  assert found["loss"] == pytest.approx(expected["loss"], rel=tolerance)
  for variable in compiled.variables:
    assert variable.dtype == tf.float32


@pytest.mark.one_lane
@pytest.mark.parametrize("stage, policy", [
    ("cls", "float32"),
    pytest.param("wsd", "float32", marks=pytest.mark.slow),
    pytest.param("wsd_refined", "float32", marks=pytest.mark.slow),
    pytest.param("cls", "mixed_float16", marks=pytest.mark.slow)])
def test_two_compiled_replicas_are_one(stage, policy):
  one = _make(stage, policy, jit_compile="on", clip_norm=0.05)
  two = _make(stage, policy, jit_compile="on", clip_norm=0.05,
              strategy=environment.two_replicas())
  alone, together = one.train(3), two.train(3)
  tolerance = 1e-4 if policy == "float32" else 2e-3
  _assert_close(two.weights(), one.weights(), tolerance, 1e-5)
  for name in ("loss", "gradient_norm"):
    assert together[name] == pytest.approx(alone[name], rel=tolerance)
  for variable in two.variables:
    np.testing.assert_array_equal(*[v.numpy() for v in variable.values])


@pytest.mark.parametrize("stage, policy, jit_compile", [
    pytest.param("wsd", "float32", "on", marks=pytest.mark.slow),
    pytest.param("wsd_refined", "mixed_float16", "off",
                 marks=pytest.mark.slow),
    ("cls", "mixed_float16", "on"),
    ("cls", "mixed_float16", "off")])
def test_resumed_run_is_bit_equal(tmp_path, stage, policy, jit_compile):
  options = dict(policy=policy, optimizer="adamw", jit_compile=jit_compile)
  whole = _make(stage, **options)
  whole.train(2)
  path = whole.checkpoint.write(str(tmp_path / "ckpt"))
  whole.train(2)
  resumed = _make(stage, start_step=2, **options)
  resumed.checkpoint.read(path).assert_consumed()
  resumed.train(2)
  for one, other in zip(resumed.state(), whole.state()):
    np.testing.assert_array_equal(one, other)


def _lines(caplog):
  return [record.getMessage() for record in caplog.records
          if record.pathname.endswith(("inner_loop.py", "compilation.py"))]


@pytest.mark.one_lane
def test_every_side_is_compiled_once_and_told(caplog):
  caplog.set_level(logging.INFO, logger="absl")
  logging.getLogger("absl").propagate = True
  sides = (32, 48)
  run = _make("wsd", jit_compile="on", sides=sides,
              side=lambda step: sides[step % 2])
  run.train(6)
  assert _lines(caplog) == [
      "Compiling the step for images of 32 pixels.",
      "Compiling the step for images of 48 pixels."]
  assert run.trainer._run.experimental_get_tracing_count() == 1
  plain = _make("wsd", sides=sides)
  plain.train(6)
  _assert_close(run.weights(), plain.weights())


def _with_python(jit_compile):
  """A run whose step calls Python, which XLA cannot."""
  run = _make("cls", jit_compile=jit_compile)
  inside = run.trainer._step

  def step(batch, seeds):
    losses = inside(batch, seeds)
    one = tf.numpy_function(lambda: np.float32(1), [], tf.float32)
    return {**losses, "loss": losses["loss"] + one}
  run.trainer._step = step
  return run


def test_what_xla_refuses_is_an_error_that_names_the_setting():
  with pytest.raises(errors.InputError, match=(
      "^--jit_compile=on: expected a step that XLA can compile. Received: "
      "PyFunc .*Use auto or off.$")):
    _with_python("on").train(2)


@pytest.mark.parametrize("error, refused", [
    (tf.errors.InternalError, "libdevice not found at ./libdevice.10.bc"),
    (tf.errors.InvalidArgumentError, "Size must be a compile-time constant for "
     "XLA"),
    (tf.errors.UnimplementedError, "GPU MaxPool gradient ops do not yet have a "
     "deterministic XLA implementation"),
    (tf.errors.InvalidArgumentError, None),
    (tf.errors.ResourceExhaustedError, None)])
def test_other_errors_are_no_refusals(error, refused):
  found = compilation.refusal(error(
      None, None, f"Graph execution error:\n\n{refused or 'no such shape'}"))
  assert found == refused


def test_what_xla_refuses_is_not_compiled_under_auto(caplog):
  caplog.set_level(logging.INFO, logger="absl")
  logging.getLogger("absl").propagate = True
  run, plain = _with_python("auto"), _with_python("off")
  run.train(3)
  plain.train(3)
  for one, other in zip(run.state(), plain.state()):
    np.testing.assert_array_equal(one, other)
  assert run.trainer._global_step.numpy() == 3
  first, second = _lines(caplog)
  assert first == "Compiling the step."
  assert second.startswith("Compilation by XLA: off, because it refuses: ")


class _OnGpu:
  """Stands in for a strategy of a GPU."""

  class extended:  # pylint: disable=invalid-name
    worker_devices = ("/job:localhost/replica:0/task:0/device:GPU:0",)


def test_auto_is_on_where_a_gpu_trains(caplog):
  caplog.set_level(logging.INFO, logger="absl")
  logging.getLogger("absl").propagate = True
  assert compilation.choose("auto", _OnGpu()) == "auto"
  assert compilation.choose("off", _OnGpu()) == "off"
  on_cpu = tf.distribute.OneDeviceStrategy("CPU:0")
  assert compilation.choose("auto", on_cpu) == "off"
  assert compilation.choose("on", on_cpu) == "on"
  assert compilation.choose("auto", tf.distribute.get_strategy()) == "off"
  assert _lines(caplog) == [
      "Compilation by XLA: on, because GPUs train.",
      "Compilation by XLA: off, by --jit_compile.",
      "Compilation by XLA: off, because no GPU trains.",
      "Compilation by XLA: on, by --jit_compile.",
      "Compilation by XLA: off, because no GPU trains."]


def test_compiled_step_is_one_operation_and_its_arguments():
  run = _make("wsd", jit_compile="on", optimizer="adamw")
  run.train(1)
  graph = run.trainer._run.get_concrete_function().graph
  types = [operation.type for operation in graph.get_operations()]
  assert sum("Call" in one for one in types) == 1
  others = {"Placeholder", "Identity", "NoOp", "Const", "AssignAddVariableOp",
            "ReadVariableOp", "StatefulPartitionedCall", "PartitionedCall"}
  assert set(types) <= others
  assert len([one for one in types if one != "Placeholder"]) < 30
