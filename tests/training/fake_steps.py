"""The step of every stage on a small model, and trainers of them."""

import dataclasses

import numpy as np
import tensorflow as tf

from kdwsd.modeling import student as student_lib
from kdwsd.modeling import student_losses
from kdwsd.modeling import wsddn
from kdwsd.training import inner_loop
from kdwsd.training import loss_scaling
from kdwsd.training import optimizers
from kdwsd.training import schedules
from kdwsd.training import strategies
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import cls
from kdwsd.training.stages import kd_feature
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import wsd

STAGES = ("wsd", "wsd_max", "wsd_refined", "cls", "kd_feature", "kd_prediction")

_CLASSES = 3
_PROPOSALS = 5
_SIDES = (32, 48)
_STUDENT_SIDE = 32


@dataclasses.dataclass(frozen=True)
class Run:
  """A trainer, and what it changes.

  Attributes:
    trainer: `inner_loop.Trainer`.
    model: module of the trained variables.
    variables: list of them.
    optimizer: from `optimizers.make`.
    checkpoint: `tf.train.Checkpoint` of all.
  """
  trainer: inner_loop.Trainer
  model: tf.Module
  variables: list
  optimizer: tf.keras.optimizers.Optimizer
  checkpoint: tf.train.Checkpoint

  def train(self, steps):
    """Takes steps; returns the figures."""
    return self.trainer.train(tf.constant(steps))

  def weights(self):
    """The trained weights, as arrays."""
    return [variable.numpy() for variable in self.variables]

  def state(self):
    """All that the next steps depend on: weights, optimizer, loss scale."""
    scale = self.optimizer.loss_scale
    return [variable.numpy() for variable in (
        *self.variables, *self.optimizer.variables,
        *(scale.variables if scale is not None else ()))]


def make(stage, *, strategy=None, jit_compile="off", optimizer="sgd",
         policy="float32", batch_size=4, start_step=0, poisoned=(), sides=None,
         clip_norm=0.5, averages=True, growth_steps=2000, **trainer_options):
  """Makes a run of a stage.

  Args:
    stage: one of `STAGES`.
    strategy: `tf.distribute.Strategy`; None for the default one.
    jit_compile: as in `inner_loop.Trainer`.
    optimizer: one of `optimizers.NAMES`.
    policy: Keras's dtype policy, already set.
    batch_size: images per step.
    start_step: step whose batch comes first.
    poisoned: steps, from 0, whose first image has labels of infinite weight.
    sides: sides of images, one after another; by default one.
    clip_norm: as in `optimizers.make`.
    averages: whether weights are averaged.
    growth_steps: as in `loss_scaling.LossScale`.
    **trainer_options: more arguments of the trainer.

  Returns:
    `Run`.
  """
  strategy = strategy or tf.distribute.get_strategy()
  sides = sides or _SIDES[:1]
  with strategy.scope():
    model, variables, step, names = _STEPS[stage]()
    made = optimizers.make(
        optimizer, clip_norm=clip_norm, momentum=0.9, weight_decay=1e-3,
        learning_rate=schedules.make(
            "cosine", base_rate=1e-2, total_steps=50, warmup_steps=2),
        use_ema=averages, ema_momentum=0.9)
    if policy == "mixed_float16":
      made.loss_scale = loss_scaling.LossScale(growth_steps=growth_steps)
    global_step = tf.Variable(
        start_step, trainable=False, dtype=tf.int64,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
    made.build(variables)

  def batches(context):
    replicas = context.num_replicas_in_sync
    index = tf.data.Dataset.range(start_step * batch_size, 1000)
    return index.map(lambda one: _example(
        one, sides, one // batch_size, _is_in(one, [
            number * batch_size for number in poisoned]))).batch(
                batch_size // replicas, drop_remainder=True).shard(
                    context.num_input_pipelines, context.input_pipeline_id)

  trainer = inner_loop.Trainer(
      strategy=strategy, variables=variables, optimizer=made, step=step,
      loss_names=names,
      dataset=strategies.distribute(strategy, batches),
      global_batch_size=batch_size, seed=7, global_step=global_step,
      jit_compile=jit_compile, **trainer_options)
  return Run(trainer, model, variables, made, tf.train.Checkpoint(
      model=model, optimizer=made, global_step=global_step))


