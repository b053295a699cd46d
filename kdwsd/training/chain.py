"""All stages one after the other, and what came of them side by side."""

import contextlib
import gc
import os

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import system_errors
from kdwsd.evaluation import summary
from kdwsd.reporting import comparison
from kdwsd.reporting import cost
from kdwsd.training import chain_report
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run as run_lib
from kdwsd.training import strategies
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import workdir_lock
from kdwsd.training.settings import topics
from kdwsd.training.stages import kd_feature
from kdwsd.training.stages import start

COMPARISON = "comparison.json"


def run(workdir, settings):
  """Trains the teacher and its students, or goes on where that stopped.

  Each stage has a folder of its name in the work directory. A stage that is
  done is skipped. Where the settings have no stage `wsd` but name a teacher,
  the teacher's folder is a link to that one.

  Args:
    workdir: of the chain.
    settings: {stage: {flag: value}} in the order of `run.STAGES`, see
      `run.run`.

  Raises:
    errors.InputError: see `run.run`.
  """
  shared = settings["cls"]
  strategy = strategies.make(shared["distribution_strategy"],
                             shared["num_replicas"])
  with contextlib.ExitStack() as stack:
    if strategies.is_chief(strategy):
      # Beside that of each stage: its folder may be trained in on its own.
      stack.enter_context(workdir_lock.hold(workdir))
    stack.enter_context(system_errors.told(workdir))
    _run(workdir, settings, strategy)


def _run(workdir, settings, strategy):
  shared = settings["cls"]
  _check(workdir, settings)
  if "wsd" not in settings:
    _link(settings["kd_prediction"]["teacher"], os.path.join(workdir, "wsd"))
  for stage, values in settings.items():
    directory = os.path.join(workdir, stage)
    if stage.startswith("kd_"):
      values = {**values, "teacher": os.path.join(workdir, "wsd")}
    if stage == "kd_prediction":
      values["feature_student"] = os.path.join(workdir, "kd_feature")
    if _is_done(directory, values):
      logging.info("Stage %s is done: %s.", stage, directory)
      continue
    logging.info("Stage %s: %s.", stage, directory)
    run_lib.run(directory, strategy=strategy, **values)
    tf.keras.backend.clear_session()
    gc.collect()
  if not strategies.is_chief(strategy) or not shared["eval_split"]:
    return
  _measure_cost(workdir)
  path, table = chain_report.write(workdir, split=shared["eval_split"])
  files.write_json(os.path.join(workdir, COMPARISON), comparison.as_json(
      comparison.read(workdir, shared["eval_split"])))
  print(table)
  print(f"Report: {path}")


def _check(workdir, settings):
  """Tells, before the first stage is trained, what would stop a later one.

  Raises:
    errors.InputError: bad records or settings of a stage that is not trained
      yet, a teacher that does not fit, or models that do not fit together.
  """
  todo = {stage: values for stage, values in settings.items()
          if not _is_trained(os.path.join(workdir, stage), values)}
  configs = {}
  for stage, values in todo.items():
    train_set, eval_set = run_lib.open_sets(values)
    run_lib.check_labels(values, train_set, eval_set)
    values = {**values, "feature_student": ""}  # It will be the chain's.
    configs[stage] = config_lib.Config(classes=train_set.classes, **values)
    run_lib.STAGES[stage].check(configs[stage])
    if stage.startswith("kd_") and "wsd" not in settings:
      teacher_lib.check(values["teacher"], values["teacher_checkpoint"],
                        train_set.classes)
  if "kd_feature" in todo:
    first = configs["kd_feature"]
    if "kd_prediction" in todo:
      start.check_stages(first, configs["kd_prediction"])
    teacher = configs.get("wsd") or config_lib.read(
        os.path.join(workdir, "wsd") if "wsd" in settings else first.teacher)
    kd_feature.check_layers(models.outline(first), models.outline(teacher),
                            first.feature_layers, first.feature_adapter)
    tf.keras.backend.clear_session()


def _link(teacher, path):
  """Makes a path stand for the teacher's work directory."""
  config_lib.read(teacher)  # A mistyped path is told now.
  if not os.path.exists(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):  # Another worker was faster.
      os.symlink(os.path.relpath(teacher, os.path.dirname(path)), path)
  if not os.path.exists(path) or not os.path.samefile(teacher, path):
    raise errors.InputError(
        f"--teacher: expected {os.path.realpath(path)}, which this chain has "
        f"begun with. Received: {teacher}.")


def _is_done(workdir, values):
  """Whether a stage was trained to its end, and measured."""
  if not _is_trained(workdir, values):
    return False
  for name in (checkpoints.LAST, checkpoints.BEST):
    paths = checkpoints.listed(os.path.join(workdir, name))
    if paths and not checkpoints.is_readable(paths[-1]):
      logging.warning("%s is damaged; its stage goes on from what is good.",
                      paths[-1])
      return False
  before = config_lib.read(workdir)
  changed = [name for name, value in values.items()
             if name != "deterministic" and getattr(before, name) != value
             and values["stage"] in topics.SETTINGS[name].stages]
  if changed:
    logging.warning(
        "%s is done with other settings of %s; to train it again, use another "
        "--workdir.", workdir, ", ".join(f"--{name}" for name in changed))
  return values["stage"] == "kd_feature" or not values["eval_split"] or (
      os.path.exists(os.path.join(
          summary.directory(workdir, values["eval_split"]), summary.METRICS)))


def _is_trained(workdir, values):
  if not os.path.exists(config_lib.path(workdir)):
    return False
  step = checkpoints.last_step(workdir)
  return step is not None and step >= values["train_steps"]


def _measure_cost(workdir):
  """Writes beside the metrics what each model costs, all or none anew."""
  paths, loaded = {}, {}
  for stage in comparison.MODELS:
    directory = os.path.join(workdir, stage)
    if os.path.exists(config_lib.path(directory)):
      model, config = checkpoints.load_model(directory)
      paths[stage] = os.path.join(
          summary.directory(directory, config.eval_split), comparison.COST)
      loaded[stage] = model, models.example_inputs(config)
  if not all(map(os.path.exists, paths.values())):
    for stage, figures in cost.measure(loaded).items():
      files.write_json(paths[stage], figures)
