"""Trains a teacher, a student, or all: `python -m kdwsd.train --stage=all`.

Without --data, a demo: 1200 drawn scenes, and settings for two CPU cores. To
resume a stopped run, give the same command again. Below are all flags with
their defaults, as in docs/settings.md. "The release" is the Caffe code that was
published with the paper; "WSDDN" is the detector's own paper and code.
"""

import os
import sys

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import demo
from kdwsd import devices
from kdwsd import errors
from kdwsd import places
from kdwsd import shipped
from kdwsd import system_errors
from kdwsd.training.settings import flag
from kdwsd.training.settings import manual
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics

FLAGS = flags.FLAGS

flag.define(FLAGS)


def main(_):
  """Turns flags into the settings of one run, or of four, and runs them."""
  devices.use(FLAGS.device, whole_memory=True, log=False)
  # pylint: disable=import-outside-toplevel
  from kdwsd.training import chain
  from kdwsd.training import run
  from kdwsd.training import teacher
  from kdwsd.training import workers
  # pylint: enable=import-outside-toplevel
  if places.is_remote(FLAGS.workdir):
    _check_remote(FLAGS.workdir)
  stages = [FLAGS.stage]
  if FLAGS.stage == "all":
    stages = [stage for stage in setting.STAGES
              if not (FLAGS.teacher and stage == "wsd")]
  _log_unread(stages, sys.argv[1:])
  settings = {stage: _settings(stage) for stage in stages}
  if FLAGS.teacher_folds and FLAGS.stage != "all":
    raise errors.InputError(
        "--teacher_folds: expected --stage=all; a single stage has --folds or "
        f"--fold_teachers. Received: --stage={FLAGS.stage}.")
  if FLAGS.seeds:
    _check_seeds()
    settings = {stage: {**values, "seed": FLAGS.seeds[0]}
                for stage, values in settings.items()}
  shipped.log_use()
  workdir = FLAGS.workdir
  without_data = [stage for stage in stages if not settings[stage]["data"]]
  if without_data and FLAGS.stage == "all" and FLAGS.recipe:
    raise errors.InputError(
        "--data: expected records, on the command line or in each file of "
        f"--recipe={FLAGS.recipe}. Received: none for {', '.join(without_data)}"
        ".")
  if without_data:
    workdir = workdir or demo.WORKDIR
    if FLAGS.stage.startswith("kd_") and not FLAGS.fold_teachers:
      teacher.check_given(FLAGS.teacher)  # Before anything is drawn.
    data = demo.make_data(workdir, num_scenes=FLAGS.scenes,
                          seed=settings[stages[-1]]["seed"])
    settings = {stage: {**values, "data": data}
                for stage, values in settings.items()}
  if not workdir:
    raise errors.InputError(
        "--workdir: expected a folder to write the runs to. Received: none.")
  logging.info("Working in %s.", places.abspath(workdir))
  with workers.lost_workers_reported():
    if FLAGS.stage == "all":
      chain.run(workdir, settings, seeds=FLAGS.seeds,
                teacher_folds=FLAGS.teacher_folds)
    else:
      run.run(workdir, **settings[FLAGS.stage])


def _check_seeds():
  if FLAGS.stage != "all":
    raise errors.InputError(
        "--seeds: expected --stage=all; a single stage has --seed. Received: "
        f"--stage={FLAGS.stage}.")
  if len(set(FLAGS.seeds)) < len(FLAGS.seeds):
    raise errors.InputError(
        "--seeds: expected different ones. Received: "
        f"{','.join(map(str, FLAGS.seeds))}.")
  if FLAGS["seed"].present and FLAGS.seed != FLAGS.seeds[0]:
    raise errors.InputError(
        "--seed and --seeds: expected one of the two, or the first of --seeds "
        f"as --seed. Received: {FLAGS.seed} and "
        f"{','.join(map(str, FLAGS.seeds))}.")


def _check_remote(workdir):
  """Refuses a file system that is not there, before anything is said of it."""
  with system_errors.reported(workdir):
    places.exists(workdir)
  if not FLAGS.data:
    raise errors.InputError(
        "--data: expected records, for a --workdir on an object store; the "
        f"demo draws its own into a local one. Received: none, and {workdir}.")


def _settings(stage):
  """A stage's settings: default, recipe or demo, parity, command line."""
  names = topics.CONFIG_SETTINGS
  if FLAGS.stage == "all" and FLAGS.recipe:
    recipe = flag.read_recipe(
        os.path.join(shipped.find(FLAGS.recipe), f"{stage}.flags"))
    values = {name: recipe[name] for name in names}
  else:
    values = {name: FLAGS[name].value for name in names}
    if not FLAGS.data:
      values.update(demo.SETTINGS[stage])
  if FLAGS.caffe_parity:
    values.update((name, declared.caffe) for name, declared in names.items()
                  if declared.caffe is not setting.UNSET)
  values.update((name, FLAGS[name].value) for name in names
                if FLAGS[name].present)
  return {**values, "stage": stage}


def _log_unread(stages, arguments):
  """Logs which flags of the command line itself no stage reads."""
  typed = {argument.lstrip("-").split("=")[0] for argument in arguments
           if argument.startswith("-")}
  unread = [f"--{name}" for name, declared in topics.CONFIG_SETTINGS.items()
            if {name, f"no{name}"} & typed
            and (not set(declared.stages) & set(stages)
                 # A chain's stage 2 starts from its own stage 1.
                 or name == "feature_student" and len(stages) > 1)]
  if unread:
    logging.info("Not read by stage %s: %s.", ", ".join(stages),
                 ", ".join(unread))


if __name__ == "__main__":
  __doc__ += manual.help_text()  # absl prints it for --help.
  command_line.run(main)
