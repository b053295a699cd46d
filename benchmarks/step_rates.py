"""Speed of training steps of the teacher, and of the student in stage 2."""

import statistics
import time

import numpy as np
import tensorflow as tf

from kdwsd.modeling import student as student_lib
from kdwsd.modeling import student_losses
from kdwsd.modeling import wsddn
from kdwsd.training import inner_loop
from kdwsd.training import optimizers
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import wsd

_NUM_CLASSES = 20


def train_teacher(size, num_proposals, fc_units, batch_size, steps):
  """Trains on one batch; returns seconds and FLOP per step, and peak FLOP/s."""
  model, trainer = teacher(size, num_proposals, fc_units, batch_size)
  trainer.train(tf.constant(1))  # Traces, and makes the optimizer's variables.
  peak_flops = _matmul_flops()
  start = time.perf_counter()
  trainer.train(tf.constant(steps))
  seconds = (time.perf_counter() - start) / steps
  peak_flops = max(peak_flops, _matmul_flops())
  return seconds, batch_size * step_flops(model, size, num_proposals), (
      peak_flops)


def teacher(size, num_proposals, fc_units, batch_size):
  """Makes a teacher; returns it and its trainer, on one batch."""
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=_NUM_CLASSES, fc_units=fc_units))
  return model, _trainer(
      _batch(size, num_proposals, batch_size), model.trainable_variables,
      wsd.make_step(model), wsd.LOSS_NAMES, batch_size)


def train_student(size, num_proposals, fc_units, batch_size, steps, student):
  """Measures steps of stage 2, with the teacher online and cached in turns.

  Args, besides those of `students`:
    steps: number of steps of each kind; the median is returned.

  Returns:
    Seconds per step: teacher online, teacher cached.
  """
  trainers = students(size, num_proposals, fc_units, batch_size, student)
  seconds = [[], []]
  for number in range(steps + 1):  # The first one traces.
    for trainer, taken in zip(trainers, seconds):
      start = time.perf_counter()
      trainer.train(tf.constant(1))
      if number:
        taken.append(time.perf_counter() - start)
  return tuple(map(statistics.median, seconds))


def students(size, num_proposals, fc_units, batch_size, student):
  """Makes trainers of stage 2, on one batch.

  Args:
    size: side of the teacher's image, pixels.
    num_proposals: R.
    fc_units: width of the teacher's fc6 and fc7.
    batch_size: images per step.
    student: dict of changes to `student.StudentConfig`.

  Returns:
    Trainers of the same student: teacher online, teacher cached.
  """
  batch = _batch(size, num_proposals, batch_size)
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=_NUM_CLASSES, fc_units=fc_units))
  model.trainable = False
  frozen = teacher_lib.Teacher(model, None, "")
  trainee = trainee_lib.Trainee(
      student_lib.build(student_lib.StudentConfig(
          num_classes=_NUM_CLASSES, **student)), student_temperature=5.0)
  batch["student_image"] = student_lib.resize(
      batch["image"], trainee.student.config.image_size)
  cached = {name: value for name, value in batch.items() if name != "image"}
  cached["teacher_image_scores"] = tf.fill([batch_size, _NUM_CLASSES], 0.5)
  return [_trainer(
      one, list(trainee.trainable_variables), kd_prediction.make_step(
          trainee, asked, student_losses.hard_loss("sigmoid")),
      kd_prediction.LOSS_NAMES, batch_size)
          for asked, one in ((frozen, batch), (None, cached))]


def step_flops(model, size, num_proposals):
  """FLOP of a step per image, of convolutions and matrix products only.

  A multiply-add counts as 2. The backward pass of a layer has two products of
  the size of the forward one: for its weights and for its input. The first
  layer needs no gradient of its input.
  """
  products = []
  for stage in model.backbone.stages:
    for layer in stage:
      if layer.weights:
        products.append(size ** 2 * int(np.prod(layer.kernel.shape)))
      else:
        size //= 2
  for layer in (model.fc6, model.fc7, model.fc8_c, model.fc8_d):
    products.append(num_proposals * int(np.prod(layer.kernel.shape)))
  return 2 * (3 * sum(products) - products[0])


def _trainer(batch, variables, step, loss_names, batch_size):
  """The inner loop of a step, which gets the same batch each time."""
  return inner_loop.Trainer(
      strategy=tf.distribute.get_strategy(), variables=variables,
      optimizer=optimizers.make("sgd", learning_rate=1e-6), step=step,
      loss_names=loss_names,
      dataset=tf.data.Dataset.from_tensors(batch).repeat(),
      global_batch_size=batch_size, seed=0,
      global_step=tf.Variable(0, dtype=tf.int64))


def _batch(size, num_proposals, batch_size):
  """A batch of random values in the format of the input pipeline."""
  random = np.random.default_rng(0)
  corners = np.sort(random.uniform(size=[batch_size, num_proposals, 2, 2]),
                    axis=2).reshape(batch_size, num_proposals, 4)
  batch = {
      "image": random.uniform(0, 255, [batch_size, size, size, 3]),
      "proposals": corners,
      "objectness": random.uniform(size=[batch_size, num_proposals]),
      "labels": random.integers(0, 2, [batch_size, _NUM_CLASSES]),
      "label_weights": np.ones([batch_size, _NUM_CLASSES])}
  batch = {name: tf.constant(value, tf.float32)
           for name, value in batch.items()}
  batch["valid"] = tf.ones([batch_size, num_proposals], tf.bool)
  batch["example_index"] = tf.range(batch_size, dtype=tf.int64)
  return batch


def _matmul_flops(side=4096, repeats=3):
  """FLOP/s of a large float32 matrix product, the best of `repeats`."""
  matrix = tf.random.normal([side, side])

  @tf.function
  def multiply(matrix):
    return tf.reduce_sum(tf.matmul(matrix, matrix)[0])

  seconds = []
  for _ in range(repeats + 1):  # The first one traces.
    start = time.perf_counter()
    multiply(matrix).numpy()
    seconds.append(time.perf_counter() - start)
  return 2 * side ** 3 / min(seconds[1:])
