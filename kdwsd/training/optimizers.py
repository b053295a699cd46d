"""SGD with Caffe's semantics, and Adam(W) with multipliers per variable.

Keras's optimizers do not fit: their `weight_decay` is decoupled
(w -= lr * wd * w), whereas Caffe adds L2 decay to the gradient, so that it
passes through momentum; and they have no multipliers per variable. Both classes
here leave Keras's `weight_decay` unset and apply the decay in `update_step`.

The base class clips (`global_clipnorm`) after it has summed the gradients of
all replicas and before `update_step` adds the decay: Caffe's order
(`SGDSolver::ApplyUpdate` in src/caffe/solvers/sgd_solver.cpp: clip, normalize,
regularize, compute update). Averages of weights (`use_ema`) follow the update.
"""

import contextlib
import math
import re

import tensorflow as tf

from kdwsd import errors
from kdwsd.training import replica_optimizer

NAMES = ("sgd", "adam", "adamw")

# Of the student; of the teacher: both streams and the refinement branches.
_LAST_LAYERS = re.compile(r"fc8(_c|_d|_r\d+)?")


@tf.keras.utils.register_keras_serializable(package="kdwsd")
def caffe_multipliers(variable_name):
  """Multipliers of the release's prototxts.

  Biases have a learning-rate multiplier of 2 and no decay. The last classifiers
  (fc8, fc8_c, fc8_d, fc8_r1, ...) have a learning-rate multiplier of 10, 20 for
  their biases, and a decay multiplier of 10. Scales and offsets of
  normalization do not decay.

  Args:
    variable_name: `.../LAYER/KIND`, as Keras names variables, without `:0`.

  Returns:
    (learning-rate multiplier, decay multiplier).

  Raises:
    ValueError: a name without a layer.
  """
  layer, kind = _layer_and_kind(variable_name)
  last = _LAST_LAYERS.fullmatch(layer)
  if kind == "bias":
    return (20.0, 0.0) if last else (2.0, 0.0)
  if kind in ("gamma", "beta"):
    return 1.0, 0.0
  return (10.0, 10.0) if last else (1.0, 1.0)


@tf.keras.utils.register_keras_serializable(package="kdwsd")
def plain_multipliers(variable_name):
  """The same learning rate for all; biases and normalization do not decay.

  The default for Adam, whose step does not depend on the scale of the gradient.
  The best public reimplementation of WSDDN also uses one learning rate.
  """
  _, kind = _layer_and_kind(variable_name)
  return 1.0, 0.0 if kind in ("bias", "gamma", "beta") else 1.0


def make(name, *, learning_rate, momentum=0.9, weight_decay=5e-4,
         clip_norm=None, multipliers=None, **kwargs):
  """Makes an optimizer.

  Args:
    name: one of `NAMES`: `sgd` is `CaffeSGD`; `adam` has coupled decay, as
      `torch.optim.Adam`; `adamw` decoupled.
    learning_rate: number or `LearningRateSchedule`.
    momentum: momentum of `sgd`, beta 1 of the others.
    weight_decay: weight decay before the decay multiplier.
    clip_norm: maximum norm of the gradients of all variables together; larger
      ones are scaled down. None or 0 is off.
    multipliers: function of a variable's name, see `caffe_multipliers`.
      Default: `caffe_multipliers` for `sgd`, else `plain_multipliers`.
    **kwargs: for the base class, such as `use_ema` and `ema_momentum`.

  Returns:
    A Keras optimizer. For float16, set its `loss_scale`.

  Raises:
    errors.InputError: a value out of range.
  """
  if name not in NAMES:
    raise errors.InputError(
        f"--optimizer: expected one of {', '.join(NAMES)}. Received: {name!r}.")
  for what, value in (("weight_decay", weight_decay),
                      ("clip_norm", clip_norm or 0.0)):
    if not (math.isfinite(value) and value >= 0):
      raise errors.InputError(
          f"--{what}: expected a number of at least 0. Received: {value}.")
  if not 0 <= momentum < 1:
    raise errors.InputError(
        "--momentum: expected a number from 0 up to, not including, 1. "
        f"Received: {momentum}.")
  common = dict(learning_rate=learning_rate, l2=weight_decay,
                global_clipnorm=clip_norm or None, **kwargs)
  if name == "sgd":
    return CaffeSGD(momentum=momentum,
                    multipliers=multipliers or caffe_multipliers, **common)
  return Adam(beta_1=momentum, coupled=name == "adam",
              multipliers=multipliers or plain_multipliers, **common)


def averages(optimizer):
  """Whether an optimizer from `make` averages weights."""
  return optimizer.use_ema


