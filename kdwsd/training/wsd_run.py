"""A run of stage `wsd` from its settings to trained, measured weights."""

import dataclasses
import os

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import records
from kdwsd.evaluation import pictures
from kdwsd.evaluation import summary
from kdwsd.modeling import pretrained
from kdwsd.modeling import wsddn
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import history
from kdwsd.training import loop
from kdwsd.training import optimizers
from kdwsd.training import schedules
from kdwsd.training import strategies
from kdwsd.training import wsd_step

# Flags a run takes; the classes come with the data.
FLAG_NAMES = tuple(field.name for field in dataclasses.fields(
    config_lib.Config) if field.name != "classes")


def run(workdir, **values):
  """Trains the teacher, or goes on with a stopped run, and measures it.

  Args:
    workdir: of the run.
    **values: a value for each of `FLAG_NAMES`.

  Returns:
    The metrics of `summary.evaluate` on the validation split, or None.

  Raises:
    errors.InputError: bad settings or data, or a loss that is not finite.
  """
  train_set = records.open_split(values["data"], values["train_split"])
  eval_set = None
  if values["eval_split"]:
    eval_set = records.open_split(values["data"], values["eval_split"])
    _check_same_classes(train_set, eval_set)
  strategy = strategies.make(
      values["distribution_strategy"], values["num_replicas"])
  values["deterministic"] = strategies.set_determinism(
      values["deterministic"], values["seed"])
  config = config_lib.Config(classes=train_set.classes, **values)
  tf.keras.mixed_precision.set_global_policy(config.mixed_precision)
  _keep_config(config, workdir, strategies.is_chief(strategy))

  with strategy.scope():
    model = wsddn.build(checkpoints.model_config(config))
    schedule = schedules.make(
        config.schedule, base_rate=config.learning_rate,
        total_steps=config.train_steps, warmup_steps=config.warmup_steps,
        boundaries=config.schedule_boundaries, factor=config.schedule_factor,
        patience=config.plateau_patience)
    optimizer = optimizers.make(
        config.optimizer, learning_rate=schedule, momentum=config.momentum,
        weight_decay=config.weight_decay, clip_norm=config.clip_norm,
        multipliers=_multipliers(config))
    if config.mixed_precision == "mixed_float16":
      optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    global_step = tf.Variable(
        0, trainable=False, dtype=tf.int64, name="global_step",
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)

  def make_trainer(start_step):
    def batches(context):
      return input_pipeline.training_batches(
          train_set, global_batch_size=config.global_batch_size,
          sizes=config.train_sizes, num_proposals=config.num_proposals,
          seed=config.seed, start_step=start_step, input_context=context,
          mirror=config.mirror, cache=config.cache,
          cache_directory=os.path.join(workdir, "cache"),
          shuffle_buffer=config.shuffle_buffer)
    return loop.Trainer(
        strategy=strategy, model=model, optimizer=optimizer,
        step=wsd_step.make(model, spatial_weight=config.spatial_weight),
        loss_names=wsd_step.LOSS_NAMES,
        dataset=strategy.distribute_datasets_from_function(batches),
        global_batch_size=config.global_batch_size, seed=config.seed,
        global_step=global_step)

  measured = {}  # Of the last validation, by step.

  def figures():
    metrics, results = summary.measure(
        model, eval_set, **_measure_options(config))
    measured.clear()
    measured[int(global_step.numpy())] = metrics, results
    tf.summary.image("detections", pictures.detection_sheet(
        eval_set, results.detections, num_images=6)[tf.newaxis])
    return summary.figures(metrics)

  loop.run(
      make_trainer=make_trainer, strategy=strategy, model=model,
      optimizer=optimizer, global_step=global_step, workdir=workdir,
      train_steps=config.train_steps, steps_per_loop=config.steps_per_loop,
      checkpoint_interval=config.checkpoint_interval,
      eval_interval=config.eval_interval,
      keep_checkpoints=config.keep_checkpoints,
      best_figure=config.best_figure,
      global_batch_size=config.global_batch_size,
      initialize=lambda: pretrained.load(model, config.backbone_weights),
      evaluate=figures if eval_set else None,
      plateau=schedule if config.schedule == "plateau" else None)
  if not strategies.is_chief(strategy):
    return None
  logging.info("Loss curve: %s", history.plot(workdir))
  if not eval_set:
    return None
  return _report(config, workdir, model, measured, train_set, eval_set)


def _report(config, workdir, model, measured, train_set, eval_set):
  """Measures the best checkpoint, unless it was the last to be validated."""
  best = checkpoints.best_step(workdir)
  if best in measured:
    metrics, results = measured[best]
  else:
    model, _ = checkpoints.load_model(workdir, "best")
    metrics, results = summary.measure(
        model, eval_set, **_measure_options(config))
  metrics["corloc"] = summary.measure_corloc(
      model, train_set, **_measure_options(config))
  directory = os.path.join(workdir, "evaluation", eval_set.split)
  summary.write(metrics, results, eval_set, directory)
  print(summary.table(metrics))
  print(f"Step {best}. Figures, plots and pictures: {directory}")
  return metrics


def _measure_options(config):
  return {"sizes": (config.eval_size,), "num_proposals": config.num_proposals}


def _multipliers(config):
  """The optimizer's own, times those of the config."""
  standard = (optimizers.caffe_multipliers if config.optimizer == "sgd"
              else optimizers.plain_multipliers)

  def multipliers(variable_name):
    rate, decay = standard(variable_name)
    layer = variable_name.split("/")[-2]
    if layer.startswith("fc8"):
      return rate * config.classifier_rate, decay
    if not layer.startswith("fc"):
      return rate * config.backbone_rate, decay
    return rate, decay

  return multipliers


def _keep_config(config, workdir, chief):
  if os.path.exists(config_lib.path(workdir)):
    changed = config_lib.check_resumable(
        config_lib.read(workdir), config, workdir)
    for name, (before, after) in changed.items():
      logging.info("Changed since this run was started: --%s, %r -> %r.",
                   name, before, after)
  if chief:
    config_lib.write(config, workdir)


def _check_same_classes(train_set, eval_set):
  if train_set.classes != eval_set.classes:
    raise errors.InputError(
        f"{records.card_path(eval_set.directory, eval_set.split)}: expected "
        f"the classes of {train_set.split}: {', '.join(train_set.classes)}. "
        f"Received: {', '.join(eval_set.classes)}.")
