"""Builds the model of a run, teacher or student, from its config."""

import tensorflow as tf

from kdwsd.modeling import student
from kdwsd.modeling import wsddn
from kdwsd.training import trainee


def build(config):
  """Builds the model of a run with random initial weights.

  Args:
    config: `config.Config`.

  Returns:
    `wsddn.WSDDN` for stage wsd, `student.Student` for the others.
  """
  if config.stage == "wsd":
    return wsddn.build(wsddn_config(config))
  return student.build(student_config(config))


def outline(config):
  """The model of a run without the weights of its head, which is fast.

  Args:
    config: `config.Config`.

  Returns:
    As `build`.
  """
  if config.stage == "wsd":
    return wsddn.WSDDN(wsddn_config(config))
  return student.Student(student_config(config))


def as_saved(model, config):
  """The object that checkpoints hold: a student is saved in a `Trainee`."""
  if config.stage == "wsd":
    return model
  return trainee.Trainee(model)


def wsddn_config(config):
  """The `wsddn.WSDDNConfig` of a run."""
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
      refinement_branches=config.refinement_branches,
      frozen_stages=config.frozen_stages,
      seed=config.seed)


def student_config(config):
  """The `student.StudentConfig` of a run."""
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
  """The function of an evaluation batch that `inference.predict` calls."""
  return model if isinstance(model, wsddn.WSDDN) else model.score


def example_inputs(config):
  """Inputs for one image, in the sizes that a run evaluates with.

  Args:
    config: `config.Config`.

  Returns:
    Inputs of the model that `build` returns.
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