@contextlib.contextmanager
def averaged(optimizer, variables):
  """Replaces weights by their averages inside the block, if there are any.

  Args:
    optimizer: from `make`.
    variables: list of the trained variables.

  Yields:
    None. Afterwards the weights are restored.
  """
  if not averages(optimizer):
    yield
    return
  kept = [variable.numpy() for variable in variables]
  optimizer.finalize_variable_values(variables)
  try:
    yield
  finally:
    for variable, value in zip(variables, kept):
      variable.assign(value)


@tf.keras.utils.register_keras_serializable(package="kdwsd")
class CaffeSGD(replica_optimizer.ReplicaOptimizer):
  """SGD with momentum as in Caffe.

      g        = gradient, clipped
      velocity = momentum * velocity
                 + lr * lr_multiplier * (g + l2 * decay_multiplier * w)
      w        = w - velocity

  Source: `SGDSolver` in Caffe's src/caffe/solvers/sgd_solver.cpp. The learning
  rate is part of the velocity: when it drops, earlier gradients keep their
  larger step, unlike in PyTorch.

  Args:
    learning_rate: number or `LearningRateSchedule`.
    momentum: in [0, 1).
    l2: Caffe's `weight_decay`. It has another name because the base class
      would apply an argument of that name itself, decoupled.
    multipliers: function of a variable's name, without `:0` and a strategy's
      suffix -> (learning-rate multiplier, decay multiplier).
    global_clipnorm: as in the base class; None is off.
    name: prefix of the optimizer's variables.
    **kwargs: for the base class.
  """

  def __init__(self, learning_rate=0.01, momentum=0.9, l2=0.0,
               multipliers=caffe_multipliers, global_clipnorm=None,
               name="CaffeSGD", **kwargs):
    super().__init__(**_base_arguments(name, global_clipnorm, kwargs))
    self._learning_rate = self._build_learning_rate(learning_rate)
    self.momentum = momentum
    self.l2 = l2
    self.multipliers = _multipliers(multipliers)
    self._strategy = tf.distribute.get_strategy()

  def build(self, var_list):
    """Makes a velocity for each variable, with its shape and dtype."""
    _check_scope(self._strategy)
    super().build(var_list)
    if getattr(self, "_built", False):
      return
    self.velocities = [
        self.add_variable_from_reference(variable, "velocity")
        for variable in var_list]
    self._built = True

  def update_step(self, gradient, variable):
    """Updates one variable in place; sparse gradients become dense."""
    rate_multiplier, decay_multiplier = self.multipliers(_name(variable))
    velocity = self.velocities[self._index_dict[self._var_key(variable)]]
    rate = tf.cast(self.learning_rate, variable.dtype) * rate_multiplier
    gradient = _with_decay(gradient, variable, self.l2 * decay_multiplier)
    velocity.assign(self.momentum * velocity + rate * gradient)
    variable.assign_sub(velocity)

  def get_config(self):
    """Arguments of the constructor, multipliers by registered name."""
    config = super().get_config()
    del config["weight_decay"]
    return {**config, "momentum": self.momentum, "l2": self.l2,
            "multipliers": _serialize(self.multipliers),
            "learning_rate": self._serialize_hyperparameter(
                self._learning_rate)}


