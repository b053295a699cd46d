"""A run of any stage, from its settings to trained and evaluated weights."""

import contextlib
import functools

from absl import logging
import tensorflow as tf

from kdwsd import devices
from kdwsd import errors
from kdwsd import system_errors
from kdwsd.data import decoded_cache
from kdwsd.data import holdout
from kdwsd.data import input_pipeline
from kdwsd.data import label_counts
from kdwsd.data import objectness
from kdwsd.data import record_files
from kdwsd.evaluation import measurable
from kdwsd.evaluation import pictures
from kdwsd.evaluation import summary
from kdwsd.training import checkpoints
from kdwsd.training import compilation
from kdwsd.training import config as config_lib
from kdwsd.training import folds
from kdwsd.training import history
from kdwsd.training import inner_loop
from kdwsd.training import learnable
from kdwsd.training import loop
from kdwsd.training import loss_scaling
from kdwsd.training import models
from kdwsd.training import optimizers
from kdwsd.training import profiling
from kdwsd.training import run_folder
from kdwsd.training import schedules
from kdwsd.training import strategies
from kdwsd.training import trainee
from kdwsd.training import workers
from kdwsd.training.stages import cls
from kdwsd.training.stages import kd_feature
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import wsd

# In the order of training: later stages need earlier ones.
STAGES = {"wsd": wsd, "cls": cls, "kd_feature": kd_feature,
          "kd_prediction": kd_prediction}


def run(workdir, *, strategy=None, **values):
  """Trains a stage, or resumes a stopped run, and evaluates it.

  Args:
    workdir: work directory of the run.
    strategy: `tf.distribute.Strategy`; by default made from the settings. A
      process can make only one.
    **values: settings, see `config.Config`; the classes come with the data.

  Returns:
    {split: metrics of `summary.evaluate`}, of the validation and of the test
    split, as far as there are any; None for a worker that is not the first.

  Raises:
    errors.InputError: bad settings or data, a loss that is not finite, a full
      disk, or another process that trains in the work directory.
  """
  folder = run_folder.RunFolder(workdir)
  train_set, *measured_sets = open_sets(values)
  check_labels(values, train_set, measured_sets)
  strategy = strategy or strategies.make(
      values["distribution_strategy"], values["num_replicas"])
  with contextlib.ExitStack() as stack:
    if strategies.is_chief(strategy):
      stack.enter_context(folder.hold())
      folder.repair(values["best_figure"])
    stack.enter_context(system_errors.reported(folder.path))
    if values["cache"] == "disk":
      stack.enter_context(decoded_cache.mended(folder.cache))
    stack.enter_context(record_files.naming_faults(train_set, *measured_sets))
    return _run(folder, strategy, train_set, measured_sets, values)


def open_sets(values):
  """Opens the records of a run.

  Args:
    values: see `run`.

  Returns:
    List of `record_files.RecordSet`: the training split, and those that the
    run is measured on, see `config.splits_to_measure`.

  Raises:
    errors.InputError: no such records, or splits of different classes.
  """
  sets = [record_files.open_split(values["data"], split) for split in (
      values["train_split"], *config_lib.splits_to_measure(values))]
  for measured_set in sets[1:]:
    _check_same_classes(sets[0], measured_set)
  return sets


def check_labels(values, train_set, measured_sets):
  """Reports classes that cannot be learned or evaluated.

  Args:
    values: see `run`.
    train_set: the first of `open_sets`.
    measured_sets: the others.

  Raises:
    errors.InputError: none can be learned, or --best_figure has no value.
  """
  learnable.check(values["stage"], train_set)
  detector = values["stage"] == "wsd"
  for measured_set in measured_sets:
    if measured_set.split == values["eval_split"]:
      measurable.check_figure(
          values["best_figure"], measured_set, detector=detector)
    measurable.log_limits(measured_set, detector=detector)
    if holdout.may_overlap(train_set.card, measured_set.card):
      logging.warning(
          "%s was cut from the images of %s by another conversion; they may "
          "have images in common, which makes its figures too good.",
          measured_set.card_path, train_set.card_path)


