"""From a run's config to its model, teacher or student."""

import tensorflow as tf

from kdwsd.modeling import student
from kdwsd.modeling import wsddn
from kdwsd.training import trainee


def build(config):
  """Makes the model of a run with fresh weights.

  Args:
    config: `config.Config`.

  Returns:
    `wsddn.WSDDN` for stage wsd, `student.Student` for the others.
  """
  if config.stage == "wsd":
    return wsddn.build(wsddn_config(config))
  return student.build(student_config(config))


def outline(config):
  """The model of a run whose head has no weights yet: quickly made.

  Args:
    config: `config.Config`.

  Returns:
    As `build`.
  """
  if config.stage == "wsd":
    return wsddn.WSDDN(wsddn_config(config))
  return student.Student(student_config(config))


def as_saved(model, config):
  """The model where checkpoints have it: a student is part of a trainee."""
  if config.stage == "wsd":
    return model
  return trainee.Trainee(model)


def wsddn_config(config):
  """The teacher's part of a run's config."""
  return wsddn.WSDDNConfig(
      num_classes=len(config.classes),
      backbone=config.backbone,
      backbone_width=config.backbone_width,
      fc_units=config.fc_units,
      dropout_rate=config.dropout_rate,
      roi_pooling=config.roi_pooling,
      score_scale=config.score_scale,
      score_bias=config.score_bias,
      class_temperature=config.class_temperature,
      detection_temperature=config.detection_temperature,
      frozen_stages=config.frozen_stages,
      seed=config.seed)


def student_config(config):
  """The student's part of a run's config."""
  return student.StudentConfig(
      num_classes=len(config.classes),
      image_size=config.student_size,
      backbone=config.backbone,
      backbone_width=config.backbone_width,
      fc_units=config.fc_units,
      dropout_rate=config.dropout_rate,
      roi_pooling=config.roi_pooling,
      feature_scale=config.feature_scale,
      frozen_stages=config.frozen_stages,
      seed=config.seed)


def scorer(model):
  """What measures a model: a function of a batch, see `inference.predict`."""
  return model if isinstance(model, wsddn.WSDDN) else model.score


def example_inputs(config):
  """Inputs of one image, of the sizes at which a run measures its model.

  Args:
    config: `config.Config`.

  Returns:
    What the model of `build` takes.
  """
  if config.stage != "wsd":
    return tf.fill([1, config.student_size, config.student_size, 3], 128.0)
  count = config.num_proposals
  corners = tf.random.stateless_uniform([1, count, 4], [0, 0], 0.0, 0.5)
  return {
      "image": tf.fill([1, config.eval_size, config.eval_size, 3], 128.0),
      "proposals": corners + tf.constant([0.0, 0.0, 0.5, 0.5]),
      "objectness": tf.fill([1, count], 0.1),
      "valid": tf.ones([1, count], tf.bool),
  }
