"""The initial weights of a new run.

A run that is resumed takes its weights from its own checkpoints, see `loop`. A
new one starts from the run `--init_from` or, in stage 2, from the student of
stage 1 (`--feature_student`), whichever is set; else from `--backbone_weights`.
"""

from absl import logging

from kdwsd import errors
from kdwsd.modeling import pretrained
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run_folder


def initialize(model, config):
  """Sets the initial weights of a new run's model.

  Args:
    model: from `models.build`.
    config: `config.Config`.

  Raises:
    errors.InputError: the source of the weights is missing or does not fit.
  """
  check(config)
  if config.init_from:
    folder = run_folder.RunFolder(config.init_from)
    path = folder.find("best")
    if folder.read_config().refinement_branches == config.refinement_branches:
      folder.restore(model, config, path)
    else:
      _restore_common_layers(model, folder, path)
    logging.info("The model starts from another run: %s.", folder.named(path))
  elif _has_feature_student(config):
    folder = run_folder.RunFolder(config.feature_student)
    classifier = model.fc8.get_weights()  # Stage 1 does not train it.
    path = folder.find("best")  # The averaged weights, if the run has any.
    folder.restore(model, config, path)
    model.fc8.set_weights(classifier)
    logging.info("The student starts from stage 1: %s.", folder.named(path))
  else:
    pretrained.load(model, config.backbone_weights)


def check(config):
  """Checks that the run to start from exists and has the same model.

  Teachers may differ in their number of refinement branches.

  Raises:
    errors.InputError: no such run, another model, a run of stage 1 that is not
      finished, or two runs to start from.
  """
  if config.init_from and _has_feature_student(config):
    raise errors.InputError(
        "--init_from and --feature_student: expected one run to start from. "
        f"Received: {config.init_from} and {config.feature_student}.")
  if config.init_from:
    _check_init_from(config)
  elif _has_feature_student(config):
    _check_feature_student(config)


def check_stages(first, second):
  """Checks that stage 2 can start from a stage 1 that is not trained yet.

  Args:
    first: `config.Config` of stage 1.
    second: `config.Config` of stage 2.

  Raises:
    errors.InputError: the two have different students.
  """
  _check_same(second, first,
              "kd_prediction: expected the student of kd_feature.")


def _has_feature_student(config):
  """Whether the run starts from a student of stage 1; only stage 2 does."""
  return config.stage == "kd_prediction" and bool(config.feature_student)


def _restore_common_layers(model, folder, path):
  """Restores the layers that both teachers have, by name.

  Refinement branches that the other run lacks keep their initial weights.
  """
  config = folder.read_config()
  before = models.build(config)
  folder.restore(before, config, path)
  found = {layer.name: layer for layer in before.layers}
  for layer in model.layers:
    if layer.name in found:
      layer.set_weights(found[layer.name].get_weights())


def _check_init_from(config):
  workdir = config.init_from
  folder = run_folder.RunFolder(workdir)
  before = folder.read_config()
  teacher = config.stage == "wsd"
  if teacher != (before.stage == "wsd"):
    raise errors.InputError(
        f"--init_from: {workdir}: expected a run of "
        f"{'stage wsd' if teacher else 'a student'}. Received: stage "
        f"{before.stage}.")
  _check_same(
      config, before,
      f"--init_from: {workdir}: expected the model of this run.",
      except_for=("refinement_branches",))
  folder.find("best")


def _check_feature_student(config):
  workdir = config.feature_student
  folder = run_folder.RunFolder(workdir)
  before = folder.read_config()
  if before.stage != "kd_feature":
    raise errors.InputError(
        f"--feature_student: {workdir}: expected a run of stage kd_feature. "
        f"Received: stage {before.stage}.")
  _check_same(
      config, before,
      f"--feature_student: {workdir}: expected the student of this run.")
  step = folder.last_step()
  if step is not None and step < before.train_steps:
    raise errors.InputError(
        f"--feature_student: {workdir}: expected a finished run. Received: "
        f"one at step {step} of {before.train_steps}.")


def _check_same(config, before, expected, except_for=()):
  differences = config_lib.differences(before, config, [
      name for name in config_lib.model_fields(config.stage)
      if name not in except_for])
  if differences:
    raise errors.InputError(f"{expected} Received: {differences}.")
