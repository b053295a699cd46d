"""The base of the optimizers: an update that XLA can compile."""

import tensorflow as tf


class ReplicaOptimizer(tf.keras.optimizers.Optimizer):
  """A Keras optimizer with an update in the context of a replica.

  Attributes:
    loss_scale: `loss_scaling.LossScale` under mixed_float16, else None. Here,
      so that the checkpoint of the optimizer includes it.
  """
  loss_scale = None

  def update(self, gradients, variables, norm):
    """Updates one replica's copies, like `apply_gradients`; bit-equal.

    `apply_gradients` leaves the replica's context for its updates, which a
    compiled function and a condition do not allow, and computes the norm.

    Args:
      gradients: list of tensors, summed over all replicas.
      variables: list of the variables that `build` was called with, in a
        replica's context.
      norm: `tf.linalg.global_norm` of the gradients.
    """
    with tf.name_scope(self.name):
      if isinstance(self._learning_rate,
                    tf.keras.optimizers.schedules.LearningRateSchedule):
        self.learning_rate.assign(self._learning_rate(self.iterations))
      if self.global_clipnorm:
        gradients, _ = tf.clip_by_global_norm(
            gradients, self.global_clipnorm, use_norm=norm)
      for gradient, variable in zip(gradients, variables):
        self.update_step(gradient, variable)
      if self.use_ema:
        for variable in variables:
          average = self._model_variables_moving_average[
              self._index_dict[self._var_key(variable)]]
          average.assign(self.ema_momentum * average
                         + (1 - self.ema_momentum) * variable)
      self.iterations.assign_add(1)

  def update_if(self, finite, gradients, variables, norm, *, select):
    """As `update`, but without `finite` only the iterations are counted.

    Args:
      finite: scalar bool.
      gradients: as in `update`.
      variables: as in `update`.
      norm: as in `update`.
      select: whether to compute the update in any case and then choose between
        old and new values. XLA does both at once; a condition would wait for
        the host, but not compiled it saves time.
    """
    if not select:
      tf.cond(finite, lambda: self.update(gradients, variables, norm),
              self._count)
      return
    changing = [variable for variable in (*variables, *self.variables)
                if variable is not self.iterations]
    before = [tf.identity(variable) for variable in changing]
    self.update(gradients, variables, norm)
    for variable, old in zip(changing, before):
      variable.assign(tf.where(finite, variable, old))

  def _count(self):
    self.iterations.assign_add(1)
