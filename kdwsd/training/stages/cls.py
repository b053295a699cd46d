"""Stage `cls`: S-Cls without distillation, the baseline."""

from kdwsd.modeling import student_losses
from kdwsd.training import models
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import stage
from kdwsd.training.stages import start
from kdwsd.training.stages import students

LOSS_NAMES = ("loss",)


def check(config):
  """Checks the settings of this stage, before anything is built.

  Raises:
    errors.InputError: see `students.check`, or a loss out of its range.
  """
  students.check(config)
  hard_loss(config)


def make(config, train_set):
  """Makes the stage; call it in the strategy's scope.

  Args:
    config: `config.Config`.
    train_set: `record_files.RecordSet` to train on.

  Returns:
    A `stage.Stage`.

  Raises:
    errors.InputError: see `check`.
  """
  check(config)
  student = models.build(config)
  images = {"augmented": True, "for_teacher": False}
  return stage.Stage(
      model=trainee_lib.Trainee(student),
      variables=student.trainable_variables,
      step=make_step(student, hard_loss(config)),
      loss_names=LOSS_NAMES,
      sizes=(config.eval_size,),
      initialize=lambda: start.initialize(student, config),
      score=models.scorer(student),
      add_to_batches=lambda dataset: students.add_images(
          dataset, config, student, train_set, **images),
      prepare=students.image_maker(config, **images))


def hard_loss(config):
  """The loss on labels that a run's config selects."""
  return student_losses.hard_loss(
      config.hard_loss, focal_alpha=config.focal_alpha,
      focal_gamma=config.focal_gamma,
      gamma_positive=config.asymmetric_gammas[0],
      gamma_negative=config.asymmetric_gammas[1],
      clip=config.asymmetric_clip)


def make_step(student, loss_on_labels):
  """Makes the step function of the stage.

  Args:
    student: a `student.Student`.
    loss_on_labels: function from `student_losses.hard_loss`.

  Returns:
    Function of (batch, dropout_seeds [B, 2]) that returns a dictionary of [B]
    float32 losses with the keys `LOSS_NAMES`.
  """

  def step(batch, dropout_seeds):
    logits = student(
        batch["student_image"], training=True, dropout_seeds=dropout_seeds,
        frozen_map=batch.get("student_frozen_map"))               # [B, C]
    return {"loss": loss_on_labels(
        batch["labels"], logits, batch["label_weights"])}

  return step
