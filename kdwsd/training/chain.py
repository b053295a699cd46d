"""A chain: trains all stages in order and compares their models."""

import contextlib
import gc
import os

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd import system_errors
from kdwsd.reporting import comparison
from kdwsd.reporting import cost
from kdwsd.reporting import repeats
from kdwsd.training import chain_report
from kdwsd.training import config as config_lib
from kdwsd.training import folds
from kdwsd.training import models
from kdwsd.training import run as run_lib
from kdwsd.training import run_copies
from kdwsd.training import run_folder
from kdwsd.training import strategies
from kdwsd.training import teacher as teacher_lib
from kdwsd.training.settings import topics
from kdwsd.training.stages import kd_feature
from kdwsd.training.stages import start

COMPARISON = "comparison.json"


def run(workdir, settings, *, seeds=(), teacher_folds=0):
  """Trains the teacher and its students, or resumes a stopped chain.

  Each stage has a folder of its name in the work directory. Stages that are
  done are skipped. If the settings have no stage `wsd` but name a teacher, the
  folder `wsd` is a link to that teacher's; on an object store, the file
  `wsd.link` names it.

  Args:
    workdir: work directory of the chain.
    settings: {stage: {flag: value}} in the order of `run.STAGES`, see
      `run.run`.
    seeds: the seed of the settings and further ones, with each of which the
      students are trained again, see `repeats`; the teacher is shared. Empty
      for the settings' own.
    teacher_folds: number of further teachers, each of which is trained without
      one fold of the images, see `folds`; the students learn from them. Each
      has a folder `wsd_fold_N`.

  Raises:
    errors.InputError: see `run.run`.
  """
  shared = settings["cls"]
  strategy = strategies.make(shared["distribution_strategy"],
                             shared["num_replicas"])
  with contextlib.ExitStack() as stack:
    if strategies.is_chief(strategy):
      # Besides the lock of each stage, whose folder may also be used alone.
      stack.enter_context(run_copies.hold(workdir))
    stack.enter_context(system_errors.reported(workdir))
    _run(workdir, settings, seeds, teacher_folds, strategy)


def _run(workdir, settings, seeds, teacher_folds, strategy):
  shared, folders = settings["cls"], chain_report.folders(workdir)
  _check(folders, settings)
  if teacher_folds:
    _check_folds(folders, settings, teacher_folds)
  _check_number_of_folds(folders, settings, teacher_folds)
  if seeds:
    _check_seed(folders, settings)
  teacher = folders["wsd"].path
  if "wsd" not in settings:
    _link(settings["kd_prediction"]["teacher"], teacher)
  students = dict(settings)
  given = {"teacher": teacher}
  if "wsd" in settings:
    _train(folders, {"wsd": students.pop("wsd")}, {}, strategy)
  if teacher_folds:
    given["fold_teachers"] = _train_folds(
        workdir, settings["wsd"], teacher_folds, strategy)
  _train(folders, students, given, strategy)
  for seed in seeds[1:]:
    logging.info("Students of seed %d.", seed)
    _train(chain_report.folders(repeats.folder(workdir, seed)), {
        stage: {**values, "seed": seed} for stage, values in students.items()},
           given, strategy)
  splits = config_lib.splits_to_measure(shared)
  if not strategies.is_chief(strategy):
    return
  if not splits:
    logging.warning(
        "%s: no comparison and no report, because there is neither "
        "--eval_split nor --test_split.", workdir)
    return
  _measure_cost(folders, splits[-1])
  path, table, content = chain_report.write(workdir, split=splits[-1])
  files.write_json(os.path.join(workdir, COMPARISON), content)
  print(table)
  print(f"Report: {path}")


def _train_folds(workdir, values, number, strategy):
  """Trains the teachers of all folds; returns their work directories."""
  paths = []
  for fold in range(number):
    folder = run_folder.RunFolder(os.path.join(workdir, f"wsd_fold_{fold}"))
    paths.append(folder.path)
    logging.info("Teacher without fold %d of %d.", fold, number)
    _train({"wsd": folder}, {"wsd": {
        **values, "folds": number, "left_out_fold": fold, "test_split": None,
    }}, {}, strategy)
  return tuple(paths)


def _train(folders, settings, given, strategy):
  """Trains the stages that are not done.

  Args:
    folders: {stage: `run_folder.RunFolder`}.
    settings: {stage: {flag: value}}.
    given: {flag: value} of the stages of distillation.
    strategy: `tf.distribute.Strategy`.
  """
  for stage, values in settings.items():
    folder = folders[stage]
    if stage.startswith("kd_"):
      values = {**values, **given}
    if stage == "kd_prediction":
      # --init_from starts stage 1, and stage 2 goes on from there.
      values = {**values, "feature_student": folders["kd_feature"].path,
                "init_from": ""}
    if _is_done(folder, values):
      logging.info("Stage %s is done: %s.", stage, folder.path)
      continue
    logging.info("Stage %s: %s.", stage, folder.path)
    run_lib.run(folder.path, strategy=strategy, **values)
    tf.keras.backend.clear_session()
    gc.collect()