def _example(index, sides, step, poisoned):
  """An image, as the input pipeline makes it; a function of its index."""
  def draw(shape, stream):
    return tf.random.stateless_uniform(
        shape, tf.stack([index, tf.constant(stream, tf.int64)]))

  side = tf.constant(sides)[step % len(sides)]
  image = 255.0 * draw([side, side, 3], 0)
  image.set_shape([sides[0] if len(sides) == 1 else None] * 2 + [3])
  corners = draw([_PROPOSALS, 4], 1)
  low, high = corners[:, :2] * 0.5, 0.5 + corners[:, 2:] * 0.5
  labels = tf.cast(draw([_CLASSES], 2) < 0.5, tf.float32)
  return {
      "image": image,
      "student_image": student_lib.resize(
          image[tf.newaxis], _STUDENT_SIDE)[0],
      "proposals": tf.concat([low, high], axis=1),
      "objectness": 0.5 + draw([_PROPOSALS], 3),
      "valid": tf.range(_PROPOSALS) < _PROPOSALS - 1,
      "labels": labels,
      "label_weights": tf.where(
          poisoned, tf.constant(np.inf), 1.0) * tf.ones([_CLASSES]),
      "teacher_image_scores": draw([_CLASSES], 4),
      "example_index": index,
  }


def _is_in(number, numbers):
  return tf.reduce_any(number == tf.constant(numbers, tf.int64))


def _teacher_model(pooling="crop_and_resize", branches=0):
  return wsddn.build(wsddn.WSDDNConfig(
      num_classes=_CLASSES, backbone="small", fc_units=16,
      roi_pooling=pooling, score_scale=2.0, score_bias=1.0,
      detection_temperature=2.0, refinement_branches=branches))


def _student():
  return student_lib.build(student_lib.StudentConfig(
      num_classes=_CLASSES, image_size=_STUDENT_SIDE, backbone="small",
      fc_units=0, seed=1))


def _teacher():
  model = _teacher_model()
  model.trainable = False
  return teacher_lib.Teacher(model, None, "")


def _wsd(pooling="crop_and_resize", branches=0):
  model = _teacher_model(pooling, branches)
  return (model, model.trainable_variables,
          wsd.make_step(model, spatial_weight=1e-3), wsd.loss_names(branches))


def _cls():
  student = _student()
  return (student, student.trainable_variables, cls.make_step(
      student, student_losses.hard_loss("sigmoid")), cls.LOSS_NAMES)


def _kd_feature():
  trainee = trainee_lib.Trainee(_student())
  layers = ("pool",)
  # The channels of both backbones are the same.
  return (trainee, [v for v in trainee.student.trainable_variables
                    if "fc8" not in v.name],
          kd_feature.make_step(
              trainee, _teacher(), layers=layers, top_k=3,
              roi_weight="teacher"), kd_feature.loss_names(layers))


def _kd_prediction():
  trainee = trainee_lib.Trainee(_student(), student_temperature=5.0)
  return (trainee, [*trainee.student.trainable_variables,
                    trainee.inverse_temperature],
          kd_prediction.make_step(
              trainee, _teacher(), student_losses.hard_loss("asymmetric")),
          kd_prediction.LOSS_NAMES)


_STEPS = {"wsd": _wsd, "wsd_max": lambda: _wsd("max"),
          "wsd_refined": lambda: _wsd(branches=2), "cls": _cls,
          "kd_feature": _kd_feature, "kd_prediction": _kd_prediction}
