"""A student together with the variables that only its training needs."""

import tensorflow as tf

# In the release the inverse temperature has 10 times the learning rate and no
# weight decay.
MULTIPLIERS = {"distillation": (10.0, 0.0)}


class Trainee(tf.Module):
  """The module that a student's stage trains and saves in checkpoints.

  Attributes:
    student: `student.Student`.
    adapters: {layer: `tf.keras.layers.Dense`} of stage `kd_feature`.
    inverse_temperature: [C] variable of stage `kd_prediction`, or None.
  """

  def __init__(self, student, *, adapters=None, student_temperature=None):
    """Makes a trainee.

    Args:
      student: `student.Student`, built.
      adapters: {layer: `tf.keras.layers.Dense`}, built; None for none.
      student_temperature: initial value of the learned temperature; None for
        no temperature.
    """
    super().__init__(name="trainee")
    self.student = student
    self.adapters = adapters or {}
    self.inverse_temperature = None
    if student_temperature is not None:
      self.inverse_temperature = tf.Variable(
          tf.fill([student.config.num_classes], 1.0 / student_temperature),
          name="distillation/inverse_temperature", dtype=tf.float32)
