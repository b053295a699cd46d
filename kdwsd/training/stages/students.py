"""What the three stages of a student share: its start and its images.

A student starts from the first of these that there is, and from nothing
silently: its own work directory (resuming, see `loop`), the student of stage 1
(`--feature_student`), `--backbone_weights`.
"""

from absl import logging
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import augmentation
from kdwsd.modeling import pretrained
from kdwsd.modeling import student as student_lib
from kdwsd.training import checkpoints
from kdwsd.training import config as config_lib
from kdwsd.training import strategies
from kdwsd.training import teacher_cache
from kdwsd.training import trainee

_AUGMENT = 3  # stream of random numbers, beside those of the input pipeline

# What the weights of stage 1 depend on.
_SAME = ("classes", "backbone", "backbone_width", "fc_units", "student_size")


def initialize(student, config):
  """Gives a new run's student the weights that it starts from.

  Args:
    student: `student.Student`, built.
    config: `config.Config`.

  Raises:
    errors.InputError: what the config names is missing or does not fit.
  """
  if not config.feature_student:
    pretrained.load(student, config.backbone_weights)
    return
  workdir = config.feature_student
  check(config)
  classifier = student.fc8.get_weights()  # Stage 1 does not train it.
  path = checkpoints.find(workdir, "last")
  checkpoints.restore(
      tf.train.Checkpoint(model=trainee.Trainee(student)), path, workdir)
  student.fc8.set_weights(classifier)
  logging.info("The student goes on from stage 1: %s.", path)


def check(config):
  """Checks that stage 1 is there and fits, if the config names it.

  Raises:
    errors.InputError: no finished run of stage 1, or one of another student.
  """
  workdir = config.feature_student
  if not workdir:
    return
  before = config_lib.read(workdir)
  if before.stage != "kd_feature":
    raise errors.InputError(
        f"--feature_student: {workdir}: expected a run of stage kd_feature. "
        f"Received: stage {before.stage}.")
  changed = config_lib.changes(before, config)
  differences = "; ".join(
      f"--{name} was {changed[name][0]!r}, is {changed[name][1]!r}"
      for name in _SAME if name in changed)
  if differences:
    raise errors.InputError(
        f"--feature_student: {workdir}: expected the student of this run. "
        f"Received: {differences}.")
  step = checkpoints.last_step(workdir)
  if step is not None and step < before.train_steps:
    raise errors.InputError(
        f"--feature_student: {workdir}: expected a finished run. Received: "
        f"one at step {step} of {before.train_steps}.")


def check_cache(config):
  """Checks that the teacher's answers can be kept, if they are to be.

  Raises:
    errors.InputError: the teacher drops units, so that they are random.
  """
  if config.teacher_cache == "on" and config.teacher_dropout:
    raise errors.InputError(
        "--teacher_cache=on: expected --noteacher_dropout: what is random "
        "cannot be kept. Received: --teacher_dropout.")


def cache_options(config):
  """Arguments of `teacher_cache` that both stages of distillation share."""
  num_workers, worker = strategies.worker(tf.distribute.get_strategy())
  return {
      "size": config.eval_size, "num_proposals": config.num_proposals,
      "directory": teacher_cache.directory(config.data),
      "num_workers": num_workers, "worker": worker}


def add_images(dataset, config, *, augmented, for_teacher):
  """Gives training batches the student's images.

  Args:
    dataset: of batches of the input pipeline.
    config: `config.Config`.
    augmented: whether RandAugment and cutout may change them.
    for_teacher: whether the teacher needs its own images too.

  Returns:
    Dataset whose batches have `student_image` [B, S, S, 3] float32 RGB
    0..255; without `image` unless the teacher needs it.
  """
  changing = augmented and (config.randaugment_layers or config.cutout_size)

  def one(image, index):
    seed = tf.random.experimental.stateless_fold_in(
        tf.constant([config.seed, _AUGMENT], tf.int64), index)
    return augmentation.augment(
        image, seed, num_layers=config.randaugment_layers,
        magnitude=config.randaugment_magnitude,
        cutout_size=config.cutout_size)

  def add(batch):
    images = student_lib.resize(batch["image"], config.student_size)
    if changing:
      images = tf.map_fn(
          lambda pair: one(*pair), (images, batch["example_index"]),
          fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))
    added = {**batch, "student_image": images}
    if not for_teacher:
      del added["image"]
    return added

  return dataset.map(add, tf.data.AUTOTUNE, deterministic=True)