def _check(folders, settings):
  """Checks, before the first stage is trained, the settings of all stages.

  Raises:
    errors.InputError: bad records or settings of a stage that is not trained
      yet, a teacher that does not fit, or models that do not fit together.
  """
  todo = {stage: values for stage, values in settings.items()
          if not folders[stage].is_trained(values["train_steps"])}
  configs = {}
  for stage, values in todo.items():
    train_set, *measured_sets = run_lib.open_sets(values)
    run_lib.check_labels(values, train_set, measured_sets)
    values = {**values, "feature_student": ""}  # Not trained yet.
    configs[stage] = config_lib.Config(classes=train_set.classes, **values)
    run_lib.check(configs[stage])
    if stage.startswith("kd_") and "wsd" not in settings:
      teacher_lib.check(values["teacher"], values["teacher_checkpoint"],
                        train_set.classes)
  if "kd_feature" in todo:
    first = configs["kd_feature"]
    if "kd_prediction" in todo:
      start.check_stages(first, configs["kd_prediction"])
    teacher = configs.get("wsd") or (
        folders["wsd"] if "wsd" in settings
        else run_folder.RunFolder(first.teacher)).read_config()
    kd_feature.check_layers(models.outline(first), models.outline(teacher),
                            first.feature_layers, first.feature_adapter)
  tf.keras.backend.clear_session()  # What the checks have made.


def _check_folds(folders, settings, number):
  """Checks that teachers of folds can be trained, and their outputs cached."""
  if "wsd" not in settings:
    raise errors.InputError(
        "--teacher_folds: expected no --teacher, because it trains others as "
        f"it trains that one. Received: --teacher_folds={number} --teacher="
        f"{settings['kd_prediction']['teacher']}.")
  if number < 2:
    raise errors.InputError(
        f"--teacher_folds: expected 2 or more, or 0. Received: {number}.")
  for stage, values in settings.items():
    if not stage.startswith("kd_"):
      continue
    folds.check_cached(config_lib.Config(classes=("",), **values))
  if not folders["wsd"].has_config():  # Once, before all is trained.
    folds.assign(run_lib.open_sets(settings["wsd"])[0], number)


def _check_number_of_folds(folders, settings, number):
  """Checks that students which are there have as many teachers of folds."""
  for stage, values in settings.items():
    if stage.startswith("kd_") and folders[stage].has_config():
      before = len(folders[stage].read_config().fold_teachers)
      if before != (number or len(values["fold_teachers"])):
        raise errors.InputError(
            f"--teacher_folds: expected {before}, as {folders[stage].path} was "
            f"started with, or another --workdir. Received: {number}.")


def _check_seed(folders, settings):
  """Checks that students which are there already have the first seed."""
  for stage, values in settings.items():
    if stage != "wsd" and folders[stage].has_config():
      seed = folders[stage].read_config().seed
      if seed != values["seed"]:
        raise errors.InputError(
            f"--seeds: expected {seed} first, the seed of "
            f"{folders[stage].path}. Received: {values['seed']}.")


def _link(teacher, path):
  """Makes `path` a link to the teacher's work directory."""
  run_folder.RunFolder(teacher).read_config()  # Refuses a mistyped path.
  if places.is_remote(teacher) != places.is_remote(path):
    raise errors.InputError(
        "--teacher: expected a run on an object store if --workdir is on one, "
        "and a local one if not, because --stage=all links to it. Received: "
        f"{teacher}; copy it, or train the stages one by one.")
  if places.is_remote(path):
    linked = run_copies.link(*os.path.split(path), places.normpath(teacher))
    if linked != places.normpath(teacher):
      raise _other_teacher(linked, teacher)
    return
  if not os.path.exists(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):  # Another worker was faster.
      os.symlink(os.path.relpath(teacher, os.path.dirname(path)), path)
  if not os.path.exists(path) or not os.path.samefile(teacher, path):
    raise _other_teacher(os.path.realpath(path), teacher)


def _other_teacher(before, teacher):
  return errors.InputError(
      f"--teacher: expected {before}, which this chain was started with. "
      f"Received: {teacher}.")


def _is_done(folder, values):
  """Whether a stage was trained to its last step and evaluated."""
  if not folder.is_done(
      values["train_steps"], config_lib.splits_to_measure(values)):
    return False
  before = folder.read_config()
  changed = [name for name, value in values.items()
             if name != "deterministic" and getattr(before, name) != value
             and values["stage"] in topics.SETTINGS[name].stages]
  if changed:
    logging.warning(
        "%s is already trained, with other values of %s; to train it again, "
        "use another --workdir.", folder.path,
        ", ".join(f"--{name}" for name in changed))
  return True


def _measure_cost(folders, split):
  """Measures the cost of all models and writes it beside their metrics."""
  paths, loaded = {}, {}
  for stage in comparison.MODELS:
    folder = folders[stage]
    if folder.has_config():
      model, config = folder.load_model()
      paths[stage] = os.path.join(
          folder.evaluation(split), comparison.COST)
      loaded[stage] = model, models.example_inputs(config)
  if not all(map(os.path.exists, paths.values())):
    for stage, figures in cost.measure(loaded).items():
      files.write_json(paths[stage], figures)
      folders[stage].store()
