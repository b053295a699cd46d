"""Stage `wsd`: T-WDet, the weakly supervised teacher."""

import tensorflow as tf

from kdwsd.modeling import losses
from kdwsd.modeling import refinement
from kdwsd.training import folds
from kdwsd.training import frozen_maps
from kdwsd.training import models
from kdwsd.training.stages import stage
from kdwsd.training.stages import start

LOSS_NAMES = ("loss", "classification_loss", "spatial_loss")


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
  model = models.build(config)

  def add_to_batches(dataset):
    if not config.frozen_cache:
      return dataset
    return frozen_maps.keep(
        model, train_set, config, config.train_sizes[0]).join(dataset)

  return stage.Stage(
      model=model,
      variables=model.trainable_variables,
      step=make_step(model, spatial_weight=config.spatial_weight,
                     refinement_seeds=config.refinement_seeds,
                     refinement_weight=config.refinement_weight),
      loss_names=loss_names(config.refinement_branches),
      sizes=config.train_sizes,
      initialize=lambda: start.initialize(model, config),
      score=models.scorer(model),
      add_to_batches=add_to_batches)


def check(config):
  """Checks the settings of this stage, before anything is built.

  Raises:
    errors.InputError: the run to start from is missing or does not fit, or the
      maps of the frozen stages cannot be cached.
  """
  start.check(config)
  folds.check_left_out(config)
  if config.frozen_cache:
    frozen_maps.check(config, config.train_sizes)


def loss_names(refinement_branches):
  """Keys of the losses: that of the branches only if there are any."""
  return LOSS_NAMES + (("refinement_loss",) if refinement_branches else ())


def make_step(model, *, spatial_weight=0.0, refinement_seeds="mist",
              refinement_weight=1.0):
  """Makes the step function of the stage.

  Args:
    model: a `wsddn.WSDDN`.
    spatial_weight: weight of WSDDN's spatial regularizer; 1e-4 in the WSDDN
      paper, 0 in the release.
    refinement_seeds: one of `refinement.SEEDS`, if the model has branches.
    refinement_weight: weight of `refinement_loss` in `loss`.

  Returns:
    Function of (batch, dropout_seeds [B, 2]) that returns a dictionary of [B]
    float32 losses with the keys of `loss_names`; `loss` is the one to minimise.
  """

  def step(batch, dropout_seeds):
    outputs = model(batch, training=True, dropout_seeds=dropout_seeds)
    classification = losses.mil_cross_entropy(
        batch["labels"], outputs["image_scores"],
        label_weights=batch["label_weights"])                     # [B]
    spatial = tf.zeros_like(classification)
    if spatial_weight:
      spatial = losses.spatial_regularizer(
          labels=batch["labels"], proposals=batch["proposals"],
          valid=batch["valid"], features=outputs["layers"]["fc7"],
          proposal_scores=outputs.get(
              "wsddn_scores", outputs["proposal_scores"]))        # [B]
    found = {
        "loss": classification + spatial_weight * spatial,
        "classification_loss": classification,
        "spatial_loss": spatial,
    }
    if model.config.refinement_branches:
      found["refinement_loss"] = refinement.loss(
          logits=outputs["refinement_logits"],
          wsddn_scores=outputs["wsddn_scores"],
          labels=batch["labels"], label_weights=batch["label_weights"],
          proposals=batch["proposals"], valid=batch["valid"],
          seeds=refinement_seeds)                                 # [B]
      found["loss"] += refinement_weight * found["refinement_loss"]
    return found

  return step