@tf.keras.utils.register_keras_serializable(package="kdwsd")
class Adam(replica_optimizer.ReplicaOptimizer):
  """Adam with coupled or decoupled decay and multipliers per variable.

  Epsilon is added after the bias correction of the second moment, as in
  algorithm 1 of the paper and in PyTorch (Keras adds it before). A step that
  loss scaling skips still counts in the bias correction, as in Keras.

  Source: Kingma & Ba, arXiv 1412.6980; decoupled decay: Loshchilov & Hutter,
  arXiv 1711.05101, scaled by the learning rate as in PyTorch and Keras.

  Args:
    learning_rate: number or `LearningRateSchedule`.
    beta_1: decay rate of the first moment.
    beta_2: decay rate of the second moment.
    epsilon: see above; the default is PyTorch's.
    l2: weight decay.
    coupled: True adds l2 * w to the gradient (Adam in PyTorch), False subtracts
      lr * l2 * w from the weight (AdamW).
    multipliers: as for `CaffeSGD`. They scale the step, not the gradient,
      because Adam's step does not depend on the scale of the gradient.
    global_clipnorm: as in the base class; None is off.
    name: prefix of the optimizer's variables.
    **kwargs: for the base class.
  """

  def __init__(self, learning_rate=1e-5, beta_1=0.9, beta_2=0.999,
               epsilon=1e-8, l2=0.0, coupled=True,
               multipliers=plain_multipliers, global_clipnorm=None,
               name="Adam", **kwargs):
    super().__init__(**_base_arguments(name, global_clipnorm, kwargs))
    self._learning_rate = self._build_learning_rate(learning_rate)
    self.beta_1 = beta_1
    self.beta_2 = beta_2
    self.epsilon = epsilon
    self.l2 = l2
    self.coupled = coupled
    self.multipliers = _multipliers(multipliers)
    self._strategy = tf.distribute.get_strategy()

  def build(self, var_list):
    """Makes two moments for each variable, with its shape and dtype."""
    _check_scope(self._strategy)
    super().build(var_list)
    if getattr(self, "_built", False):
      return
    self.first_moments, self.second_moments = [
        [self.add_variable_from_reference(variable, moment)
         for variable in var_list] for moment in ("first", "second")]
    self._built = True

  def update_step(self, gradient, variable):
    """Updates one variable in place; sparse gradients become dense."""
    rate_multiplier, decay_multiplier = self.multipliers(_name(variable))
    index = self._index_dict[self._var_key(variable)]
    first, second = self.first_moments[index], self.second_moments[index]
    dtype = variable.dtype
    rate = tf.cast(self.learning_rate, dtype) * rate_multiplier
    decay = self.l2 * decay_multiplier
    gradient = _with_decay(gradient, variable, decay if self.coupled else 0.0)
    if decay and not self.coupled:
      variable.assign_sub(rate * decay * variable)
    first.assign_add((1 - self.beta_1) * (gradient - first))
    second.assign_add((1 - self.beta_2) * (tf.square(gradient) - second))
    step = tf.cast(self.iterations + 1, dtype)
    first_hat = first / (1 - tf.pow(tf.constant(self.beta_1, dtype), step))
    second_hat = second / (1 - tf.pow(tf.constant(self.beta_2, dtype), step))
    variable.assign_sub(rate * first_hat / (tf.sqrt(second_hat) + self.epsilon))

  def get_config(self):
    """Arguments of the constructor, multipliers by registered name."""
    config = super().get_config()
    del config["weight_decay"]
    return {**config, "beta_1": self.beta_1, "beta_2": self.beta_2,
            "epsilon": self.epsilon, "l2": self.l2, "coupled": self.coupled,
            "multipliers": _serialize(self.multipliers),
            "learning_rate": self._serialize_hyperparameter(
                self._learning_rate)}


def _base_arguments(name, global_clipnorm, kwargs):
  if kwargs.get("weight_decay"):
    raise ValueError(
        "Invalid value for argument `weight_decay`. Expected none: the "
        "argument `l2` decays; both would decay twice. Received: "
        f"{kwargs['weight_decay']}.")
  # `weight_decay` is None because the base class's default of 0 would still
  # write every variable in each step. Compiling each update alone gains little.
  return {"jit_compile": False, **kwargs, "name": name,
          "global_clipnorm": global_clipnorm, "weight_decay": None}


def _multipliers(multipliers):
  if isinstance(multipliers, (str, dict)):  # From `get_config`.
    return tf.keras.utils.deserialize_keras_object(multipliers)
  return multipliers


def _serialize(multipliers):
  return tf.keras.utils.serialize_keras_object(multipliers)


def _check_scope(strategy):
  # Variables made outside the scope are shared by all replicas: each replica
  # would add its gradient to the same velocity, without an error.
  if tf.distribute.get_strategy() is not strategy:
    raise ValueError(
        "Invalid place for `build`. Expected the scope of the strategy that "
        f"the optimizer was made in, {type(strategy).__name__}. Received: "
        f"{type(tf.distribute.get_strategy()).__name__}.")


def _with_decay(gradient, variable, decay):
  gradient = tf.convert_to_tensor(gradient)  # Decay is dense.
  return gradient + decay * variable if decay else gradient


def _name(variable):
  """Name without the suffixes `/replica_N` and `:0`."""
  return re.sub(r"(/replica_\d+)?(:\d+)?$", "", variable.name)


def _layer_and_kind(variable_name):
  """Last two parts of `.../LAYER/KIND`."""
  parts = variable_name.split("/")
  if len(parts) < 2:
    # Variables made outside a Keras layer have no layer in their name; the
    # multipliers of the layer would silently not apply.
    raise ValueError(
        "Invalid name of a trainable variable. Expected LAYER/KIND, such as "
        f"'fc8_c/kernel'. Received: {variable_name!r}.")
  return parts[-2], parts[-1]
