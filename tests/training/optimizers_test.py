"""Tests of kdwsd.training.optimizers."""

import json
import os

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import wsddn
from kdwsd.training import optimizers
from kdwsd.training import schedules
from tests.training import caffe_sgd
from tests.training import numpy_adam
from tests.training import optimizer_run

_NAMES_AND_SHAPES = (
    ("vgg/conv1_1/kernel", (3, 3, 2, 4)),
    ("vgg/conv1_1/bias", (4,)),
    ("net/bn/gamma", (4,)),
    ("net/bn/beta", (4,)),
    ("net/fc8_c/kernel", (5, 3)),
    ("net/fc8_c/bias", (3,)),
    ("net/fc8_d/kernel", (5, 3)),
    ("net/fc8/bias", (3,)),
)
_MULTIPLIERS = ((1, 1), (2, 0), (1, 0), (1, 0), (10, 10), (20, 0), (10, 10),
                (20, 0))


def _variables(dtype="float32", seed=0):
  random = np.random.RandomState(seed)
  return [tf.Variable(random.normal(size=shape), name=name, dtype=dtype)
          for name, shape in _NAMES_AND_SHAPES]


def _gradients(weights, random):
  """Of a noisy quadratic: they depend on the weights, so errors add up."""
  return [0.3 * np.asarray(w) + random.normal(size=np.shape(w))
          for w in weights]