def check(config):
  """Checks a config as far as possible before its stage starts.

  Args:
    config: `config.Config`.

  Raises:
    errors.InputError: settings contradict each other, are out of range, or name
      a run that does not exist.
  """
  STAGES[config.stage].check(config)
  models.outline(config)
  _schedule_and_optimizer(config)


def _run(folder, strategy, train_set, measured_sets, values):
  values["deterministic"] = strategies.set_determinism(
      values["deterministic"], values["seed"])
  config = config_lib.Config(classes=train_set.classes, **values)
  tf.keras.mixed_precision.set_global_policy(config.mixed_precision)
  logging.info("%s", devices.describe(strategy.extended.worker_devices))
  if config.stage == "wsd":
    objectness.check(
        train_set, scale=config.score_scale, bias=config.score_bias)
  workers.begin(strategy, config, train_set)
  if config.rate_batch:
    logging.info(
        "Learning rate: %.3g for batches of %d, hence %.3g for those of %d.",
        config.learning_rate, config.rate_batch, config.scaled_rate,
        config.global_batch_size)

  with strategy.scope():
    stage = STAGES[config.stage].make(config, train_set)
    schedule, optimizer = _schedule_and_optimizer(config)
    global_step = tf.Variable(
        0, trainable=False, dtype=tf.int64, name="global_step",
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
  # After the stage has checked its settings: a run that cannot start writes
  # nothing.
  _keep_config(config, folder, strategies.is_chief(strategy))

  jit_compile = compilation.choose(config.jit_compile, strategy)
  kept = folds.kept(train_set, config)

  def make_trainer(start_step):
    def batches(context):
      dataset = input_pipeline.training_batches(
          train_set, global_batch_size=config.global_batch_size,
          sizes=stage.sizes, num_proposals=config.num_proposals,
          seed=config.seed, start_step=start_step, input_context=context,
          mirror=config.mirror, resize=not config.resize_on_device,
          cache=config.cache, cache_directory=folder.cache,
          shuffle_buffer=config.shuffle_buffer, kept=kept)
      if stage.add_to_batches:
        with strategy.scope():
          dataset = stage.add_to_batches(dataset)
      return dataset
    return inner_loop.Trainer(
        strategy=strategy, variables=stage.variables, optimizer=optimizer,
        step=stage.step, loss_names=stage.loss_names,
        dataset=strategies.distribute(strategy, batches),
        global_batch_size=config.global_batch_size, seed=config.seed,
        global_step=global_step, jit_compile=jit_compile,
        deterministic=config.deterministic,
        prepare=stage.warp_and_prepare if config.resize_on_device else None,
        side=functools.partial(
            input_pipeline.training_side, config.seed, stage.sizes),
        profile=profiling.Profile(
            folder.summaries,
            config.profile_steps if strategies.is_chief(strategy) else ()))

  eval_set = next((one for one in measured_sets
                   if one.split == config.eval_split), None)
  measured = {}  # Metrics and results of the last validation, by its step.

  def evaluate():
    metrics, results = summary.measure(
        stage.score, eval_set, **_measure_options(config))
    measured.clear()
    measured[int(global_step.numpy())] = metrics, results
    if results.detections is not None:
      tf.summary.image("detections", pictures.detection_sheet(
          eval_set, results.detections, num_images=6)[tf.newaxis])
    return summary.figures(metrics)

  loop.OuterLoop(
      make_trainer=make_trainer, strategy=strategy, model=stage.model,
      variables=stage.variables, optimizer=optimizer, global_step=global_step,
      initialize=stage.initialize, folder=folder,
      train_steps=config.train_steps,
      global_batch_size=config.global_batch_size,
      steps_per_loop=config.steps_per_loop,
      checkpoint_interval=config.checkpoint_interval,
      keep_checkpoints=config.keep_checkpoints,
      evaluate=evaluate if eval_set else None,
      eval_interval=config.eval_interval, best_figure=config.best_figure,
      plateau=schedule if config.schedule == "plateau" else None).run()
  workers.end(strategy)
  if not strategies.is_chief(strategy):
    return None
  history.plot(folder.history_file, folder.loss_plot)
  logging.info("Loss curve: %s", folder.named(folder.loss_plot))
  return _report(config, folder, measured, train_set, measured_sets)


def _report(config, folder, measured, train_set, measured_sets):
  """Evaluates the best checkpoint, unless the last validation was of it.

  Args:
    config: `config.Config`.
    folder: `run_folder.RunFolder`.
    measured: {step: (metrics, results)} of the last validation.
    train_set: CorLoc is measured on it.
    measured_sets: the validation and the test split, if any.

  Returns:
    {split: metrics}.
  """
  path = folder.find("best")
  best = checkpoints.step_of(path)

  @functools.lru_cache(maxsize=1)
  def score():
    return models.scorer(folder.load_model(path)[0])

  @functools.lru_cache(maxsize=1)
  def corloc():
    return summary.measure_corloc(
        score(), train_set, **_measure_options(config))

  all_metrics = {}
  for record_set in measured_sets:
    if best in measured and record_set.split == config.eval_split:
      metrics, results = measured[best]
    else:
      metrics, results = summary.measure(
          score(), record_set, **_measure_options(config))
    counts = None
    if results.detections is not None:
      metrics["corloc"], counts = corloc()
    directory = folder.evaluation(record_set.split)
    print(summary.table(metrics))  # First: a full disk must not prevent it.
    summary.write(metrics, results, record_set, directory,
                  corloc=counts and (counts, train_set))
    print(f"Step {best}. Metrics, plots and pictures: "
          f"{folder.named(directory)}")
    all_metrics[record_set.split] = metrics
  return all_metrics


def _schedule_and_optimizer(config):
  schedule = schedules.make(
      config.schedule, base_rate=config.scaled_rate,
      total_steps=config.train_steps, warmup_steps=config.warmup_steps,
      boundaries=config.schedule_boundaries, factor=config.schedule_factor,
      patience=config.plateau_patience)
  optimizer = optimizers.make(
      config.optimizer, learning_rate=schedule, momentum=config.momentum,
      weight_decay=config.weight_decay, clip_norm=config.clip_norm,
      multipliers=_multipliers(config), **_averaging(config))
  if config.mixed_precision == "mixed_float16":
    optimizer.loss_scale = loss_scaling.LossScale()
  return schedule, optimizer


def _measure_options(config):
  return {"sizes": (config.eval_size,), "num_proposals": config.num_proposals}


def _averaging(config):
  if not config.ema_decay:
    return {}
  return {"use_ema": True, "ema_momentum": config.ema_decay}


def _multipliers(config):
  """Multipliers of the optimizer's kind, times those of the config."""
  standard = (optimizers.caffe_multipliers if config.optimizer == "sgd"
              else optimizers.plain_multipliers)

  def multipliers(variable_name):
    layer = variable_name.split("/")[-2]
    if layer in trainee.MULTIPLIERS:
      return trainee.MULTIPLIERS[layer]
    rate, decay = standard(variable_name)
    if layer.startswith("fc8"):
      return rate * config.classifier_rate, decay
    if not layer.startswith(("fc", "adapter")):
      return rate * config.backbone_rate, decay
    return rate, decay

  return multipliers


def _keep_config(config, folder, chief):
  if folder.has_config():
    changed = config_lib.check_resumable(
        folder.read_config(), config, folder.path)
    for name, (before, after) in changed.items():
      logging.info("Changed since the run was started: --%s, %r -> %r.",
                   name, before, after)
  if chief:
    config_lib.write(config, folder.directory)


def _check_same_classes(train_set, eval_set):
  if train_set.classes != eval_set.classes:
    raise errors.InputError(
        f"{eval_set.card_path}: expected the {len(train_set.classes)} classes "
        f"of {train_set.split}. Received: "
        f"{label_counts.difference(train_set.classes, eval_set.classes)}. "
        f"Convert it with --classes={train_set.card_path}.")
