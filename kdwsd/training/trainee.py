"""A student with what it needs only while it learns."""

import tensorflow as tf

# Caffe's release: the inverse temperature learns at 10x and does not decay.
MULTIPLIERS = {"distillation": (10.0, 0.0)}


class Trainee(tf.Module):
  """What a student's stage trains, and what its checkpoints hold.

  Attributes:
    student: `student.Student`.
    adapters: {layer: `tf.keras.layers.Dense`} of stage `kd_feature`.
    inverse_temperature: [C] variable of stage `kd_prediction`, or None.
  """

  def __init__(self, student, *, adapters=None, student_temperature=None):
    """Makes a trainee.

    Args:
      student: `student.Student`, built.
      adapters: see above, built.
      student_temperature: where the learnable temperature starts; None for
        none.
    """
    super().__init__(name="trainee")
    self.student = student
    self.adapters = adapters or {}
    self.inverse_temperature = None
    if student_temperature is not None:
      self.inverse_temperature = tf.Variable(
          tf.fill([student.config.num_classes], 1.0 / student_temperature),
          name="distillation/inverse_temperature", dtype=tf.float32)
