"""Stage `kd_prediction`: the student learns labels and the teacher's scores.

Source: Liu et al., ACM MM 2018, stage 2, and the release's prototxt: both
losses are summed over classes and have weight 1.
"""

import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import student_losses
from kdwsd.training import folds
from kdwsd.training import models
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import teacher_cache
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import cls
from kdwsd.training.stages import stage
from kdwsd.training.stages import start
from kdwsd.training.stages import students

LOSS_NAMES = ("loss", "hard_loss", "soft_loss")


def check(config):
  """Checks the settings of this stage, before anything is built.

  Raises:
    errors.InputError: see `cls.check`, or a temperature of 0 or less.
  """
  cls.check(config)
  for name in ("teacher_temperature", "student_temperature"):
    if getattr(config, name) <= 0:
      raise errors.InputError(
          f"--{name}: expected a number above 0. Received: "
          f"{getattr(config, name)}.")
  if config.teacher_sizes and (
      config.teacher_cache == "off" or config.teacher_dropout):
    raise errors.InputError(
        "--teacher_sizes: expected cached scores, --teacher_cache=auto or on "
        f"and --noteacher_dropout. Received: --teacher_cache="
        f"{config.teacher_cache}{' --teacher_dropout' * config.teacher_dropout}"
        ".")


def make(config, train_set):
  """Makes the stage; call it in the strategy's scope.

  Args:
    config: `config.Config`.
    train_set: `record_files.RecordSet` to train on.

  Returns:
    A `stage.Stage`.

  Raises:
    errors.InputError: the teacher is missing or does not fit.
  """
  check(config)
  teacher = folds.load(config, train_set)
  student = models.build(config)
  trainee = trainee_lib.Trainee(
      student, student_temperature=config.student_temperature)
  cached = config.teacher_cache != "off" and not config.teacher_dropout
  images = {"augmented": True, "for_teacher": not cached}

  if cached:
    scores = teacher_cache.image_scores(
        teacher, train_set, size=config.eval_size, sizes=config.teacher_sizes,
        num_proposals=config.num_proposals,
        temperature=config.teacher_temperature)

  def add_to_batches(dataset):
    if cached:
      dataset = scores.join(dataset)
    return students.add_images(
        dataset, config, student, train_set, **images)

  return stage.Stage(
      model=trainee,
      variables=[*student.trainable_variables, trainee.inverse_temperature],
      step=make_step(
          trainee, None if cached else teacher, cls.hard_loss(config),
          teacher_temperature=config.teacher_temperature,
          teacher_dropout=config.teacher_dropout,
          hard_weight=config.hard_weight, soft_weight=config.soft_weight),
      loss_names=LOSS_NAMES,
      sizes=(config.eval_size,),
      initialize=lambda: start.initialize(student, config),
      score=models.scorer(student),
      add_to_batches=add_to_batches,
      prepare=students.image_maker(config, **images))


def make_step(trainee, teacher, loss_on_labels, *, teacher_temperature=0.5,
              teacher_dropout=False, hard_weight=1.0, soft_weight=1.0):
  """Makes the step function of the stage.

  Args:
    trainee: a `trainee.Trainee` with an inverse temperature.
    teacher: a `teacher.Teacher`, or None if batches hold its scores.
    loss_on_labels: function from `student_losses.hard_loss`.
    teacher_temperature: temperature of both streams of the teacher; 0.5 in the
      release.
    teacher_dropout: whether the teacher has dropout, as in the release.
    hard_weight: weight of the loss on labels.
    soft_weight: weight of the loss on the teacher's scores.

  Returns:
    Function of (batch, dropout_seeds [B, 2]) that returns a dictionary of [B]
    float32 losses with the keys `LOSS_NAMES`.
  """

  def step(batch, dropout_seeds):
    if teacher is None:
      scores = batch["teacher_image_scores"]                      # [B, C]
    else:
      scores = teacher_lib.image_scores(
          teacher, batch, temperature=teacher_temperature,
          dropout_seeds=dropout_seeds if teacher_dropout else None)
    logits = trainee.student(
        batch["student_image"], training=True, dropout_seeds=dropout_seeds,
        frozen_map=batch.get("student_frozen_map"))               # [B, C]
    hard = loss_on_labels(batch["labels"], logits, batch["label_weights"])
    soft = student_losses.prediction_distillation(
        logits, scores, trainee.inverse_temperature)
    # Without proposals the teacher's scores are 0 but carry no information.
    soft = tf.where(tf.reduce_any(batch["valid"], axis=1), soft, 0.0)
    return {"loss": hard_weight * hard + soft_weight * soft,
            "hard_loss": hard, "soft_loss": soft}

  return step