class OptimizersTest(tf.test.TestCase, parameterized.TestCase):

  def _assert_same_path(self, optimizer, reference, variables, tolerance):
    """100 steps; the first at which two variables differ is named."""
    random = np.random.RandomState(1)
    optimizer.build(variables)
    apply = tf.function(
        lambda gradients: optimizer.apply_gradients(zip(gradients, variables)))
    rates = [np.float64(np.float32(r)) for r in (0.01, 0.001, 0.0001)]
    for step in range(100):
      gradients = _gradients(reference.data, random)
      apply([tf.constant(g, v.dtype) for g, v in zip(gradients, variables)])
      reference.apply_update(rates[(step >= 40) + (step >= 70)], gradients)
      for variable, expected in zip(variables, reference.data):
        difference = np.max(np.abs(variable.numpy() - expected))
        self.assertLess(
            difference, tolerance * max(1.0, np.max(np.abs(expected))),
            f"{variable.name} first differs after step {step}, by "
            f"{difference}")

  @parameterized.product(
      dtype_and_tolerance=[("float64", 1e-12), ("float32", 2e-5)],
      clip=[None, 3.0], momentum=[0.0, 0.9])
  def test_sgd_is_caffes_over_100_steps(
      self, dtype_and_tolerance, clip, momentum):
    dtype, tolerance = dtype_and_tolerance
    variables = _variables(dtype)
    optimizer = optimizer_run.make(
        "sgd", schedules.make("step", base_rate=0.01, boundaries=(40, 70)),
        momentum=momentum, clip_norm=clip)
    reference = caffe_sgd.CaffeSGD(
        [v.numpy() for v in variables], _MULTIPLIERS, momentum=momentum,
        weight_decay=0.02, clip_gradients=clip or -1.0)
    self._assert_same_path(optimizer, reference, variables, tolerance)

  @parameterized.product(
      dtype_and_tolerance=[("float64", 1e-9), ("float32", 2e-4)],
      name=["adam", "adamw"])
  def test_adam_is_numpys_over_100_steps(self, dtype_and_tolerance, name):
    dtype, tolerance = dtype_and_tolerance
    variables = _variables(dtype)
    optimizer = optimizer_run.make(
        name, schedules.make("step", base_rate=0.01, boundaries=(40, 70)),
        clip_norm=None)
    reference = numpy_adam.Adam(
        [v.numpy() for v in variables], _MULTIPLIERS, 0.02,
        coupled=name == "adam")
    self._assert_same_path(optimizer, reference, variables, tolerance)

  def test_adamw_is_keras_adamw_where_there_are_no_multipliers(self):
    ours, theirs = [[tf.Variable([0.5, -1.0], name="net/conv/kernel"),
                     tf.Variable([[2.0]], name="net/fc8_c/bias")]
                    for _ in range(2)]
    optimizer = optimizer_run.make(
        "adamw", 0.01, multipliers=_ones, clip_norm=2.0)
    optimizer.epsilon = 1e-14  # Keras adds it elsewhere: make it vanish.
    keras = tf.keras.optimizers.AdamW(
        0.01, weight_decay=0.02, epsilon=1e-14, global_clipnorm=2.0)
    random = np.random.RandomState(2)
    for _ in range(10):
      gradients = [tf.constant(g, tf.float32) for g in _gradients(
          [v.numpy() for v in ours], random)]
      optimizer.apply_gradients(zip(gradients, ours))
      keras.apply_gradients(zip(gradients, theirs))
    for mine, other in zip(ours, theirs):
      self.assertAllClose(mine, other, rtol=1e-5, atol=1e-6)

  def test_one_step_by_hand(self):
    weight = tf.Variable([2.0], name="net/fc8_c/kernel")
    optimizer = optimizer_run.make("sgd", 0.1, weight_decay=0.01, momentum=0.5,
                      clip_norm=None)
    optimizer.apply_gradients([(tf.constant([3.0]), weight)])
    # decay 0.01 * 10 * 2 = 0.2; velocity 0.1 * 10 * (3 + 0.2) = 3.2
    self.assertAllClose(weight, [2.0 - 3.2])
    optimizer.apply_gradients([(tf.constant([0.0]), weight)])
    # decay 0.1 * -1.2; velocity 0.5 * 3.2 + 1 * -0.12 = 1.48
    self.assertAllClose(weight, [-1.2 - 1.48])

  def test_decay_is_not_clipped_and_not_applied_twice(self):
    weight = tf.Variable([100.0], name="net/conv/kernel")
    optimizer = optimizer_run.make("sgd", 0.1, weight_decay=0.5, clip_norm=1.0)
    optimizer.apply_gradients([(tf.constant([7.0]), weight)])
    # gradient clipped to 1, decay 50 added after: 0.1 * (1 + 50)
    self.assertAllClose(weight, [100.0 - 5.1])

  @parameterized.parameters(*optimizers.NAMES)
  def test_average_of_weights_follows_the_step(self, name):
    weight = tf.Variable([2.0], name="net/conv/kernel")
    optimizer = optimizer_run.make(name, 0.1, use_ema=True, ema_momentum=0.75)
    optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    after = weight.numpy()
    optimizer.finalize_variable_values([weight])
    self.assertAllClose(weight, 0.75 * 2.0 + 0.25 * after)


  def test_averages_stand_in_for_the_weights_and_step_back(self):
    variable = tf.Variable([1.0, 2.0], name="layer/kernel")
    optimizer = optimizers.make(
        "sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
        use_ema=True, ema_momentum=0.75)
    optimizer.build([variable])
    weights, average = np.float64([1, 2]), np.float64([1, 2])
    for _ in range(3):
      optimizer.apply_gradients([(tf.constant([1.0, -1.0]), variable)])
      weights -= 0.1 * np.float64([1, -1])
      average = 0.75 * average + 0.25 * weights
    for outer in (optimizer,
                  tf.keras.mixed_precision.LossScaleOptimizer(optimizer)):
      with optimizers.averaged(outer, [variable]):
        self.assertAllClose(variable, average)
      self.assertAllClose(variable, weights)
    plain = optimizers.make("sgd", learning_rate=0.1)
    plain.build([variable])
    with optimizers.averaged(plain, [variable]):
      self.assertAllClose(variable, weights)

  @parameterized.parameters(*optimizers.NAMES)
  def test_sparse_gradient_is_the_dense_one(self, name):
    dense, sparse = [tf.Variable(tf.ones([4, 2]), name="net/table/kernel")
                     for _ in range(2)]
    slices = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        tf.constant([2, 0, 2]), tf.constant([4, 2]))
    for variable, gradient in (
        (dense, tf.convert_to_tensor(slices)), (sparse, slices)):
      optimizer = optimizer_run.make(name, clip_norm=None)
      for _ in range(3):
        optimizer.apply_gradients([(gradient, variable)])
    self.assertAllClose(dense, sparse)

  @parameterized.parameters(*zip(_NAMES_AND_SHAPES, _MULTIPLIERS))
  def test_caffe_multipliers(self, name_and_shape, expected):
    self.assertEqual(
        optimizers.caffe_multipliers(name_and_shape[0]), expected)

  def test_caffe_multipliers_find_the_layers_of_the_model(self):
    # A layer or a variable of another name would lose its multipliers.
    model = wsddn.build(wsddn.WSDDNConfig(
        num_classes=2, backbone="small", fc_units=4, refinement_branches=2))
    found = [optimizers.caffe_multipliers(v.name[:-len(":0")])
             for v in model.trainable_variables]
    counts = {pair: found.count(pair) for pair in set(found)}
    layers = len(found) // 2 - 4
    self.assertEqual(counts, {(1, 1): layers, (2, 0): layers,
                              (10, 10): 4, (20, 0): 4})

  def test_plain_multipliers(self):
    for (name, _), (_, decay) in zip(_NAMES_AND_SHAPES, _MULTIPLIERS):
      self.assertEqual(
          optimizers.plain_multipliers(name), (1.0, min(decay, 1.0)))

  @parameterized.parameters(*optimizers.NAMES)
  def test_variable_without_layer_is_refused(self, name):
    weight = tf.Variable([1.0], name="kernel")
    with self.assertRaisesRegex(ValueError, "LAYER/KIND.*'kernel'"):
      optimizer_run.make(name).apply_gradients([(tf.constant([1.0]), weight)])

  @parameterized.parameters(optimizers.CaffeSGD, optimizers.Adam)
  def test_keras_own_decay_is_refused(self, which):
    with self.assertRaisesRegex(ValueError, "decay twice"):
      which(0.1, weight_decay=0.1)

  @parameterized.parameters(
      ("rmsprop", {}, "sgd, adam, adamw"),
      ("sgd", {"weight_decay": -1.0}, "--weight_decay"),
      ("sgd", {"clip_norm": float("nan")}, "--clip_norm"),
      ("adam", {"momentum": 1.0}, "--momentum"))
  def test_bad_settings_are_named(self, name, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      optimizer_run.make(name, **settings)

  @parameterized.product(name=optimizers.NAMES, wrapped=[False, True])
  def test_config_makes_the_same_optimizer(self, name, wrapped):
    optimizer = optimizer_run.make(name, schedules.make(
        "cosine", base_rate=0.1, total_steps=10, warmup_steps=2))
    if wrapped:
      optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    config = optimizer.get_config()
    again = type(optimizer).from_config(json.loads(json.dumps(config)))
    self.assertEqual(again.get_config(), config)
    first, second = _variables(), _variables()
    gradients = [tf.ones_like(v) for v in first]
    optimizer.apply_gradients(zip(gradients, first))
    again.apply_gradients(zip(gradients, second))
    for one, other in zip(first, second):
      self.assertAllEqual(one, other)


class TrainingTest(tf.test.TestCase, parameterized.TestCase):
  """On a small model, in the ways the loop may run it."""

  def tearDown(self):
    super().tearDown()
    tf.keras.mixed_precision.set_global_policy("float32")

  @parameterized.parameters("sgd", "adamw")
  def test_two_replicas_are_one(self, name):
    one, two = optimizer_run.Run(1, name), optimizer_run.Run(2, name)
    one.train(4)
    two.train(4)
    for before, after in zip(one.weights(), two.weights()):
      self.assertAllClose(before, after, rtol=1e-5, atol=1e-6)
    for variable in two.model.trainable_variables:
      self.assertAllEqual(*[v.numpy() for v in variable.values])
    # And a checkpoint of two goes on with one.
    one.train(2)
    one.checkpoint.read(two.checkpoint.write(
        os.path.join(self.get_temp_dir(), name))).assert_consumed()
    one.train(4)
    two.train(4)
    for before, after in zip(one.weights(), two.weights()):
      self.assertAllClose(before, after, rtol=1e-5, atol=1e-6)

  @parameterized.product(
      name=optimizers.NAMES, replicas=[1, 2], loss_scaling=[False, True],
      select=[False, True])
  def test_update_is_that_of_keras_bit_for_bit(
      self, name, replicas, loss_scaling, select):
    if select and not loss_scaling:
      self.skipTest("nothing to select")
    options = {"loss_scaling": loss_scaling, "use_ema": True,
               "ema_momentum": 0.5}
    keras = optimizer_run.Run(replicas, name, by_keras=True, **options)
    ours = optimizer_run.Run(replicas, name, select=select, **options)
    for poison in (0.0, np.inf, 0.0) if loss_scaling else (0.0,):
      keras.train(2, poison)
      ours.train(2, poison)
    for expected, found in zip(
        [*keras.weights(), *keras.optimizer.variables],
        [*ours.weights(), *ours.optimizer.variables]):
      self.assertAllEqual(found, expected)
    if loss_scaling:
      self.assertEqual(ours.optimizer.loss_scale.current_loss_scale.numpy(),
                       keras.optimizer.loss_scale.numpy())
      # And a checkpoint with Keras's loss scale goes on with ours.
      ours.checkpoint.read(keras.checkpoint.write(os.path.join(
          self.get_temp_dir(), name))).assert_consumed()

  @parameterized.parameters(("sgd", 2), ("adam", 1))
  def test_loss_scaling_changes_nothing_and_overflow_no_state(
      self, name, replicas):
    plain = optimizer_run.Run(replicas, name)
    scaled = optimizer_run.Run(replicas, name, loss_scaling=True)
    plain.train(4)
    scaled.train(4)
    # The scale is a power of two: not a bit may differ.
    for before, after in zip(plain.weights(), scaled.weights()):
      self.assertAllEqual(before, after)
    state = [v.numpy() for v in scaled.optimizer.variables]
    scaled.train(1, poison=np.inf)  # In the first replica only.
    for before, after in zip(plain.weights(), scaled.weights()):
      self.assertAllEqual(before, after)
    for before, after in zip(state[1:], scaled.optimizer.variables[1:]):
      self.assertAllEqual(before, after.numpy())
    self.assertEqual(scaled.optimizer.iterations.numpy(), 5)
    self.assertEqual(
        scaled.optimizer.loss_scale.current_loss_scale.numpy(), 2.0 ** 14)

  @parameterized.parameters(
      ("sgd", "mixed_float16"), ("adamw", "mixed_bfloat16"))
  def test_mixed_precision_keeps_float32_state(self, name, policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    run = optimizer_run.Run(1, name, loss_scaling=policy == "mixed_float16")
    start = run.weights()
    run.train(3)
    for old, new in zip(start, run.weights()):
      self.assertEqual(new.dtype, np.float32)
      self.assertTrue(np.all(np.isfinite(new)))
      self.assertNotAllEqual(old, new)

  @parameterized.parameters(
      ("sgd", 1, False, False), ("sgd", 2, True, True),
      ("adamw", 2, False, True))
  def test_restored_run_goes_on_bit_for_bit(
      self, name, replicas, loss_scaling, built):
    undisturbed = optimizer_run.Run(replicas, name, loss_scaling)
    undisturbed.train(4)
    undisturbed.schedule.update(0.5)
    undisturbed.schedule.update(0.5)
    path = undisturbed.checkpoint.write(
        os.path.join(self.get_temp_dir(), name))
    undisturbed.train(2)
    self.assertTrue(undisturbed.schedule.update(0.4))
    undisturbed.train(2)

    resumed = optimizer_run.Run(replicas, name, loss_scaling, seed=5)
    if built:  # The loop may restore after or before it builds.
      with resumed.strategy.scope():
        resumed.optimizer.build(resumed.model.trainable_variables)
    status = resumed.checkpoint.read(path)
    resumed.train(2)
    self.assertTrue(resumed.schedule.update(0.4))
    resumed.train(2)
    status.assert_consumed()
    for expected, weight in zip(undisturbed.weights(), resumed.weights()):
      self.assertAllEqual(expected, weight)
    for expected, state in zip(undisturbed.optimizer.variables,
                               resumed.optimizer.variables):
      self.assertAllEqual(expected.numpy(), state.numpy())

  @parameterized.parameters("sgd", "adam")
  def test_build_outside_of_the_scope_is_refused(self, name):
    run = optimizer_run.Run(2, name)
    with self.assertRaisesRegex(ValueError, "MirroredStrategy"):
      run.optimizer.build(run.model.trainable_variables)


def _ones(variable_name):
  del variable_name
  return 1.0, 1.0


if __name__ == "__main__":
  tf.test.main()
